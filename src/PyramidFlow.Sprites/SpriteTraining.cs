using PyramidFlow.Hub;
using PyramidFlow.Hub.Conversion;
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
/// <see cref="Export(string, string, string?)"/> assembles the model folder.
/// </summary>
public static class SpriteTraining
{
    private const string ModelFolder = "model", DitPart = "dit", LoraPart = "lora", StartFrom = "start_from";

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
        using var trainer = new SpriteVaeTrainer(config, Path.Combine(folder, "vae"), progress, cancellationToken, group) { OnBegin = () => ConfigPaths.Copy(source, VaeConfig(folder)) };
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
        Run(Load(source, DitKind.Whole), source, folder, DitPart, progress, cancellationToken, group);
    }

    /// <summary>Trains a student of a model's transformer; the run is <c>FOLDER/dit</c>, as that of a transformer.</summary>
    /// <param name="source">A <see cref="SpriteDitConfig"/> with <c>distill</c> and <c>start_from</c>.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="progress">Reports progress every few steps; null reports nothing.</param>
    /// <param name="cancellationToken">Stops the run after the current step and saves a checkpoint.</param>
    /// <param name="group">Process group of the training; null trains in this process alone.</param>
    /// <exception cref="TrainingException">The configuration describes no distillation, or the teacher does not fit the student.</exception>
    /// <exception cref="CheckpointException">The weights cannot be used.</exception>
    public static void RunDistill(TrainingConfigSource source, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken, ProcessGroup? group = null)
    {
        Run(Load(source, DitKind.Distill), source, folder, DitPart, progress, cancellationToken, group);
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
        Run(Load(source, DitKind.Lora), source, folder, LoraPart, progress, cancellationToken, group);
        return Path.Combine(folder, LoraPart, LoraFile.Name);
    }

    /// <summary>Plans the training of a VAE.</summary>
    /// <param name="source">A <see cref="SpriteVaeConfig"/>.</param>
    /// <param name="ranks">Processes.</param>
    /// <exception cref="TrainingException">The configuration is invalid.</exception>
    internal static PlannedTraining PlanVae(TrainingConfigSource source, int ranks)
    {
        var config = SpriteVaeConfig.Load(source);
        return PlannedTraining.Of(source.Path, config, (changed, processes) => new SpriteVaePlan(changed, processes).Compute(), ranks, Device.Cpu, MemoryCheck.Common<SpriteVaeConfig>(onGpu: false), items: null) with
        {
            IsDrawn = true,
        };
    }

    /// <summary>Plans the training of a transformer, a LoRA or a student.</summary>
    /// <param name="source">A <see cref="SpriteDitConfig"/>.</param>
    /// <param name="kind">The command that trains it.</param>
    /// <param name="ranks">Processes.</param>
    /// <exception cref="TrainingException">The configuration is invalid.</exception>
    internal static PlannedTraining PlanDit(TrainingConfigSource source, DitKind kind, int ranks)
    {
        var config = Load(source, kind);
        // It decodes samples only; that of a run of its own has the sizes of the default model's.
        var model = config.StartFrom is { } start ? ConfigPaths.Model(source.Path, StartFrom, start) : ModelCatalog.FindInstalled(ModelCatalog.Default);
        var vae = model is null ? CausalVideoVaeConfig.Released : CausalVideoVaeConfig.Read(CheckpointFolder.Open(model).Vae.ConfigFile);
        var teacher = TeacherOf(source.Path, config);
        return PlannedTraining.Of(source.Path, config, (changed, processes) => new SpriteDitPlan(changed, vae, processes, teacher).Compute(), ranks, Device.Cpu,
            MemoryCheck.Common<SpriteDitConfig>(onGpu: false), config.Clips) with
        {
            IsDrawn = true,
        };
    }

    // The configuration of a command; a LoRA that it does not describe is the usual one.
    private static SpriteDitConfig Load(TrainingConfigSource source, DitKind kind)
    {
        var config = SpriteDitConfig.Load(source);
        kind.Require(source.Path, config.Lora, config.Distill);
        if (kind != DitKind.Lora)
            return config;
        if (config.StartFrom is null)
            throw TrainingFault.LoraWithoutModel(source.Path);
        config.Lora ??= new LoraConfig();
        TrainedTransformer.Check(config.Transformer, config.Lora);
        return config;
    }

    private static void Run(SpriteDitConfig config, TrainingConfigSource source, string folder, string part, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken, ProcessGroup? group)
    {
        if (config.Transformer is not PyramidFluxConfig)
            throw TrainingFault.OtherTextEncoders(source.Path);
        var teacher = TeacherOf(source.Path, config);
        using var start = config.StartFrom is { } from ? SpriteStart.FromModel(ConfigPaths.Model(source.Path, StartFrom, from), cancellationToken) : SpriteStart.FromVaeRun(folder, VaeConfig(folder));
        var model = Path.Combine(folder, ModelFolder);
        config = config.GoingOn(new RunFolder(Path.Combine(folder, part)));
        var latents = group.RankZeroFirst(() =>
        {
            start.ProvideText(model, config.Seed, progress, cancellationToken);
            return (Trained: SpriteLatents.OpenOrMake(Path.Combine(folder, "latents.safetensors"), config, start.Encode, progress, cancellationToken),
                HeldOut: SpriteLatents.OpenOrMakeHeldOut(Path.Combine(folder, "held-out.safetensors"), config, start.Encode, progress, cancellationToken));
        });
        using var data = latents.Trained;
        using var heldOut = latents.HeldOut;
        using var prompts = SpriteTextEncoders.Load(model);
        using var samples = config.Samples is { } shown ? new TransformerSamples(shown, SettingsOf(config, teacher), prompts, () => start.OpenVae(config.ComputeType)) : null;
        using var trainer = new SpriteDitTrainer(config, Path.Combine(folder, part), data, prompts, config.NewWeights ? null : start.OpenTransformer, group, samples, heldOut, teacher)
        {
            OnBegin = () => ConfigPaths.Copy(source, Path.Combine(folder, part, "config.json"), StartFrom, Teacher.Key, Teacher.LoraKey),
        };
        trainer.Run(progress, cancellationToken);
    }

    private static Teacher? TeacherOf(string file, SpriteDitConfig config) => config.Distill is { } distill
        ? Teacher.Find(file, distill, CheckpointFolder.Open(ConfigPaths.Model(file, StartFrom, config.StartFrom!)), null, config.Objective == SpriteObjective.FullSequence)
        : null;

    /// <summary>Assembles a model folder in the released layout from the runs; the weights that were trained become bfloat16.</summary>
    /// <param name="folder">Folder of all runs of the model.</param>
    /// <param name="target">Model folder to write; new or empty.</param>
    /// <param name="weights">File of the transformer's run with kept weights; null takes the newest ones.</param>
    /// <exception cref="TrainingException">A run is missing.</exception>
    /// <exception cref="CheckpointException">The target cannot be written.</exception>
    public static void Export(string folder, string target, string? weights = null) => Export(folder, target, weights, new ExportOptions());

    /// <summary>Assembles a model folder in the released layout from the runs.</summary>
    /// <param name="folder">Folder of all runs of the model.</param>
    /// <param name="target">Model folder to write; new or empty.</param>
    /// <param name="weights">File of the transformer's run with kept weights; null takes the newest ones.</param>
    /// <param name="options">Type of the trained weights, and whether the others are linked.</param>
    /// <param name="progress">Reports what is written; null reports nothing.</param>
    /// <param name="cancellationToken">Stops after the current tensor and removes the target.</param>
    /// <exception cref="TrainingException">A run is missing.</exception>
    /// <exception cref="CheckpointException">The target cannot be written.</exception>
    internal static void Export(string folder, string target, string? weights, ExportOptions options, IProgress<WorkProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        var dit = RequireRun(folder, DitPart, CheckpointNames.Transformer);
        var config = SpriteDitConfig.Load(DitConfig(folder));
        var vae = config.StartFrom is { } start ? CheckpointFolder.Open(ConfigPaths.Model(DitConfig(folder), StartFrom, start)).Vae : null;
        var trained = vae is null ? RequireRun(folder, "vae", CheckpointNames.Vae) : null;
        var text = SpriteStart.TextFolders(Path.Combine(folder, ModelFolder));
        List<ConversionPart> parts = [new(dit.Name, weights is null ? dit.OpenWeights() : WeightsFile.Open(Path.Combine(folder, DitPart, weights)), dit.ConfigFile)];
        if (trained is not null)
            parts.Add(new ConversionPart(trained.Name, trained.OpenWeights(), trained.ConfigFile));
        CheckpointExport.Write(target, parts, vae is null ? text : [vae, .. text], RunParts.Settings(dit), options, progress, cancellationToken);
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

    /// <summary>Settings of pipelines that use the transformer of a configuration.</summary>
    internal static PipelineSettings SettingsOf(SpriteDitConfig config, Teacher? teacher = null) => teacher is not null
        ? config.Distill!.Settings(teacher.Settings, config.Distill.RoundCount - 1)
        : config.Objective == SpriteObjective.FullSequence ? FullSequenceSettings : Settings;

    private static ComponentFolder RequireRun(string folder, string part, string component)
    {
        var run = Path.Combine(folder, part);
        var published = new ComponentFolder(component, Path.Combine(run, component));
        return File.Exists(Path.Combine(run, "config.json")) && File.Exists(published.ConfigFile) ? published : throw TrainingFault.RunUnfinished(folder, part);
    }

    private static string VaeConfig(string folder) => Path.Combine(folder, "vae", "config.json");

    private static string DitConfig(string folder) => Path.Combine(folder, DitPart, "config.json");
}
