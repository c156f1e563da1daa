using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Data.Extracting;

namespace PyramidFlow.Training.Data;

/// <summary>Opens what an annotation names: <c>.safetensors</c>, or <c>.pt</c> as released.</summary>
internal static class TensorFile
{
    /// <summary>Key of the tensor of a <c>.pt</c> file that is nothing but one tensor.</summary>
    public const string Bare = "";

    /// <exception cref="BadItemException">It is missing, damaged or of another kind.</exception>
    public static StateSource Open(string path)
    {
        if (!File.Exists(path))
            throw MediaFaults.Missing(path);
        try
        {
            return Path.GetExtension(path).ToLowerInvariant() switch
            {
                ".safetensors" => SafetensorsFile.Open(path),
                ".pt" or ".pth" or ".bin" => TorchArchive.Open(path, bareKey: Bare),
                _ => throw new BadItemException(DataFaultKind.Damaged, $"{path} holds no tensors: use .safetensors or .pt"),
            };
        }
        catch (CheckpointException e)
        {
            throw new BadItemException(DataFaultKind.Damaged, e.Message, e);
        }
    }

    /// <summary>What is wrong with a file of NaN or infinities, and what mends it.</summary>
    public static string NotFinite(string path) => $"{path} holds numbers that are not finite: " + (MadeFile.IsMade(path)
        ? "extract it again, the command that made it leaves only good files"
        : "it was not made by an extraction here, make it anew or leave the item out");

    public static string Text(long[] shape) => $"[{string.Join(", ", shape)}]";
}
