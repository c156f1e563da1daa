using System.Text.Json.Nodes;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Hub.RandomModels;

/// <summary>One model of a random checkpoint; declared, never held.</summary>
/// <param name="Folder">Its folder's name.</param>
/// <param name="ClassName">What the released system calls it.</param>
/// <param name="Config">Text of its <c>config.json</c>.</param>
/// <param name="Model">Its weights' names and shapes.</param>
/// <param name="ShardBytes">Most bytes of one file.</param>
internal sealed record RandomPart(string Folder, string ClassName, string Config, Module Model, long ShardBytes = RandomPart.ReleasedShardBytes)
{
    /// <summary>Where the released text encoders are cut.</summary>
    internal const long ReleasedShardBytes = 5_000_000_000;

    /// <summary>All weights, in bfloat16.</summary>
    internal IReadOnlyList<TensorDeclaration> Tensors { get; } =
        [.. Model.NamedParameters().Select(p => new TensorDeclaration(p.Key, ElementType.BFloat16, p.Parameter.Shape))];

    /// <summary>Bytes of all weights.</summary>
    internal long Bytes => Tensors.Sum(tensor => tensor.ByteLength);

    /// <summary>Text encoders are in transformers' format, the others in diffusers'.</summary>
    private bool IsText => Folder.StartsWith("text_encoder", StringComparison.Ordinal);

    /// <summary>Writes it.</summary>
    /// <param name="root">The checkpoint folder.</param>
    /// <param name="weights">Gives the numbers.</param>
    internal void Write(string root, RandomWeights weights)
    {
        var folder = Path.Combine(root, Folder);
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, ComponentFolder.ConfigName), IsText ? WithArchitecture() : ConfigFile.WithClass(ClassName, Config));
        var parameters = Model.NamedParameters().ToDictionary(p => p.Key, p => p.Parameter);
        ShardedWriter.Write(folder, IsText ? "model" : "diffusion_pytorch_model", Tensors, ShardBytes,
            (file, entry) => weights.Fill(file, entry, parameters[entry.Name], Folder));
    }

    private string WithArchitecture()
    {
        var config = JsonNode.Parse(Config)!.AsObject();
        config["architectures"] = new JsonArray(ClassName);
        return config.ToJsonString(new() { WriteIndented = true });
    }
}
