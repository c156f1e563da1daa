using System.Text.Json.Serialization;
using PyramidFlow.Generation;

namespace PyramidFlow.Server.Domain;

/// <summary>How a video can be changed while it is made. The worker writes the unit that begins, and everybody else changes of later units: what is accepted counts from its unit on.</summary>
/// <param name="Unit">The unit that began last, from 0; <paramref name="Units"/> where several processes make the video together, which take all changes at once.</param>
/// <param name="Units">Number of planned units.</param>
/// <param name="Changes">Changes by their units.</param>
internal sealed record VideoLive(int Unit, int Units, IReadOnlyList<ClipChange> Changes)
{
    /// <summary>The unit from which a change counts that is made now.</summary>
    public int Next => Unit + 1;

    /// <summary>Whether several processes make the video together, which take no further changes.</summary>
    // Earlier versions cannot read it.
    [JsonIgnore]
    public bool IsFixed => Unit >= Units;

    /// <summary>The end of the video that was asked for; null where it is as long as planned.</summary>
    public ClipChange? End => Changes.FirstOrDefault(change => change.Prompt is null);

    /// <summary>Whether a change can still count.</summary>
    public bool IsOpen => Next < Units && !(End?.FromUnit <= Unit);

    /// <summary>The state with a change that counts from the next unit on, in place of what was to begin with that unit or later.</summary>
    /// <param name="change">What is asked for.</param>
    /// <exception cref="JobException">It comes too late, or there is nothing to take back.</exception>
    public VideoLive With(LiveChange change)
    {
        if (!IsOpen)
            throw ServiceFault.ChangeTooLate();
        if (change.Kind == LiveChangeKind.GoOn && End is null)
            throw ServiceFault.NoEndAhead();
        var earlier = Changes.Where(known => change.Kind == LiveChangeKind.Prompt ? known.FromUnit < Next : known.Prompt is not null);
        return this with
        {
            Changes = change.Kind switch
            {
                LiveChangeKind.GoOn => [.. earlier],
                LiveChangeKind.Stop => [.. earlier, new ClipChange(Next, null)],
                _ => [.. earlier, new ClipChange(Next, change.Prompt)],
            },
        };
    }
}

/// <summary>Kinds of changes of a video that is being made.</summary>
internal enum LiveChangeKind
{
    /// <summary>Another prompt, to the end of the video or the next change.</summary>
    Prompt,

    /// <summary>The video ends before the next unit; what there is becomes a complete video.</summary>
    Stop,

    /// <summary>The video goes on as if it had not been stopped.</summary>
    GoOn,
}

/// <summary>What somebody asks of a video that is being made.</summary>
/// <param name="Kind">The kind.</param>
/// <param name="Prompt">The prompt of <see cref="LiveChangeKind.Prompt"/>; null otherwise.</param>
internal sealed record LiveChange(LiveChangeKind Kind, string? Prompt = null);

/// <summary>A change that was accepted.</summary>
/// <param name="FromUnit">The unit from which it counts, from 0; the bytes of those before it stay as they are.</param>
/// <param name="FromSeconds">The second of the video at which that unit begins.</param>
/// <param name="Live">All that was asked for.</param>
internal sealed record LiveAnswer(int FromUnit, double FromSeconds, VideoLive Live);
