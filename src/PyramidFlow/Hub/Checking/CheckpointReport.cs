using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Hub.Checking;

/// <summary>What a checkpoint folder can run.</summary>
/// <param name="Folder">Full path.</param>
/// <param name="Family">Kind of its transformers.</param>
/// <param name="Variants">Each transformer's name and what keeps it from running.</param>
/// <param name="Components">Every model and tokenizer.</param>
public sealed record CheckpointReport(
    string Folder,
    ModelFamily Family,
    IReadOnlyList<VariantReport> Variants,
    IReadOnlyList<ComponentReport> Components)
{
    /// <summary>Whether any variant runs.</summary>
    public bool CanRun => Variants.Any(variant => variant.Runs);

    /// <summary>Looks at a folder: that all files are there and whole, and that weights and configs fit one another.</summary>
    /// <param name="folder">The checkpoint.</param>
    /// <param name="variant">Only this one; null looks at all.</param>
    /// <param name="everyWeight">Whether every number is looked at too, which reads all weights; otherwise only the heads of files are read.</param>
    /// <param name="cancel">Checked before each weight.</param>
    /// <exception cref="CheckpointException">There is no such variant.</exception>
    public static CheckpointReport Of(CheckpointFolder folder, string? variant = null, bool everyWeight = false, CancellationToken cancel = default)
    {
        var text = folder.Family.TextComponents();
        var models = new ModelChecks(folder, everyWeight, cancel);
        var shared = new List<ComponentReport> { models.Check(CheckpointNames.Vae) };
        foreach (var (tokenizer, encoder) in text)
        {
            shared.Add(models.Check(encoder));
            shared.Add(models.CheckTokenizer(tokenizer, encoder));
        }

        var transformers = new List<ComponentReport>();
        var variants = new List<VariantReport>();
        foreach (var name in variant is null ? folder.Variants : [variant])
        {
            var transformer = models.Check(folder.Transformer(name).Name);
            transformers.Add(transformer);
            variants.Add(new VariantReport(name,
                [.. Settings(folder, name), .. transformer.Faults, .. shared.SelectMany(component => component.Faults), .. models.Misfits(transformer.Name)]));
        }

        return new CheckpointReport(folder.Root, folder.Family, variants, [.. transformers, .. shared]);
    }

    private static IReadOnlyList<string> Settings(CheckpointFolder folder, string variant)
    {
        try
        {
            folder.Settings(variant);
            return [];
        }
        catch (CheckpointException e)
        {
            return [e.Message];
        }
    }
}

/// <summary>Whether one variant runs.</summary>
/// <param name="Variant">What follows <c>diffusion_transformer_</c>; may be empty.</param>
/// <param name="Faults">What keeps it from running; empty when it runs.</param>
public sealed record VariantReport(string Variant, IReadOnlyList<string> Faults)
{
    /// <summary>Whether it runs.</summary>
    public bool Runs => Faults.Count == 0;
}
