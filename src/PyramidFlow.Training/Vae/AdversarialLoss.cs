using PyramidFlow.Torch;

namespace PyramidFlow.Training.Vae;

/// <summary>What a discriminator minimises.</summary>
public enum AdversarialLoss
{
    /// <summary>Real ones above 1, decoded ones below -1.</summary>
    Hinge,

    /// <summary>Logistic regression.</summary>
    Vanilla,
}

/// <summary>The discriminator's losses (<c>video_vae/modeling_loss.py</c>).</summary>
public static class AdversarialLosses
{
    /// <summary>Half the loss on real ones plus half the loss on decoded ones: a scalar.</summary>
    /// <param name="loss">Which one.</param>
    /// <param name="real">Logits of real pictures, any shape.</param>
    /// <param name="fake">Logits of decoded ones.</param>
    public static Tensor Of(this AdversarialLoss loss, Tensor real, Tensor fake)
    {
        using var scope = new TensorScope();
        return scope.Keep((loss == AdversarialLoss.Hinge
            ? (1 - real).Relu().Mean() + (fake + 1).Relu().Mean()
            : (-real).Softplus().Mean() + fake.Softplus().Mean()) * 0.5);
    }
}
