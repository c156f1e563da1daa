namespace PyramidFlow.Generation;

/// <summary>A change of a clip while it is made. The last one that begins with a unit or before it holds for the unit.</summary>
/// <param name="FromUnit">The first unit that it counts for; at least one unit has been made before it.</param>
/// <param name="Prompt">The prompt from then on, without a suffix; null ends the clip before that unit.</param>
internal sealed record ClipChange(int FromUnit, string? Prompt);

/// <summary>Says how a clip is changed while it is made. It is asked once before each unit that is sampled: what it was told until then counts for the unit, and anything later for a later one.</summary>
internal interface IClipDirector
{
    /// <summary>All changes up to the unit that began last, by their units.</summary>
    IReadOnlyList<ClipChange> Changes { get; }

    /// <summary>A unit begins.</summary>
    /// <param name="unit">Its number, from 0.</param>
    /// <param name="units">Number of planned units.</param>
    /// <param name="cancellationToken">Ends the waiting for an answer.</param>
    /// <returns>The change that holds for the unit; null where none does, so that it is made as planned.</returns>
    ClipChange? Begin(int unit, int units, CancellationToken cancellationToken);
}

/// <summary>Changes that are known before the run, and are the same in all processes that make the clip together.</summary>
/// <param name="Changes">The changes, by their units.</param>
internal sealed record KnownChanges(IReadOnlyList<ClipChange> Changes) : IClipDirector
{
    /// <inheritdoc/>
    public ClipChange? Begin(int unit, int units, CancellationToken cancellationToken) => ClipChanges.Of(Changes, unit);
}

/// <summary>The texts of a clip's units, which a director may change while the clip is made.</summary>
/// <param name="director">The director; null keeps to the plan.</param>
/// <param name="clip">The clip.</param>
/// <param name="prompts">Encodes new prompts.</param>
/// <param name="planned">The text of each unit as planned.</param>
internal sealed class DirectedTexts(IClipDirector? director, GenerationSettings clip, EncodedPrompts prompts, IReadOnlyList<GuidedText> planned)
{
    private readonly string suffix = clip.Options.PromptSuffix ?? "";
    private string? changed;

    /// <summary>Begins a unit that is sampled.</summary>
    /// <param name="unit">Its number, from 0.</param>
    /// <param name="cancellationToken">Ends the waiting for the director.</param>
    /// <returns>False where the clip ends before this unit.</returns>
    internal bool Begin(int unit, CancellationToken cancellationToken)
    {
        var change = director?.Begin(unit, clip.Sampling.Units, cancellationToken);
        changed = change?.Prompt;
        return change is null or { Prompt: not null };
    }

    /// <summary>The text of the unit that has begun. A new prompt is encoded here; its history cache begins anew, because it belongs to a text.</summary>
    internal GuidedText Of(int unit) => changed is null ? planned[unit] : prompts.Text(changed + suffix, clip.IsGuided ? clip.NegativePrompt : null);
}

/// <summary>What a clip became that was changed while it was made.</summary>
internal static class ClipChanges
{
    // Milliseconds: a schedule names the unit that begins nearest.
    private const int Digits = 3;

    /// <summary>The change that holds for a unit; null where none does.</summary>
    internal static ClipChange? Of(IEnumerable<ClipChange> changes, int unit) => changes.LastOrDefault(change => change.FromUnit <= unit);

    /// <summary>The second at which a unit begins, as a prompt schedule names it (<see cref="PromptChange.FromSeconds"/>).</summary>
    /// <param name="unit">The unit, from 1.</param>
    /// <param name="framesPerUnit">Latent frames of a unit.</param>
    /// <param name="isContinuation">Whether the clip continues given frames, after which the time begins.</param>
    /// <param name="framesPerSecond">Rate of the checkpoint.</param>
    internal static double SecondsOf(int unit, int framesPerUnit, bool isContinuation, double framesPerSecond) =>
        Math.Round((((unit - 1) * VideoLength.Scale * framesPerUnit) + (isContinuation ? 0 : 1)) / framesPerSecond, Digits);

    /// <summary>The settings with which the clip is made again as it was: with the prompts and the length that it has had.</summary>
    /// <param name="clip">What was planned.</param>
    /// <param name="changes">The changes, by their units.</param>
    /// <param name="framesPerSecond">Rate of the checkpoint.</param>
    internal static GenerationOptions AsMade(GenerationSettings clip, IReadOnlyList<ClipChange> changes, double framesPerSecond)
    {
        var (options, sampling) = (clip.Options, clip.Sampling);
        var units = changes.FirstOrDefault(change => change.Prompt is null)?.FromUnit ?? sampling.Units;
        var prompts = changes.Where(change => change.Prompt is not null && change.FromUnit < units).ToList();
        var from = prompts.FirstOrDefault()?.FromUnit ?? units;
        var made = (units - 1) * VideoLength.Scale * sampling.FramesPerUnit;
        return options with
        {
            // The first prompt of the clip is not one of the schedule.
            Schedule = [.. options.Schedule.Zip(clip.Prompts.Skip(1)).Where(planned => planned.Second.FromUnit < Math.Min(from, units)).Select(planned => planned.First),
                .. prompts.Select(change => new PromptChange(SecondsOf(change.FromUnit, sampling.FramesPerUnit, clip.IsContinuation, framesPerSecond), change.Prompt!))],
            Frames = units == sampling.Units ? options.Frames : clip.IsContinuation ? made : made + 1,
        };
    }
}
