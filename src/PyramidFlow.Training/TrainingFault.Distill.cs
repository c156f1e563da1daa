using System.Globalization;
using static System.FormattableString;

namespace PyramidFlow.Training;

/// <content>Distillation.</content>
internal static partial class TrainingFault
{
    public static TrainingException DistillMissing(string file) =>
        new("distill_missing", $"{file} describes no distillation: give distill, such as {{ \"guidance\": 3, \"rounds\": [4, 2] }}, or train it with 'train dit'", null, ("file", file));

    public static TrainingException ConfigOfDistillation(string file) =>
        new("config_of_distillation", $"{file} describes a distillation: train it with 'train distill', or take the key distill out", null, ("file", file));

    public static TrainingException NothingDistilled(string file) =>
        new("nothing_distilled", $"{file}: distill says nothing to learn: give guidance, a scale that the student contains, or rounds, its steps of a stage", null, ("file", file));

    public static TrainingException DistillWithoutModel(string file) =>
        new("distill_without_model", $"{file}: a student begins with the weights of a model: name it in start_from, and leave new_weights out", null, ("file", file));

    public static TrainingException DistillFromScratch(string file) =>
        new("distill_from_scratch", $"{file}: a student begins with the weights of the model: leave from_scratch out", null, ("file", file));

    public static TrainingException DistillOfLora(string file) =>
        new("distill_of_lora", $"{file}: a LoRA cannot tell a pipeline its steps and guidance: leave lora out, a student is a whole transformer", null, ("file", file));

    public static TrainingException OwnClipsOfFullSequence(string file) =>
        new("own_clips_of_full_sequence", $"{file}: full_sequence has no units: leave distill.own_clips out", null, ("file", file));

    public static TrainingException OwnClipsUnguided(string file) =>
        new("own_clips_unguided", $"{file}: a student makes clips of its own in one row, which are poor without guidance: give distill.guidance, or leave distill.own_clips out", null, ("file", file));

    /// <summary>The error for rounds that are not halved.</summary>
    /// <param name="file">The configuration.</param>
    /// <param name="rounds">Steps of each round.</param>
    public static TrainingException RoundsNotHalved(string file, IEnumerable<int> rounds) =>
        new("rounds_not_halved", Invariant($"{file}: distill.rounds {Shown(rounds)} cannot be: a step of a round takes two of the round before, so every number is half of the one before it, such as [4, 2, 1]"),
            null, ("file", file), ("rounds", Shown(rounds)));

    /// <summary>The error for a student that would need more steps than its teacher.</summary>
    /// <param name="file">The configuration.</param>
    /// <param name="steps">Steps of a stage in its first round.</param>
    /// <param name="teacher">Steps that the teacher takes.</param>
    public static TrainingException StudentOfMoreSteps(string file, int steps, int teacher) =>
        new("student_of_more_steps", Invariant($"{file}: distill.rounds begins with {steps} steps a stage, and the teacher itself takes {teacher}: begin with at most {teacher}"), null,
            ("file", file), ("steps", steps), ("teacher_steps", teacher));

    public static TrainingException TeacherDistilled(string file, string teacher) =>
        new("teacher_distilled", $"{file}: the teacher {teacher} is a distilled model itself: name the model that it learned from", null, ("file", file), ("teacher", teacher));

    public static TrainingException TeacherOfOtherFamily(string file, string teacher, string family, string student) =>
        new("teacher_of_other_family", $"{file}: the teacher {teacher} is of the family {family}, and the student of {student}: name a teacher of {student}", null,
            ("file", file), ("teacher", teacher), ("family", family), ("student", student));

    public static TrainingException TeacherOfOtherLatents(string file, string teacher) =>
        new("teacher_of_other_latents", $"{file}: the latents of the teacher {teacher} are not those of the student: name a teacher that was trained with the same VAE and the same scaling of latents", null,
            ("file", file), ("teacher", teacher));

    /// <summary>The error for a teacher whose network is not that of the student.</summary>
    /// <param name="file">The configuration.</param>
    /// <param name="teacher">The teacher.</param>
    /// <param name="what">What differs, such as <c>blocks</c>.</param>
    /// <param name="found">Its value in the teacher.</param>
    /// <param name="wanted">Its value in the student.</param>
    public static TrainingException TeacherOfOtherNetwork(string file, string teacher, string what, object found, object wanted) =>
        new("teacher_of_other_network", string.Create(CultureInfo.InvariantCulture, $"{file}: the teacher {teacher} has {found} {what}, and the student {wanted}: a student has the network of its teacher"), null,
            ("file", file), ("teacher", teacher), ("what", what), ("found", found), ("wanted", wanted));
}
