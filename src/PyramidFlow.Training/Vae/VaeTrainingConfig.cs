using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Torch;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Sprites;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Training.Vae;

/// <summary>What <c>train vae</c> does; read from JSON.</summary>
public sealed record VaeTrainingConfig : LoopConfig
{
    /// <summary>With what suits the sprites world.</summary>
    public VaeTrainingConfig()
    {
        (Steps, Workers, LearningRate, WarmUpSteps, Beta2) = (2000, 2, 2e-4, 20, 0.99);
        (Schedule, AverageDecay, CheckpointEvery, LogEvery) = (LearningRateShape.LinearSecondHalf, 0.99, 100, 10);
    }

    /// <summary>The network.</summary>
    public required CausalVideoVaeConfig Vae { get; set; }

    /// <summary>Steps of the linear start.</summary>
    public int LinearSteps { get; set; } = 500;

    /// <summary>Peak learning rate of the linear start.</summary>
    public double LinearLearningRate { get; set; } = 8e-3;

    /// <summary>How far the latent channels are brought to the same size: 1 wholly, 0 not at all.</summary>
    public double WhiteningPower { get; set; } = 0.7;

    /// <summary>Clips in a step.</summary>
    public int Batch { get; set; } = 2;

    /// <summary>Frames of a clip, 1 + 8n.</summary>
    public int Frames { get; set; } = 33;

    /// <summary>Side of the square cut from each clip, a multiple of 8.</summary>
    public int Crop { get; set; } = 64;

    /// <summary>Standard deviation of the noise added to the latents, so that the decoder forgives generated ones.</summary>
    public double LatentNoise { get; set; } = 0.05;

    /// <summary>Reads a configuration file.</summary>
    /// <exception cref="ArgumentException">It is missing, malformed, holds an unknown key or an impossible value.</exception>
    /// <exception cref="CheckpointException">It does not describe a network.</exception>
    public static VaeTrainingConfig Load(string path) =>
        TrainingConfigFile.Read(path, VaeTrainingJson.Default.VaeTrainingConfig).Check(path);

    private VaeTrainingConfig Check(string path)
    {
        CausalVideoVaeConfig.Parse(Encoding.UTF8.GetBytes(Vae.ToJson()), path);
        var fault =
            Vae.EncoderSpatialDownSample.Count(on => on) != LinearAutoencoder.Levels ? $"the vae must halve {LinearAutoencoder.Levels} times"
            : Frames < 9 || Frames % 8 != 1 ? $"frames {Frames} is not 1 + 8n: use {Math.Max(9, 1 + (Frames / 8 * 8))}"
            : Crop < 8 || Crop % 8 != 0 || Crop > SpriteWorld.Width ? $"crop {Crop} is not a multiple of 8 up to {SpriteWorld.Width}"
            : Workers < 1 || Batch < 1 || Batch % Workers != 0 ? $"batch {Batch} cannot be shared by {Workers} workers: use a multiple"
            : LoopFault();
        return fault is null ? this : throw new ArgumentException($"{path}: {fault}");
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true,
    ReadCommentHandling = JsonCommentHandling.Skip, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(VaeTrainingConfig))]
internal sealed partial class VaeTrainingJson : JsonSerializerContext;
