using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Training.Vae;

/// <summary>Folder of a VAE in the released layout: <c>config.json</c> and <c>diffusion_pytorch_model.safetensors</c>.</summary>
internal static class VaeFolder
{
    /// <summary>The file of the weights.</summary>
    public static string Weights(string folder) => Path.Combine(folder, "diffusion_pytorch_model.safetensors");

    /// <summary>Writes a VAE. Existing files are replaced one by one when the new ones are complete.</summary>
    /// <param name="folder">The VAE's folder, such as <c>.../causal_video_vae</c>.</param>
    /// <param name="config">Configuration of the network.</param>
    /// <param name="weights">All its weights.</param>
    public static void Write(string folder, CausalVideoVaeConfig config, IEnumerable<(string Key, Tensor Tensor)> weights)
    {
        Directory.CreateDirectory(folder);
        SafetensorsWriter.Write(Weights(folder), weights.OrderBy(weight => weight.Key, StringComparer.Ordinal),
            new Dictionary<string, string> { ["format"] = "pt" });
        File.WriteAllText(Path.Combine(folder, ComponentFolder.ConfigName), ConfigFile.WithClass(CausalVideoVaeConfig.ClassName, config.ToJson()));
    }

    /// <summary>Finds a VAE's folder.</summary>
    /// <param name="path">The folder itself, or a model folder or run of <c>train vae</c> that holds a <c>causal_video_vae</c>.</param>
    /// <exception cref="CheckpointException">There is no such folder.</exception>
    public static ComponentFolder Find(string path)
    {
        if (!Directory.Exists(path))
            throw CheckpointFault.VaeMissing(path);
        foreach (var folder in new[] { Path.Combine(path, CheckpointNames.Vae), path })
        {
            if (File.Exists(Path.Combine(folder, ComponentFolder.ConfigName)))
                return new ComponentFolder(CheckpointNames.Vae, folder);
        }

        throw CheckpointFault.NoVae(path, CheckpointNames.Vae, ComponentFolder.ConfigName);
    }
}
