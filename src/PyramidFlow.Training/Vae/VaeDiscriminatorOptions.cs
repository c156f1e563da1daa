using System.Text.Json.Serialization;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Vae;

/// <summary>The <c>discriminator</c> of a VAE's training; the defaults are those of the released scripts.</summary>
public sealed record VaeDiscriminatorOptions
{
    /// <summary>First step with an adversarial part; 0 or more.</summary>
    public long Start { get; set; } = 250_000;

    /// <summary>Weight of the adversarial part, relative to the gradient of the others at the last layer.</summary>
    public double Weight { get; set; } = 0.5;

    /// <summary>Peak learning rate of the discriminator.</summary>
    public double LearningRate { get; set; } = 1e-4;

    /// <summary>What it minimises: <c>hinge</c> or <c>vanilla</c>.</summary>
    [JsonConverter(typeof(SnakeCaseEnumConverter<AdversarialLoss>))]
    public AdversarialLoss Loss { get; set; } = AdversarialLoss.Hinge;

    /// <summary>Whether it judges clips (3-D), not single frames.</summary>
    public bool Clips { get; set; }

    /// <summary>How often it halves height and width; at least 1.</summary>
    public int Layers { get; set; } = 4;

    /// <summary>Channels of its first layer; at least 1.</summary>
    public int Width { get; set; } = 64;

    /// <summary>The first impossible value and what it may be, or null.</summary>
    internal string? Fault() =>
        Start < 0 ? $"discriminator.start {Start} is less than 0"
        : !(Weight > 0) ? FormattableString.Invariant($"discriminator.weight {Weight} is not above 0: leave the discriminator out to train without")
        : !(LearningRate >= 0) ? FormattableString.Invariant($"discriminator.learning_rate {LearningRate} is less than 0")
        : Layers < 1 ? $"discriminator.layers {Layers} is less than 1"
        : Width < 1 ? $"discriminator.width {Width} is less than 1"
        : null;
}
