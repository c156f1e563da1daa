using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// Models that the runs of <c>train</c> publish in their folders: <c>diffusion_transformer</c> or <c>causal_video_vae</c>, in the released layout and with averaged
/// weights where a run keeps an average. The file of a transformer's settings, <c>pipeline.json</c>, stands beside it.
/// </summary>
internal static class RunParts
{
    /// <summary>File that a run writes when it begins.</summary>
    public const string StartFile = "run.json";

    private const string Lora = "lora.safetensors", Metrics = "metrics.jsonl";

    /// <summary>Folders of the runs within the folder of all runs of a sprites model.</summary>
    private static readonly Dictionary<string, string> Runs = new() { [CheckpointNames.Transformer] = "dit", [CheckpointNames.Vae] = "vae" };

    /// <summary>Whether a folder is that of a run, rather than of a model.</summary>
    public static bool IsRun(string folder) => File.Exists(Path.Combine(folder, StartFile)) || File.Exists(Path.Combine(folder, Metrics));

    /// <summary>Finds a model of a run; reads nothing.</summary>
    /// <param name="run">Folder of a run, of all runs of a sprites model, or of the model itself.</param>
    /// <param name="component"><see cref="CheckpointNames.Transformer"/> or <see cref="CheckpointNames.Vae"/>.</param>
    /// <exception cref="CheckpointException">There is no such folder, or it holds no such model.</exception>
    public static ComponentFolder Find(string run, string component)
    {
        if (!Directory.Exists(run))
            throw CheckpointFault.RunMissing(run, component);
        var full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(run));
        foreach (var folder in (string[])[Path.Combine(full, component), Path.Combine(full, Runs[component], component), .. IsRun(full) ? (string[])[] : [full]])
        {
            if (File.Exists(Path.Combine(folder, ComponentFolder.ConfigName)))
                return new ComponentFolder(component, folder);
        }

        throw CheckpointFault.RunWithoutPart(run, component, Kind(full));
    }

    /// <summary>File of the settings that a run publishes with its transformer; null where there is none.</summary>
    /// <param name="transformer">From <see cref="Find"/>.</param>
    public static string? Settings(ComponentFolder transformer)
    {
        var folder = Path.GetDirectoryName(transformer.Folder)!;
        var file = Path.Combine(folder, PipelineSettings.FileName);
        return IsRun(folder) && File.Exists(file) ? file : null;
    }

    /// <summary>Refuses models of another family or size than those they are to work with; reads configurations only.</summary>
    /// <param name="own">The checkpoint.</param>
    /// <param name="variant">The transformer that is replaced; null is the first.</param>
    /// <param name="transformer">The transformer of a run, with the folder as the user gave it; null keeps that of the checkpoint.</param>
    /// <param name="vae">The VAE of a run; null keeps that of the checkpoint.</param>
    /// <exception cref="CheckpointException">A config is missing or wrong, or a model does not fit.</exception>
    internal static void CheckFit(CheckpointFolder own, string? variant, (string Run, ComponentFolder Folder)? transformer, (string Run, ComponentFolder Folder)? vae)
    {
        if (transformer is (var run, var folder))
        {
            var family = ModelFamilies.Read(folder.ConfigFile);
            if (family != own.Family)
                throw CheckpointFault.RunOfOtherFamily(run, family.Name, own.Root, own.Family.Name);
            var (trained, config) = (TransformerConfigs.Load(folder.ConfigFile), TransformerConfigs.Load(own.Transformer(variant).ConfigFile));
            Require(run, "text tokens", trained.JointAttentionDim, config.JointAttentionDim);
            Require(run, "pooled text", trained.PooledProjectionDim, config.PooledProjectionDim);
            if (vae is null)
                Require(run, "latents", trained.LatentChannels, config.LatentChannels);
        }

        if (vae is (var vaeRun, var vaeFolder))
        {
            var taken = TransformerConfigs.Load((transformer?.Folder ?? own.Transformer(variant)).ConfigFile);
            Require(vaeRun, "latents", CausalVideoVaeConfig.Read(vaeFolder.ConfigFile).EncoderOutChannels, taken.LatentChannels);
        }

        void Require(string run, string what, long width, long needed)
        {
            if (width != needed)
                throw CheckpointFault.RunOfOtherSize(run, what, width, own.Root, needed);
        }
    }

    // What a folder is that has not the model that is looked for.
    private static string Kind(string folder) =>
        File.Exists(Path.Combine(folder, Lora)) ? "lora"
        : File.Exists(Path.Combine(folder, CheckpointNames.Vae, ComponentFolder.ConfigName)) ? "vae"
        : File.Exists(Path.Combine(folder, CheckpointNames.Transformer, ComponentFolder.ConfigName)) ? "transformer"
        : IsRun(folder) ? "begun"
        : "other";
}
