using PyramidFlow.Generation;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Training.Dit;

/// <summary>What a transformer's training makes now and then, to be looked at: the key <c>samples</c>. What is left out is the model's own.</summary>
public sealed record SampleOptions
{
    /// <summary>What is to be seen, one clip each.</summary>
    public required IReadOnlyList<string> Prompts { get; set; }

    /// <summary>Size in pixels, such as <c>640x384</c>.</summary>
    public string? Size { get; set; }

    /// <summary>Frames of a clip, 1 + a multiple of 8; 1 makes pictures.</summary>
    public int? Frames { get; set; }

    /// <summary>Steps in each stage for the first unit, lowest resolution first.</summary>
    public IReadOnlyList<int>? Steps { get; set; }

    /// <summary>The same for the later units.</summary>
    public IReadOnlyList<int>? VideoSteps { get; set; }

    /// <summary>Guidance scale of the first unit; 0 is off.</summary>
    public double? Guidance { get; set; }

    /// <summary>Guidance scale of the later units; 0 is off.</summary>
    public double? VideoGuidance { get; set; }

    /// <summary>Seed of the noise, of every sheet the same; of prompt i it is <c>seed</c> + i.</summary>
    public long Seed { get; set; }

    /// <summary>What is impossible in it whatever the model, in words; null where nothing is.</summary>
    internal static string? Fault(SampleOptions? samples, int every) =>
        samples is null ? every > 0 ? $"sample_every {every} without samples: name the prompts, such as \"samples\": {{ \"prompts\": [\"a red ball\"] }}" : null
        : every == 0 ? "samples without sample_every are never made: say after how many steps"
        : samples.Prompts.Count == 0 ? "samples has no prompts: name some, or leave samples out"
        : null;

    /// <summary>What to ask a pipeline for, one request for each prompt.</summary>
    /// <exception cref="DataException">The size is none.</exception>
    internal IEnumerable<GenerationOptions> Requests()
    {
        var size = Size is null ? ((int Width, int Height)?)null : Buckets.Size(Size);
        return Prompts.Select((prompt, i) => new GenerationOptions
        {
            Prompt = prompt, Width = size?.Width, Height = size?.Height, Frames = Frames, Steps = Steps, VideoSteps = VideoSteps,
            Guidance = Guidance, VideoGuidance = VideoGuidance, Seed = unchecked((ulong)(Seed + i)),
        });
    }
}
