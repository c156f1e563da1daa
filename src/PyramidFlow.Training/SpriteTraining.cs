using PyramidFlow.Models.Lora;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Sprites;
using PyramidFlow.Training.Vae;
using PyramidFlow.Models;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Training;

/// <summary>
/// The making of <c>models/sprites</c>, from nothing but configurations and seeds: VAE, text encoders, transformer, each
/// a run of its own that goes on where it was stopped; <see cref="Ship"/> puts the model folder together.
/// </summary>
public static class SpriteTraining
{
    private const string ModelFolder = "model", LoraPart = "lora", StartFrom = "start_from";

    /// <summary>Trains the VAE; its run lies in <c>FOLDER/vae</c>.</summary>
    /// <param name="configPath">A <see cref="VaeTrainingConfig"/>.</param>
    /// <param name="folder">Folder of all runs of the model.</param>
    /// <param name="progress">Told every few steps, or null.</param>
    /// <param name="cancel">Stops after the running step, with a checkpoint.</param>
    /// <param name="group">The processes that train together, or null for one.</param>
    /// <returns>Mean peak signal-to-noise ratio on unseen clips, dB.</returns>
    public static double RunVae(string configPath, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancel, ProcessGroup? group = null)
    {
        var config = VaeTrainingConfig.Load(configPath);
        using var trainer = new VaeTrainer(config, Path.Combine(folder, "vae"), progress, cancel, group);
        if (group is not { Rank: > 0 })
            ConfigPaths.Copy(configPath, VaeConfig(folder));

        // Every worker is a thread of its own; operators that split their work as well would only wait for each other.
        TorchRuntime.Threads = 1;
        return trainer.Run(progress, cancel);
    }

    /// <summary>Trains text encoders, if there are none yet, and transformer; the run lies in <c>FOLDER/dit</c>.</summary>
    /// <param name="configPath">A <see cref="DitTrainingConfig"/>.</param>
    /// <param name="folder">Folder of all runs of the model; the VAE's linear start must be there.</param>
    /// <param name="progress">Told every few steps, or null.</param>
    /// <param name="cancel">Stops after the running step, with a checkpoint.</param>
    /// <param name="group">The processes that train together, or null for one.</param>
    /// <exception cref="ArgumentException">The VAE's run is missing.</exception>
    public static void RunDit(string configPath, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancel, ProcessGroup? group = null)
    {
        var config = DitTrainingConfig.Load(configPath);
        if (config.Lora is not null)
            throw new ArgumentException($"{configPath} describes a LoRA: train it with 'train lora', or take the key lora out");
        Run(config, configPath, folder, "dit", progress, cancel, group);
    }

    /// <summary>Trains a LoRA of a model folder's transformer; the run and <c>lora.safetensors</c> lie in <c>FOLDER/lora</c>.</summary>
    /// <param name="configPath">A <see cref="DitTrainingConfig"/> with <c>start_from</c>.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="progress">Told every few steps, or null.</param>
    /// <param name="cancel">Stops after the running step, with a checkpoint.</param>
    /// <param name="group">The processes that train together, or null for one.</param>
    /// <returns>The LoRA's file.</returns>
    /// <exception cref="ArgumentException">The model is not named, or a target names no layer of it.</exception>
    public static string RunLora(string configPath, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancel, ProcessGroup? group = null)
    {
        var config = DitTrainingConfig.Load(configPath);
        if (config.StartFrom is null)
            throw new ArgumentException($"{configPath}: a LoRA belongs to a model: name its folder in start_from");
        config.Lora ??= new LoraConfig();
        TrainedTransformer.Check(config.Transformer, config.Lora);
        Run(config, configPath, folder, LoraPart, progress, cancel, group);
        return Path.Combine(folder, LoraPart, LoraFile.Name);
    }

    private static void Run(DitTrainingConfig config, string configPath, string folder, string part, IProgress<TrainingProgress>? progress, CancellationToken cancel, ProcessGroup? group)
    {
        if (config.Transformer is not PyramidFluxConfig)
            throw new ArgumentException($"{configPath}: the text encoders of sprites are those of pyramid_flux: give its keys in transformer");
        using var start = config.StartFrom is { } from ? SpriteStart.FromModel(ConfigPaths.Model(configPath, StartFrom, from), cancel) : SpriteStart.FromVaeRun(folder, VaeConfig(folder));
        var model = Path.Combine(folder, ModelFolder);
        using var data = group.InTurn(() =>
        {
            start.ProvideText(model, config.Seed, progress, cancel);
            return SpriteLatents.OpenOrMake(Path.Combine(folder, "latents.safetensors"), config, start.Encode, progress, cancel);
        });
        using var prompts = SpriteTextEncoders.Load(model);

        TorchRuntime.Threads = 1;
        using var samples = config.Samples is { } shown ? new TransformerSamples(shown, SettingsOf(config), prompts, () => start.OpenVae(config.ComputeType)) : null;
        using var trainer = new DitTrainer(config, Path.Combine(folder, part), data, prompts, config.NewWeights ? null : start.OpenTransformer, group, samples);
        if (group is not { Rank: > 0 })
            ConfigPaths.Copy(configPath, Path.Combine(folder, part, "config.json"), StartFrom);
        trainer.Run(progress, cancel);
    }

    /// <summary>Puts the model folder together from the runs, weights in bfloat16.</summary>
    /// <param name="folder">Folder of all runs of the model.</param>
    /// <param name="target">Model folder to write.</param>
    /// <param name="weights">Which file of the transformer's run holds the weights.</param>
    /// <exception cref="ArgumentException">A run is missing.</exception>
    public static void Ship(string folder, string target, string weights = "dit.safetensors")
    {
        RequireRun(folder, "dit");
        var config = DitTrainingConfig.Load(DitConfig(folder));
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
                ConfigFile.WithClass(CausalVideoVaeConfig.ClassName, VaeTrainingConfig.Load(VaeConfig(folder)).Vae.ToJson()));
        }

        SpriteStart.CopyText(Path.Combine(folder, ModelFolder), target);
        SettingsOf(config).Write(Path.Combine(target, PipelineSettings.FileName));
    }

    /// <summary>What a pipeline uses with this model unless told otherwise.</summary>
    public static PipelineSettings Settings { get; } = new(
        new LatentNormalization(0, 1, 0, 1), PromptSuffix: "", NegativePrompt: "",
        SpriteWorld.Width, SpriteWorld.Height, Frames: 49, SpriteWorld.FramesPerSecond,
        Steps: [10, 10, 10], VideoSteps: [6, 6, 6], Guidance: 3, VideoGuidance: 3, MaxLatentFrames: 7);

    /// <summary>The same for a model that makes all frames together: the steps of an image's three stages, in one.</summary>
    public static PipelineSettings FullSequenceSettings { get; } = Settings with
    {
        FullSequence = true,
        Steps = [Settings.Steps.Sum()],
        VideoSteps = [Settings.Steps.Sum()],
        Guidance = Settings.VideoGuidance,
    };

    private static PipelineSettings SettingsOf(DitTrainingConfig config) => config.Objective == DitObjective.FullSequence ? FullSequenceSettings : Settings;

    private static void RequireRun(string folder, string part)
    {
        var run = Path.Combine(folder, part);
        if (!File.Exists(Path.Combine(run, "config.json")) || !File.Exists(Path.Combine(run, part + ".safetensors")))
            throw new ArgumentException($"{folder} holds no finished run of the {part}: run 'train {part} --out {folder}' first");
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
