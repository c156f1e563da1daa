using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Hub;

/// <summary>One model or tokenizer of a checkpoint folder.</summary>
/// <param name="Name">Folder name, such as <c>causal_video_vae</c>.</param>
/// <param name="Folder">Full path; it exists.</param>
public sealed record ComponentFolder(string Name, string Folder)
{
    /// <summary>Name of the file that describes a model.</summary>
    public const string ConfigName = "config.json";

    /// <summary>Path of its <c>config.json</c>.</summary>
    public string ConfigFile => Path.Combine(Folder, ConfigName);

    /// <summary>Opens its weights; see <see cref="WeightsFile.Open"/>.</summary>
    /// <exception cref="CheckpointException">Weights are missing, damaged or cut off.</exception>
    public StateSource OpenWeights() => WeightsFile.Open(Folder);
}
