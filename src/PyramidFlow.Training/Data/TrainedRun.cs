using System.Text.Json;
using PyramidFlow.Models;
using PyramidFlow.Torch.Formats;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Shards;

namespace PyramidFlow.Training.Data;

/// <summary>What the copy of the configuration in a run's folder tells about a run: the model that it began with, and a prompt that it knows.</summary>
/// <param name="Config">The copy.</param>
/// <param name="IsOwnData">Whether the run trains on data of one's own rather than in the sprites world.</param>
/// <param name="Model">The model that the run began with, full path; null where it began with none.</param>
internal sealed record TrainedRun(string Config, bool IsOwnData, string? Model)
{
    private const string ConfigName = "config.json", SpritesPrompt = "a small red circle moving right on a black background";

    /// <summary>The transformer of the model that was trained; null is the first.</summary>
    public string? Variant { get; private init; }

    /// <summary>Whether a VAE kept its encoder, so that transformers trained on its latents still fit.</summary>
    public bool FreezesEncoder { get; private init; }

    /// <summary>A prompt of the samples or of the data; null where none is found.</summary>
    public string? Prompt { get; private init; }

    /// <summary>Reads the configuration of a run; null where there is no copy, or none that can be read.</summary>
    /// <param name="folder">Folder of the run, or of all runs of a sprites model.</param>
    /// <param name="part">Its kind: <c>dit</c>, <c>vae</c> or <c>lora</c>.</param>
    public static TrainedRun? Find(string folder, string part)
    {
        foreach (var config in (string[])[Path.Combine(folder, ConfigName), Path.Combine(folder, part, ConfigName)])
        {
            if (File.Exists(config))
                return Read(config);
        }

        return null;
    }

    private static TrainedRun? Read(string config)
    {
        try
        {
            using var json = StrictJson.Parse(StrictText.ReadBytes(config), new StrictJsonOptions(Written: true, RepeatedKeys: true));
            var root = json.RootElement;
            var own = TrainingConfigFile.HasDataSection(config);
            var key = root.TryGetProperty("model", out _) ? "model" : "start_from";
            var found = Text(root, key) is { } written ? ConfigPaths.FolderOrName(config, key, written) : null;
            return new TrainedRun(config, own, found is not null && CheckpointFolder.IsCheckpoint(found) ? found : null)
            {
                Variant = Text(root, "variant"),
                FreezesEncoder = root.TryGetProperty("freeze_encoder", out var frozen) && frozen.ValueKind == JsonValueKind.True,
                Prompt = Sampled(root) ?? (own ? Captioned(config, root.GetProperty("data")) : SpritesPrompt),
            };
        }
        catch (Exception e) when (e is MalformedTextException or TrainingException or IOException)
        {
            return null;
        }
    }

    private static string? Sampled(JsonElement root) =>
        root.TryGetProperty("samples", out var samples) && samples.ValueKind == JsonValueKind.Object && samples.TryGetProperty("prompts", out var prompts)
            && prompts.ValueKind == JsonValueKind.Array ? prompts.EnumerateArray().Select(TextOf).FirstOrDefault() : null;

    private static string? Captioned(string config, JsonElement data)
    {
        if (!data.TryGetProperty("annotations", out var value))
            return null;
        var first = value.ValueKind == JsonValueKind.Array ? value.EnumerateArray().Select(TextOf).FirstOrDefault() : TextOf(value);
        if (first is null)
            return null;
        var file = DataOptions.Find(config, first);
        if (ShardAddress.IsShard(file))
            return ShardItems.FirstCaption(file, new ShardOptions());
        if (Directory.Exists(file))
            return TextFolder.Scan(file).Items.Select(item => item.Text).FirstOrDefault(text => !string.IsNullOrWhiteSpace(text));
        foreach (var (number, line) in AnnotationFile.Lines(file))
        {
            try
            {
                if (AnnotationParser.Parse(line, file, number).Text is { } caption && !string.IsNullOrWhiteSpace(caption))
                    return caption;
            }
            catch (BadItemException)
            {
                // The training has named it.
            }
        }

        return null;
    }

    private static string? Text(JsonElement root, string key) => root.TryGetProperty(key, out var value) ? TextOf(value) : null;

    private static string? TextOf(JsonElement value) => value.ValueKind == JsonValueKind.String ? value.GetString() : null;
}
