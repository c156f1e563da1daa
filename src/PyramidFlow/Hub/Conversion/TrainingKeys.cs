using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Hub.Conversion;

/// <summary>
/// Finds models in checkpoints as trainers save them: within <c>model</c>, <c>module</c> or an average (<c>ema</c>), with the
/// keys of the transformer under <c>dit.</c> and those of the VAE under <c>vae.</c>, beside the state of the optimiser.
/// </summary>
internal static class TrainingKeys
{
    // The average comes first: it is what the released weights are.
    private static readonly string[] Wrappers = ["ema", "ema_model", "model_ema", "model", "module", "state_dict", "_orig_mod"];
    private static readonly string[] Models = ["dit", "vae"];

    /// <summary>The models in a checkpoint.</summary>
    /// <param name="keys">All its keys.</param>
    /// <returns>Names (<c>dit</c>, <c>vae</c>; empty when it holds one model alone) and what their keys begin with.</returns>
    public static IReadOnlyList<(string Name, string Prefix)> Find(IReadOnlyCollection<string> keys)
    {
        var heads = keys.Select(Head).ToHashSet();
        if (Models.Where(heads.Contains).ToList() is { Count: > 0 } models)
            return [.. models.Select(model => (model, model + "." + Deeper(keys, model)))];
        return Array.Find(Wrappers, heads.Contains) is { } wrapper
            ? [.. Find(Under(keys, wrapper)).Select(found => (found.Name, $"{wrapper}.{found.Prefix}"))]
            : [("", "")];
    }

    /// <summary>The keys of one model without what stands before them; the given source is owned by the result.</summary>
    /// <param name="source">A checkpoint.</param>
    /// <param name="wanted"><c>dit</c> or <c>vae</c>, where there are both.</param>
    internal static StateSource Strip(StateSource source, string wanted)
    {
        var found = Find(source.Keys);
        var prefix = found.FirstOrDefault(model => model.Name == wanted, found[0]).Prefix;
        return prefix.Length == 0 ? source : new Stripped(source, prefix);
    }

    private static string Deeper(IReadOnlyCollection<string> keys, string head) => Find(Under(keys, head))[0].Prefix;

    private static List<string> Under(IEnumerable<string> keys, string head) =>
        [.. keys.Where(key => key.StartsWith(head + ".", StringComparison.Ordinal)).Select(key => key[(head.Length + 1)..])];

    private static string Head(string key) => key.IndexOf('.', StringComparison.Ordinal) is var dot and > 0 ? key[..dot] : "";

    private sealed class Stripped(StateSource inner, string prefix) : StateSource
    {
        private readonly StateSource view = inner.WithPrefix(prefix);

        public override string Name => inner.Name;

        public override IReadOnlyCollection<string> Keys => view.Keys;

        public override (long[] Shape, ElementType Type) Describe(string key) => view.Describe(key);

        public override Tensor Read(string key) => view.Read(key);

        public override void Dispose()
        {
            inner.Dispose();
            base.Dispose();
        }
    }
}
