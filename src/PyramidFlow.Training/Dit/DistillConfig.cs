using PyramidFlow.Models;
using PyramidFlow.Models.Lora;

namespace PyramidFlow.Training.Dit;

/// <summary>What a student learns from its teacher: the key <c>distill</c> of <c>train distill</c>. At least one of guidance and rounds is given.</summary>
public sealed record DistillConfig
{
    private const double UsualTextDrop = 0.1;

    /// <summary>Name or folder of the model, or folder of the run, that the student learns from; null is the model that it begins with. A folder is relative to the configuration file.</summary>
    public string? Teacher { get; set; }

    /// <summary>LoRAs that are added to the teacher: files, or folders such as those of runs of <c>train lora</c>, relative to the configuration file. The student begins without them.</summary>
    public IReadOnlyList<string> Loras { get; set; } = [];

    /// <summary>
    /// Guidance scale of the first unit that the student's velocity contains, so that it needs one row in place of two; above 1. Null takes that of the later units; where both are null, the
    /// student is guided as its teacher is.
    /// </summary>
    public double? Guidance { get; set; }

    /// <summary>The same of the later units; null takes that of the first unit.</summary>
    public double? VideoGuidance { get; set; }

    /// <summary>
    /// Steps of a stage that the student takes, one number for each round; the rounds divide the steps of the training equally. A step matches two of half its length: of the teacher in the
    /// first round, of the student itself as the round before left it in the others. So each number is half of the one before. Empty trains for any number of steps.
    /// </summary>
    public IReadOnlyList<int> Rounds { get; set; } = [];

    /// <summary>
    /// Share of the batches whose clips the student makes itself from their captions: it learns at the beginnings of the steps that it takes, and to go on from its own errors. 0 to 1, and 0
    /// where it learns no guidance.
    /// </summary>
    public double OwnClips { get; set; }

    /// <summary>Scales of the first unit and the later ones; null trains no guidance.</summary>
    internal (double First, double Later)? Scales => (Guidance ?? VideoGuidance) is { } first ? (first, VideoGuidance ?? first) : null;

    /// <summary>Number of rounds; a training for any number of steps is one.</summary>
    internal int RoundCount => Math.Max(1, Rounds.Count);

    /// <summary>Steps of a stage in a round; null is any number.</summary>
    internal int? StepsOf(int round) => Rounds.Count == 0 ? null : Rounds[round];

    /// <summary>The round that a step of the training belongs to.</summary>
    /// <param name="step">The step, from 0.</param>
    /// <param name="steps">Steps of the whole training.</param>
    internal int RoundAt(long step, int steps) => (int)Math.Min(RoundCount - 1, step * RoundCount / Math.Max(1, steps));

    /// <summary>Passes of the teacher for one of the student in a round: two rows where it is guided, two steps where the student has a number of steps.</summary>
    internal int TeacherPasses(int round) => (round == 0 && Scales is not null ? 2 : 1) * (Rounds.Count == 0 ? 1 : 2);

    /// <summary>The same, the mean of all rounds.</summary>
    internal double MeanTeacherPasses => Enumerable.Range(0, RoundCount).Average(TeacherPasses);

    /// <summary>Settings of pipelines that use the student.</summary>
    /// <param name="teacher">Those of its teacher.</param>
    /// <param name="round">The round that it is trained to.</param>
    internal PipelineSettings Settings(PipelineSettings teacher, int round)
    {
        var steps = StepsOf(round);
        return teacher with
        {
            Steps = Of(teacher.Steps),
            VideoSteps = Of(teacher.VideoSteps),
            Guidance = Scales is null ? teacher.Guidance : 0,
            VideoGuidance = Scales is null ? teacher.VideoGuidance : 0,
            Distilled = new DistilledSettings(Scales?.First, Scales?.Later, steps),
        };

        IReadOnlyList<int> Of(IReadOnlyList<int> stages) => steps is { } count ? [.. stages.Select(_ => count)] : stages;
    }

    /// <summary>What a loss depends on.</summary>
    /// <param name="round">The round that is trained.</param>
    internal string Identity(int round) => FormattableString.Invariant($"distilled guidance {Scales?.First:R} {Scales?.Later:R} steps {StepsOf(round)}");

    /// <summary>Probability of dropping the prompt: a student that contains guidance is never without one.</summary>
    /// <param name="given">That of the configuration; null where it gives none.</param>
    /// <param name="distill">What is learned from a teacher; null learns from the data.</param>
    internal static double TextDropOf(double? given, DistillConfig? distill) => given ?? (distill?.Scales is null ? UsualTextDrop : 0);

    /// <summary>The error for the first value that is invalid for any teacher; null if there is none.</summary>
    /// <param name="file">The configuration.</param>
    /// <param name="steps">Steps of the training.</param>
    /// <param name="lora">The LoRA to train, if there is one.</param>
    /// <param name="isWhole">Whether it is trained on whole clips.</param>
    internal TrainingException? Fault(string file, int steps, LoraConfig? lora, bool isWhole) =>
        lora is not null ? TrainingFault.DistillOfLora(file)
        : OwnClips > 0 && isWhole ? TrainingFault.OwnClipsOfFullSequence(file)
        : Scales is null && Rounds.Count == 0 ? TrainingFault.NothingDistilled(file)
        : Guidance is { } first && !(first > 1 && double.IsFinite(first)) ? TrainingFault.NotAbove(file, "distill.guidance", first, 1)
        : VideoGuidance is { } later && !(later > 1 && double.IsFinite(later)) ? TrainingFault.NotAbove(file, "distill.video_guidance", later, 1)
        : Rounds.Any(count => count < 1) ? TrainingFault.TooSmall(file, "distill.rounds", Rounds.First(count => count < 1), 1)
        : Rounds.Zip(Rounds.Skip(1)).Any(pair => pair.First != 2 * pair.Second) ? TrainingFault.RoundsNotHalved(file, Rounds)
        : OwnClips is not (>= 0 and <= 1) ? TrainingFault.NoShare(file, "distill.own_clips", OwnClips)
        : OwnClips > 0 && Scales is null ? TrainingFault.OwnClipsUnguided(file)
        : steps < Rounds.Count ? TrainingFault.TooSmall(file, "steps", steps, Rounds.Count)
        : null;
}
