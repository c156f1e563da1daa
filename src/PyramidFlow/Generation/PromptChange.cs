namespace PyramidFlow.Generation;

/// <summary>Another prompt from a time on.</summary>
/// <param name="FromSeconds">
/// When it takes over, above 0: seconds from the clip's first frame, or from the first new one where a video is gone on
/// from. The unit that begins nearest to it is the first one made with it.
/// </param>
/// <param name="Prompt">What is to be seen from then on.</param>
public sealed record PromptChange(double FromSeconds, string Prompt);
