using PyramidFlow.Models.Lora;
using PyramidFlow.Generation;

namespace PyramidFlow.Server.Worker;

/// <summary>The LoRAs of a service as the notes in its videos name them. One caller at a time.</summary>
/// <param name="loras">What is added to each model.</param>
internal sealed class NotedLoras(IReadOnlyList<LoraUse> loras)
{
    private readonly string?[] hashes = new string?[loras.Count];

    /// <summary>
    /// The LoRAs, in the order in which they are added. A hash is computed once. A LoRA that cannot be read has none in this result; the next call
    /// reads it again.
    /// </summary>
    public IReadOnlyList<NotedLora> Get() =>
        [.. loras.Select((lora, i) => new NotedLora(Path.GetFileName(Path.TrimEndingDirectorySeparator(lora.Path)), lora.Weight, hashes[i] ??= Hash(lora.Path)))];

    // The weights may be in memory already, so a file that is away is no reason to make no video.
    private static string? Hash(string path)
    {
        try
        {
            return LoraPlace.Find(path).Sha256();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
