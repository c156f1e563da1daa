using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Page.State;

/// <summary>A prompt that takes over later in a video.</summary>
internal sealed class LaterPrompt
{
    /// <summary>When it takes over.</summary>
    public double Seconds { get; set; }

    /// <summary>What is to be seen from then on.</summary>
    public string Prompt { get; set; } = "";
}

/// <summary>The times of a video at which a prompt may begin: those of its parts.</summary>
/// <param name="draft">The form.</param>
/// <param name="model">The model that is chosen.</param>
internal sealed class PromptTimeline(Draft draft, VideoModel model)
{
    private readonly bool isContinuation = draft.Mode == DraftMode.Extend;

    /// <summary>The first part that a later prompt may begin with; what is before it has the prompt of the video.</summary>
    public int First => draft.Mode == DraftMode.Text ? 1 : 2;

    /// <summary>The last part.</summary>
    public int Last => draft.Length;

    /// <summary>The part that begins nearest to a prompt, as the model chooses it.</summary>
    public int PartOf(LaterPrompt later) => 1 + (int)Math.Clamp(Math.Round(((later.Seconds * model.Settings.FramesPerSecond) - (isContinuation ? 0 : 1)) / VideoLength.Scale), 0, VideoLength.MaxFrames);

    /// <summary>The second at which a part begins.</summary>
    public double SecondsOf(int part) => ClipChanges.SecondsOf(part, 1, isContinuation, model.Settings.FramesPerSecond);

    /// <summary>The share of the video that lies before a prompt, 0 to 1.</summary>
    public double ShareOf(LaterPrompt later) => Math.Min(1, PartOf(later) / (Last + 1.0));

    /// <summary>Adds a prompt in the middle of the longest stretch that has one prompt.</summary>
    /// <returns>It; null where each part has a prompt of its own.</returns>
    public LaterPrompt? Add()
    {
        int[] starts = [First - 1, .. draft.Later.Select(PartOf).Where(part => part <= Last), Last + 1];
        var (from, to) = starts.Zip(starts.Skip(1)).MaxBy(stretch => stretch.Second - stretch.First);
        if (to - from < 2)
            return null;
        var added = new LaterPrompt { Seconds = SecondsOf((from + to) / 2) };
        draft.Later.Add(added);
        Sort();
        return added;
    }

    /// <summary>Moves a prompt to a part, or to the next free one beyond it.</summary>
    /// <returns>Whether it has moved.</returns>
    public bool Move(LaterPrompt later, int part)
    {
        var (before, taken) = (PartOf(later), draft.Later.Where(other => other != later).Select(PartOf).ToHashSet());
        var step = part < before ? -1 : 1;
        while (taken.Contains(part))
            part += step;
        if (part == before || part < First || part > Last)
            return false;
        later.Seconds = SecondsOf(part);
        Sort();
        return true;
    }

    private void Sort() => draft.Later.Sort((one, other) => one.Seconds.CompareTo(other.Seconds));
}
