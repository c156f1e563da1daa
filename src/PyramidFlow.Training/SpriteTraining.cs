using PyramidFlow.Hub;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Runs;
using PyramidFlow.Training.Sprites;
using PyramidFlow.Training.Vae;

namespace PyramidFlow.Training;

/// <summary>
/// The making of <c>models/sprites</c>, from nothing but configurations and seeds: VAE, text encoders, transformer, each
/// a run of its own that goes on where it was stopped; <see cref="Ship"/> puts the model folder together.
/// </summary>
public static class SpriteTraining
{
    private const string ModelFolder = "model";
    private const int TextSteps = 300;

    /// <summary>Trains the VAE; its run lies in <c>FOLDER/vae</c>.</summary>
    /// <param name="configPath">A <see cref="VaeTrainingConfig"/>.</param>
    /// <param name="folder">Folder of all runs of the model.</param>
    /// <param name="progress">Told every few steps, or null.</param>
    /// <param name="cancel">Stops after the running step, with a checkpoint.</param>
    /// <returns>Mean peak signal-to-noise ratio on unseen clips, dB.</returns>
    public static double RunVae(string configPath, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancel)
    {
        var config = VaeTrainingConfig.Load(configPath);
        using var trainer = new VaeTrainer(config, Path.Combine(folder, "vae"), progress, cancel);
        CopyConfig(configPath, VaeConfig(folder));

        // Every worker is a thread of its own; operators that split their work as well would only wait for each other.
        TorchRuntime.Threads = 1;
        return trainer.Run(progress, cancel);
    }

    /// <summary>Trains text encoders, if there are none yet, and transformer; the run lies in <c>FOLDER/dit</c>.</summary>
    /// <param name="configPath">A <see cref="DitTrainingConfig"/>.</param>
    /// <param name="folder">Folder of all runs of the model; the VAE's linear start must be there.</param>
    /// <param name="progress">Told every few steps, or null.</param>
    /// <param name="cancel">Stops after the running step, with a checkpoint.</param>
    /// <exception cref="ArgumentException">The VAE's run is missing.</exception>
    public static void RunDit(string configPath, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancel)
    {
        var config = DitTrainingConfig.Load(configPath);
        var maps = Path.Combine(folder, "vae", LinearStartFit.FileName);
        if (!File.Exists(maps))
            throw new ArgumentException($"{maps} is missing: run 'train vae --out {folder}' first");
        var model = Path.Combine(folder, ModelFolder);
        if (!File.Exists(Path.Combine(model, "text_encoder_2", "model.safetensors")))
            SpriteTextEncoders.Make(model, config.Seed, TextSteps, progress, cancel);
        using var encoder = LoadEncoder(maps, VaeConfig(folder));
        using var data = SpriteLatents.OpenOrMake(Path.Combine(folder, "latents.safetensors"), config, encoder, progress, cancel);
        using var prompts = SpriteTextEncoders.Load(model);

        TorchRuntime.Threads = 1;
        using var trainer = new DitTrainer(config, Path.Combine(folder, "dit"), data, prompts);
        CopyConfig(configPath, DitConfig(folder));
        trainer.Run(progress, cancel);
    }

    /// <summary>Puts the model folder together from the runs, weights in bfloat16.</summary>
    /// <param name="folder">Folder of all runs of the model.</param>
    /// <param name="target">Model folder to write.</param>
    /// <exception cref="ArgumentException">A run is missing.</exception>
    public static void Ship(string folder, string target)
    {
        foreach (var (part, file) in (ReadOnlySpan<(string, string)>)[("vae", VaeConfig(folder)), ("dit", DitConfig(folder))])
        {
            if (!File.Exists(file) || !File.Exists(Path.Combine(folder, part, part + ".safetensors")))
                throw new ArgumentException($"{folder} holds no finished run of the {part}: run 'train {part} --out {folder}' first");
        }

        var transformer = Path.Combine(target, "diffusion_transformer");
        Convert(Path.Combine(folder, "dit", "dit.safetensors"), Path.Combine(transformer, "diffusion_pytorch_model.safetensors"));
        File.WriteAllText(Path.Combine(transformer, "config.json"),
            WithClass("PyramidFluxTransformer", DitTrainingConfig.Load(DitConfig(folder)).Transformer.ToJson()));
        var vae = Path.Combine(target, "causal_video_vae");
        Convert(Path.Combine(folder, "vae", "vae.safetensors"), Path.Combine(vae, "diffusion_pytorch_model.safetensors"));
        File.WriteAllText(Path.Combine(vae, "config.json"),
            WithClass("CausalVideoVAE", VaeTrainingConfig.Load(VaeConfig(folder)).Vae.ToJson()));
        foreach (var part in (string[])["tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2"])
        {
            Directory.CreateDirectory(Path.Combine(target, part));
            foreach (var file in Directory.GetFiles(Path.Combine(folder, ModelFolder, part)))
                File.Copy(file, Path.Combine(target, part, Path.GetFileName(file)), overwrite: true);
        }

        Settings.Write(Path.Combine(target, PipelineSettings.FileName));
    }

    /// <summary>What a pipeline uses with this model unless told otherwise.</summary>
    public static PipelineSettings Settings { get; } = new(
        new LatentNormalization(0, 1, 0, 1), PromptSuffix: "", NegativePrompt: "",
        SpriteWorld.Width, SpriteWorld.Height, Frames: 49, SpriteWorld.FramesPerSecond,
        Steps: [10, 10, 10], VideoSteps: [6, 6, 6], Guidance: 3, VideoGuidance: 3);

    private static string VaeConfig(string folder) => Path.Combine(folder, "vae", "config.json");

    private static string DitConfig(string folder) => Path.Combine(folder, "dit", "config.json");

    // Once the run has taken the configuration; a run may also be gone on with by its own copy.
    private static void CopyConfig(string from, string to)
    {
        if (Path.GetFullPath(from) != Path.GetFullPath(to))
            File.Copy(from, to, overwrite: true);
    }

    private static LinearAutoencoder LoadEncoder(string maps, string vaeConfig)
    {
        var encoder = LinearStartFit.Declare(VaeTrainingConfig.Load(vaeConfig));
        using var source = new SafetensorsSource(maps);
        encoder.Load(source);
        return encoder;
    }

    private static void Convert(string source, string target)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(target)!);
        using var scope = new TensorScope();
        using var weights = new SafetensorsSource(source);
        SafetensorsWriter.Write(target, weights.Keys.Order(StringComparer.Ordinal).Select(key => (key, weights.Read(key).To(ElementType.BFloat16))));
    }

    private static string WithClass(string name, string json) =>
        $"{{\n  \"_class_name\": \"{name}\",{json.TrimStart().TrimStart('{').TrimEnd()}\n";
}
