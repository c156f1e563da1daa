using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Sprites;

/// <summary>
/// Trains <c>models/sprites</c> from configurations and seeds alone: VAE, text encoders and transformer, each in a resumable run of its own;
/// <see cref="Ship"/> assembles the model folder.
/// </summary>
public static class SpriteTraining
{
    private const string ModelFolder = "model", LoraPart = "lora", StartFrom = "start_from";

    /// <summary>Trains the VAE; the run is <c>FOLDER/vae</c>.</summary>
    /// <param name="source">A <see cref="SpriteVaeConfig"/>.</param>
    /// <param name="folder">Folder of all runs of the model.</param>
    /// <param name="progress">Reports progress every few steps; null reports nothing.</param>
    /// <param name="cancellationToken">Stops the run after the current step and saves a checkpoint.</param>
    /// <param name="group">Process group of the training; null trains in this process alone.</param>
    /// <returns>Mean PSNR on unseen clips in dB.</returns>
    public static double RunVae(TrainingConfigSource source, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken, ProcessGroup? group = null)
    {
        var config = SpriteVaeConfig.Load(source);
        using var trainer = new SpriteVaeTrainer(config, Path.Combine(folder, "vae"), progress, cancellationToken, group);
        if (group is not { Rank: > 0 })
            ConfigPaths.Copy(source, VaeConfig(folder));

        // Every worker is a thread; multithreaded operators would only add synchronisation.
        TorchRuntime.Threads = 1;
        return trainer.Run(progress, cancellationToken);
    }

    /// <summary>Trains the text encoders if they are missing, and the transformer; the run is <c>FOLDER/dit</c>.</summary>
    /// <param name="source">A <see cref="SpriteDitConfig"/>.</param>
    /// <param name="folder">Folder of all runs of the model, with the linear start of the VAE.</param>
    /// <param name="progress">Reports progress every few steps; null reports nothing.</param>
    /// <param name="cancellationToken">Stops the run after the current step and saves a checkpoint.</param>
    /// <param name="group">Process group of the training; null trains in this process alone.</param>
    /// <exception cref="TrainingException">The VAE run is missing.</exception>
    public static void RunDit(TrainingConfigSource source, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken, ProcessGroup? group = null)
    {
        var config = SpriteDitConfig.Load(source);
        if (config.Lora is not null)
            throw TrainingFault.ConfigOfLora(source.Path);
        Run(config, source, folder, "dit", progress, cancellationToken, group);
    }

    /// <summary>Trains a LoRA of a model's transformer; the run with <c>lora.safetensors</c> is <c>FOLDER/lora</c>.</summary>
    /// <param name="source">A <see cref="SpriteDitConfig"/> with <c>start_from</c>.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="progress">Reports progress every few steps; null reports nothing.</param>
    /// <param name="cancellationToken">Stops the run after the current step and saves a checkpoint.</param>
    /// <param name="group">Process group of the training; null trains in this process alone.</param>
    /// <returns>Path of the LoRA.</returns>
    /// <exception cref="TrainingException">The configuration names no model.</exception>
    /// <exception cref="CheckpointException">A target matches no layer, or the weights cannot be used.</exception>
    public static string RunLora(TrainingConfigSource source, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken, ProcessGroup? group = null)
    {
        var config = SpriteDitConfig.Load(source);
        if (config.StartFrom is null)
            throw TrainingFault.LoraWithoutModel(source.Path);
        config.Lora ??= new LoraConfig();
        TrainedTransformer.Check(config.Transformer, config.Lora);
        Run(config, source, folder, LoraPart, progress, cancellationToken, group);
        return Path.Combine(folder, LoraPart, LoraFile.Name);
    }

    private static void Run(SpriteDitConfig config, TrainingConfigSource source, string folder, string part, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken, ProcessGroup? group)
    {
        if (config.Transformer is not PyramidFluxConfig)
            throw TrainingFault.OtherTextEncoders(source.Path);
        using var start = config.StartFrom is { } from ? SpriteStart.FromModel(ConfigPaths.Model(source.Path, StartFrom, from), cancellationToken) : SpriteStart.FromVaeRun(folder, VaeConfig(folder));
        var model = Path.Combine(folder, ModelFolder);
        using var data = group.RankZeroFirst(() =>
        {
            start.ProvideText(model, config.Seed, progress, cancellationToken);
            return SpriteLatents.OpenOrMake(Path.Combine(folder, "latents.safetensors"), config, start.Encode, progress, cancellationToken);
        });
        using var prompts = SpriteTextEncoders.Load(model);

        TorchRuntime.Threads = 1;
        using var samples = config.Samples is { } shown ? new TransformerSamples(shown, SettingsOf(config), prompts, () => start.OpenVae(config.ComputeType)) : null;
        using var trainer = new SpriteDitTrainer(config, Path.Combine(folder, part), data, prompts, config.NewWeights ? null : start.OpenTransformer, group, samples);
        if (group is not { Rank: > 0 })
            ConfigPaths.Copy(source, Path.Combine(folder, part, "config.json"), StartFrom);
        trainer.Run(progress, cancellationToken);
    }

    /// <summary>Assembles the model folder from the runs, with bfloat16 weights.</summary>
    /// <param name="folder">Folder of all runs of the model.</param>
    /// <param name="target">Model folder to write.</param>
    /// <param name="weights">File of the transformer's run with the weights.</param>
    /// <exception cref="TrainingException">A run is missing.</exception>
    public static void Ship(string folder, string target, string weights = "dit.safetensors")
    {
        RequireRun(folder, "dit");
        var config = SpriteDitConfig.Load(DitConfig(folder));
        var transformer = Path.Combine(target, CheckpointNames.Transformer);
        Convert(Path.Combine(folder, "dit", weights), Path.Combine(transformer, "diffusion_pytorch_model.safetensors"));
        File.WriteAllText(Path.Combine(transformer, ComponentFolder.ConfigName), ConfigFile.WithClass(config.Transformer.ClassName, config.Transformer.ToJson()));

        var vae = Path.Combine(target, CheckpointNames.Vae);
        if (config.StartFrom is { } start)
        {
            SpriteStart.CopyFiles(CheckpointFolder.Open(ConfigPaths.Model(DitConfig(folder), StartFrom, start)).Vae.Folder, vae);
        }
        else
        {
            RequireRun(folder, "vae");
            Convert(Path.Combine(folder, "vae", "vae.safetensors"), Path.Combine(vae, "diffusion_pytorch_model.safetensors"));
            File.WriteAllText(Path.Combine(vae, ComponentFolder.ConfigName),
                ConfigFile.WithClass(CausalVideoVaeConfig.ClassName, SpriteVaeConfig.Load(VaeConfig(folder)).Vae.ToJson()));
        }

        SpriteStart.CopyText(Path.Combine(folder, ModelFolder), target);
        SettingsOf(config).Write(Path.Combine(target, PipelineSettings.FileName));
    }

    /// <summary>Default pipeline settings of the model.</summary>
    public static PipelineSettings Settings { get; } = new(
        new LatentNormalization(0, 1, 0, 1), PromptSuffix: "", NegativePrompt: "",
        SpriteWorld.Width, SpriteWorld.Height, Frames: 49, SpriteWorld.FramesPerSecond,
        Steps: [10, 10, 10], VideoSteps: [6, 6, 6], Guidance: 3, VideoGuidance: 3, MaxLatentFrames: 7);

    /// <summary>Default pipeline settings of a full-sequence model: one stage with as many steps as the three stages of an image.</summary>
    public static PipelineSettings FullSequenceSettings { get; } = Settings with
    {
        FullSequence = true,
        Steps = [Settings.Steps.Sum()],
        VideoSteps = [Settings.Steps.Sum()],
        Guidance = Settings.VideoGuidance,
    };

    private static PipelineSettings SettingsOf(SpriteDitConfig config) => config.Objective == SpriteObjective.FullSequence ? FullSequenceSettings : Settings;

    private static void RequireRun(string folder, string part)
    {
        var run = Path.Combine(folder, part);
        if (!File.Exists(Path.Combine(run, "config.json")) || !File.Exists(Path.Combine(run, part + ".safetensors")))
            throw TrainingFault.RunUnfinished(folder, part);
    }

    private static string VaeConfig(string folder) => Path.Combine(folder, "vae", "config.json");

    private static string DitConfig(string folder) => Path.Combine(folder, "dit", "config.json");

    private static void Convert(string source, string target)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(target)!);
        using var scope = new TensorScope();
        using var weights = SafetensorsFile.Open(source);
        SafetensorsWriter.Write(target, weights.Keys.Order(StringComparer.Ordinal).Select(key => (key, weights.Read(key).To(ElementType.BFloat16))));
    }
}
