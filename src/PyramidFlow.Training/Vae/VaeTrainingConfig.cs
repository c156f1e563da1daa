using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Runs;
using PyramidFlow.Training.Sprites;
using PyramidFlow.Vae;

namespace PyramidFlow.Training.Vae;

/// <summary>What <c>train vae</c> does; read from JSON.</summary>
public sealed record VaeTrainingConfig
{
    /// <summary>The network.</summary>
    public required CausalVideoVaeConfig Vae { get; set; }

    /// <summary>Seed of weights, data and draws.</summary>
    public long Seed { get; set; } = 1;

    /// <summary>Steps of the linear start.</summary>
    public int LinearSteps { get; set; } = 500;

    /// <summary>Peak learning rate of the linear start.</summary>
    public double LinearLearningRate { get; set; } = 8e-3;

    /// <summary>How far the latent channels are brought to the same size: 1 wholly, 0 not at all.</summary>
    public double WhiteningPower { get; set; } = 0.7;

    /// <summary>Steps of the decoder.</summary>
    public int Steps { get; set; } = 2000;

    /// <summary>Clips in a step.</summary>
    public int Batch { get; set; } = 2;

    /// <summary>Frames of a clip, 1 + 8n.</summary>
    public int Frames { get; set; } = 33;

    /// <summary>Side of the square cut from each clip, a multiple of 8.</summary>
    public int Crop { get; set; } = 64;

    /// <summary>Threads that each compute a part of every batch; divides the batch. Part of what a seed reproduces.</summary>
    public int Workers { get; set; } = 2;

    /// <summary>Standard deviation of the noise added to the latents, so that the decoder forgives generated ones.</summary>
    public double LatentNoise { get; set; } = 0.05;

    /// <summary>Peak learning rate.</summary>
    public double LearningRate { get; set; } = 2e-4;

    /// <summary>Steps of linear rise.</summary>
    public int WarmUpSteps { get; set; } = 20;

    /// <summary>Largest gradient norm.</summary>
    public double ClipNorm { get; set; } = 1;

    /// <summary>Share of the running average of the weights that stays at each step.</summary>
    public double AverageDecay { get; set; } = 0.99;

    /// <summary>Steps between two checkpoints.</summary>
    public int CheckpointEvery { get; set; } = 100;

    /// <summary>Reads a configuration file.</summary>
    /// <exception cref="ArgumentException">It is missing, malformed, holds an unknown key or an impossible value.</exception>
    /// <exception cref="CheckpointException">It does not describe a network.</exception>
    public static VaeTrainingConfig Load(string path) =>
        TrainingConfigFile.Read(path, VaeTrainingJson.Default.VaeTrainingConfig).Check(path);

    private VaeTrainingConfig Check(string path)
    {
        CausalVideoVaeConfig.Parse(Encoding.UTF8.GetBytes(Vae.ToJson()), path);
        var unknown = Vae.Others?.Keys.FirstOrDefault();
        var fault =
            unknown is not null ? $"unknown key {unknown} in vae"
            : Vae.EncoderSpatialDownSample.Count(on => on) != LinearAutoencoder.Levels ? $"the vae must halve {LinearAutoencoder.Levels} times"
            : Frames < 9 || Frames % 8 != 1 ? $"frames {Frames} is not 1 + 8n: use {Math.Max(9, 1 + (Frames / 8 * 8))}"
            : Crop < 8 || Crop % 8 != 0 || Crop > SpriteWorld.Width ? $"crop {Crop} is not a multiple of 8 up to {SpriteWorld.Width}"
            : Workers < 1 || Batch < 1 || Batch % Workers != 0 ? $"batch {Batch} cannot be shared by {Workers} workers: use a multiple"
            : CheckpointEvery < 1 ? $"checkpoint_every {CheckpointEvery} is less than 1"
            : null;
        return fault is null ? this : throw new ArgumentException($"{path}: {fault}");
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true,
    ReadCommentHandling = JsonCommentHandling.Skip, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(VaeTrainingConfig))]
internal sealed partial class VaeTrainingJson : JsonSerializerContext;
