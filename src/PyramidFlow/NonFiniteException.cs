namespace PyramidFlow;

/// <summary>Which of a checkpoint's models.</summary>
public enum ModelPart
{
    /// <summary>The text encoders.</summary>
    Text,

    /// <summary>The diffusion transformer.</summary>
    Transformer,

    /// <summary>The video VAE.</summary>
    Vae,
}

/// <summary>
/// A model's work ended in numbers that are infinite or no numbers, of which only black frames can be made. The message says where, and what would do.
/// </summary>
public sealed class NonFiniteException : Exception
{
    private const string Advice = "use another number type (--dtype fp32), less guidance, or leave LoRAs out; models verify looks at every weight";

    /// <summary>Creates the error.</summary>
    /// <param name="part">The model.</param>
    /// <param name="where">What it was doing: "decoding frames".</param>
    /// <param name="inner">What was underneath, if anything.</param>
    /// <param name="fault">What is wrong with the model, and what would do; null where that is not known.</param>
    public NonFiniteException(ModelPart part, string where, string? fault = null, Exception? inner = null)
        : base($"{Name(part)} ended in numbers that are not finite {where}: {fault ?? Advice}", inner) => (Part, Where) = (part, where);

    /// <summary>The model.</summary>
    public ModelPart Part { get; }

    /// <summary>What it was doing.</summary>
    public string Where { get; }

    private static string Name(ModelPart part) => part switch
    {
        ModelPart.Text => "the text encoders",
        ModelPart.Transformer => "the transformer",
        _ => "the VAE",
    };
}
