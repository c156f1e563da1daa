using System.Globalization;

namespace PyramidFlow.Training.Loop;

/// <summary>Settings of a training whose loss is also measured on items that it does not train on; base of the configurations of transformers.</summary>
public abstract record HeldOutConfig : LoopConfig
{
    private const string HeldOutKey = "held_out";

    // Of fewer items each one counts for the training.
    private const int FewestItems = 10;

    private const int ItemsOfOneHeldOut = 20, MostHeldOut = 64;

    /// <summary>
    /// Number of items held out for evaluation at every checkpoint; 0 evaluates nothing. A configuration that gives none holds out a twentieth of the items, at most 64, and
    /// none of fewer than 10 items.
    /// </summary>
    public int? HeldOut { get; set; }

    /// <summary>Whether the weights with the least loss of the held-out items are kept beside the newest ones.</summary>
    public bool KeepBest { get; set; } = true;

    /// <inheritdoc/>
    internal override IEnumerable<(string Key, string Value)> Kept =>
        HeldOut is { } count ? [.. base.Kept, (HeldOutKey, count.ToString(CultureInfo.InvariantCulture))] : base.Kept;

    /// <summary>Number of items held out of a data set.</summary>
    /// <param name="items">All items.</param>
    internal int HeldOutOf(int items) => HeldOut ?? (items < FewestItems ? 0 : Math.Min(MostHeldOut, (items + ItemsOfOneHeldOut - 1) / ItemsOfOneHeldOut));

    /// <inheritdoc/>
    // Earlier versions held nothing out.
    private protected override void Keep(Func<string, double?> value) => HeldOut ??= (int)(value(HeldOutKey) ?? 0);

    /// <inheritdoc/>
    protected override TrainingException? LoopFault(string file) => HeldOut < 0 ? TrainingFault.TooSmall(file, HeldOutKey, HeldOut.Value, 0) : base.LoopFault(file);
}
