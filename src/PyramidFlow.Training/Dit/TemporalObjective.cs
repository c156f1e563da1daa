namespace PyramidFlow.Training.Dit;

/// <summary>What a transformer learns of a clip.</summary>
public enum TemporalObjective
{
    /// <summary>Its last unit, after a history at falling resolution.</summary>
    Autoregressive,

    /// <summary>All of it at once.</summary>
    FullSequence,
}
