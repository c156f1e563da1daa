using PyramidFlow.Models;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Torch;

namespace PyramidFlow.Hub.Checking;

/// <summary>Result of checking a checkpoint folder: which variants run, and what is wrong with the others.</summary>
/// <param name="Folder">Full path.</param>
/// <param name="Family">Family of its transformers.</param>
/// <param name="Variants">Result for each transformer.</param>
/// <param name="Components">Result for each model and tokenizer.</param>
internal sealed record CheckpointReport(
    string Folder,
    ModelFamily Family,
    IReadOnlyList<VariantReport> Variants,
    IReadOnlyList<ComponentReport> Components)
{
    /// <summary>Whether at least one variant runs.</summary>
    public bool CanRun => Variants.Any(variant => variant.Runs);

    /// <summary>Checks that all files of a folder are present and complete, and that weights and configs match.</summary>
    /// <param name="folder">The checkpoint.</param>
    /// <param name="variant">Variant to check; null checks all.</param>
    /// <param name="everyWeight">Whether all weights are read to check that they are finite; otherwise only the headers of files are read.</param>
    /// <param name="cancellationToken">Checked before each weight.</param>
    /// <exception cref="CheckpointException">The checkpoint has no such variant.</exception>
    public static CheckpointReport Create(CheckpointFolder folder, string? variant = null, bool everyWeight = false, CancellationToken cancellationToken = default)
    {
        var text = folder.Family.TextComponents;
        var models = new ModelChecks(folder, everyWeight, cancellationToken);
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

    private static IReadOnlyList<CheckpointException> Settings(CheckpointFolder folder, string variant)
    {
        try
        {
            folder.Settings(variant);
            return [];
        }
        catch (CheckpointException e)
        {
            return [e];
        }
    }
}

/// <summary>Result of checking one variant.</summary>
/// <param name="Variant">Name after <c>diffusion_transformer_</c>; may be empty.</param>
/// <param name="Faults">Everything that is wrong; empty if the variant runs.</param>
internal sealed record VariantReport(string Variant, IReadOnlyList<CheckpointException> Faults)
{
    /// <summary>Whether the variant runs.</summary>
    public bool Runs => Faults.Count == 0;
}

/// <summary>Result of checking one model or tokenizer.</summary>
/// <param name="Name">Folder name.</param>
/// <param name="Faults">Everything that is wrong; empty if it can be used.</param>
/// <param name="Weights">Number of weights; 0 for tokenizers and unreadable weights.</param>
/// <param name="Bytes">Bytes of the weights.</param>
/// <param name="Types">Element types of the weights, the most frequent first, such as <c>BFloat16</c>.</param>
internal sealed record ComponentReport(string Name, IReadOnlyList<CheckpointException> Faults, long Weights, long Bytes, IReadOnlyList<string> Types);

/// <summary>Checks the components of one checkpoint, each alone and against the others.</summary>
/// <param name="folder">The checkpoint.</param>
/// <param name="everyWeight">Whether all weights are checked for non-finite values.</param>
/// <param name="cancellationToken">Checked before each weight.</param>
internal sealed class ModelChecks(CheckpointFolder folder, bool everyWeight, CancellationToken cancellationToken)
{
    private const int Scale = CausalVideoVaeConfig.PipelineScale;

    private readonly Dictionary<string, object> configs = [];
    private readonly IReadOnlyList<(string Tokenizer, string TextEncoder)> text = folder.Family.TextComponents;

    /// <summary>Checks a model: its config, its files, and that the weights are those the config describes.</summary>
    internal ComponentReport Check(string name)
    {
        var faults = new List<CheckpointException>();
        Module? model = null;
        StateSource? weights = null;
        Try(name, faults, () => model = Declare(folder.Component(name)));
        // For a missing folder one message is enough.
        if (folder.Has(name))
            Try(name, faults, () => weights = folder.Component(name).OpenWeights());
        using (weights)
        {
            if (weights is null)
                return new ComponentReport(name, faults, 0, 0, []);
            var keys = model?.NamedParameters().Select(p => p.Key).ToHashSet() ?? [];
            var held = weights.ForModel(keys);
            var tensors = held.Declarations();
            List<string> misfits = [.. model?.FindMismatches(held) ?? [], .. tensors
                .Where(weight => keys.Contains(weight.Key) && !weight.Type.IsFloatingPoint() && !(weight.Type == ElementType.Int8 && held.Keys.Contains(weight.Key + "_scale")))
                .Select(weight => CheckpointFault.NotFloatingPoint(weight.Key, weight.Type))];
            if (misfits.Count > 0)
                faults.Add(CheckpointFault.WeightsDisagree(folder.Component(name).ConfigFile, weights.Name, misfits));
            if (everyWeight)
                Try(name, faults, () => faults.AddRange(WeightFaults.Find([folder.Component(name)], cancellationToken) is { } fault ? [fault] : []));
            return new ComponentReport(name, faults, tensors.Sum(t => t.ElementCount), tensors.Sum(t => t.ByteLength),
                [.. tensors.GroupBy(t => t.Type).OrderByDescending(group => group.Sum(t => t.ElementCount)).Select(group => group.Key.ToString())]);
        }
    }

    /// <summary>Checks a tokenizer, and that its encoder has an embedding for each of its tokens.</summary>
    internal ComponentReport CheckTokenizer(string name, string encoder)
    {
        var faults = new List<CheckpointException>();
        Try(name, faults, () =>
        {
            var path = folder.Component(name).Folder;
            var tokens = name == text[^1].Tokenizer ? T5Tokenizer.Load(path).VocabularySize : ClipTokenizer.Load(path).VocabularySize;
            var rows = configs.GetValueOrDefault(encoder) switch
            {
                T5EncoderConfig t5 => t5.VocabSize,
                ClipTextConfig clip => clip.VocabSize,
                _ => long.MaxValue,
            };
            if (tokens > rows)
                faults.Add(CheckpointFault.MoreTokensThanRows(path, tokens, encoder, rows));
        });
        return new ComponentReport(name, faults, 0, 0, []);
    }

    /// <summary>Sizes of a transformer that do not match the other models.</summary>
    internal IEnumerable<CheckpointException> Misfits(string transformer)
    {
        if (configs.GetValueOrDefault(transformer) is not ITransformerConfig config)
            yield break;
        if (configs.GetValueOrDefault(CheckpointNames.Vae) is CausalVideoVaeConfig vae && vae.EncoderOutChannels != config.LatentChannels)
            yield return CheckpointFault.LatentsDiffer(transformer, config.LatentChannels, CheckpointNames.Vae, vae.EncoderOutChannels);
        if (configs.GetValueOrDefault(text[^1].TextEncoder) is T5EncoderConfig t5 && t5.DModel != config.JointAttentionDim)
            yield return CheckpointFault.TextDiffers(transformer, config.JointAttentionDim, text[^1].TextEncoder, t5.DModel);
        var clips = text.SkipLast(1).Select(part => configs.GetValueOrDefault(part.TextEncoder)).OfType<ClipTextConfig>().ToList();
        var pooled = clips.Sum(folder.Family.PooledWidth);
        if (clips.Count == text.Count - 1 && pooled != config.PooledProjectionDim)
            yield return CheckpointFault.PooledDiffers(transformer, config.PooledProjectionDim, string.Join(" and ", text.SkipLast(1).Select(part => part.TextEncoder)), pooled);
    }

    private Module Declare(ComponentFolder component)
    {
        if (component.Name == CheckpointNames.Vae)
            return new CausalVideoVae(Keep(ReadVae(component.ConfigFile)));
        if (component.Name == text[^1].TextEncoder)
            return new T5Encoder(Keep(T5EncoderConfig.Read(component.ConfigFile)));
        if (text.Any(part => part.TextEncoder == component.Name))
        {
            var clip = Keep(ClipTextConfig.Read(component.ConfigFile));
            return folder.Family.BuildClip(clip);
        }

        if (ModelFamilies.Read(component.ConfigFile) is var other && other != folder.Family)
        {
            var kinds = string.Join(" and ", new[] { folder.Family.Name, other.Name }.Order(StringComparer.Ordinal));
            throw CheckpointFault.TwoFamilies(component.Name, folder.Transformer(folder.Variants[0]).Name, kinds);
        }

        return Keep(TransformerConfigs.Load(component.ConfigFile)).Build();

        T Keep<T>(T config)
            where T : notnull
        {
            configs[component.Name] = config;
            return config;
        }
    }

    private static CausalVideoVaeConfig ReadVae(string file)
    {
        var config = CausalVideoVaeConfig.Read(file);
        return config.SpatialScale == Scale && config.TemporalScale == Scale
            ? config
            : throw CheckpointFault.VaeScale(file, config.SpatialScale, config.TemporalScale, Scale);
    }

    private static void Try(string name, List<CheckpointException> faults, Action check)
    {
        try
        {
            check();
        }
        catch (CheckpointException e)
        {
            faults.Add(e);
        }
        catch (ArgumentException e)
        {
            faults.Add(CheckpointFault.NetworkImpossible(name, e));
        }
    }
}
