using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Dit;

/// <summary>
/// The teacher's side of a distillation, round by round. The teacher of the first round is a model of its own; that of a later round is the student as the round before left it, without guidance,
/// since the student contains it by then. Teacher and round are buffers of the training, so that a resumed run has the same targets.
/// </summary>
internal sealed class Distiller : IDisposable
{
    private readonly DistillConfig config;
    private readonly int steps;
    private readonly TrainedTransformer student;
    private readonly PipelineSettings settings;
    private readonly PyramidTransformer teacher;
    private readonly TeacherGuidance? guidance;
    private readonly Tensor round;
    private readonly PyramidFlowScheduler scheduler;
    private readonly string digest;

    private long begun = -1;

    /// <summary>Loads the teacher of the first round.</summary>
    /// <param name="config">What the student learns.</param>
    /// <param name="steps">Steps of the training.</param>
    /// <param name="origin">The teacher.</param>
    /// <param name="student">The student.</param>
    /// <param name="scheduler">Stage windows and tables.</param>
    /// <param name="negative">Encodes the negative prompt of the teacher's settings as one row, on the device of the student; called where guidance is learned.</param>
    /// <exception cref="CheckpointException">The teacher's weights or a LoRA cannot be used.</exception>
    internal Distiller(DistillConfig config, int steps, Teacher origin, TrainedTransformer student, PyramidFlowScheduler scheduler, Func<string, TextCondition> negative)
    {
        (this.config, this.steps, this.student, this.scheduler, settings) = (config, steps, student, scheduler, origin.Settings);
        using var noGrad = NoGrad.Begin();
        using (var weights = origin.Open())
            teacher = student.Copy(weights);
        foreach (var lora in origin.Loras)
            LoraFile.Merge(teacher, lora);
        digest = origin.Digest();
        using var scope = new TensorScope();
        round = TensorScope.Release(Tensor.Zeros([1]));
        if (config.Scales is not (var first, var later))
            return;
        var text = negative(settings.NegativePrompt);
        guidance = new TeacherGuidance(first, later, new TextCondition(TensorScope.Release(text.Tokens.Clone()), text.Mask, TensorScope.Release(text.Pooled.Clone())));
    }

    /// <summary>Identifies what is learned, and from whom.</summary>
    internal string Identity => $"{EarlierIdentity} teacher {digest}";

    /// <summary>The same in states of earlier versions, which do not name the teacher.</summary>
    internal string EarlierIdentity => $"{config.Identity(0)} rounds {string.Join('-', config.Rounds)}";

    /// <summary>Identifies the losses of the round at work.</summary>
    internal string LossIdentity => config.Identity(Round);

    /// <summary>Tensors that a state holds.</summary>
    internal IReadOnlyList<(string Key, Tensor Tensor)> Buffers => config.RoundCount == 1 ? []
        : [("teacher_round", round), .. teacher.NamedParameters().Where(weight => weight.Parameter.Trainable).Select(weight => ($"teacher.{weight.Key}", weight.Parameter.Value))];

    /// <summary>Steps of a stage of the round at work; null is any number.</summary>
    internal int? Steps => config.StepsOf(Round);

    /// <summary>Passes of the teacher for one of the student.</summary>
    internal int TeacherPasses => config.TeacherPasses(Round);

    /// <summary>Settings of pipelines that use the student as it is now.</summary>
    internal PipelineSettings Settings => config.Settings(settings, Round);

    private int Round => (int)round.Item();

    private TeacherGuidance? Guidance => Round == 0 ? guidance : null;

    /// <summary>Begins the round of a step; all processes call it. The student, averaged, becomes the teacher.</summary>
    /// <param name="step">The step that is taken next.</param>
    internal void Begin(long step)
    {
        // Micro-batches of a step are of one round, and none is left out where the number of steps was changed: the student of a round is the teacher of the next.
        if (step == begun)
            return;
        begun = step;
        var next = Math.Min(Round + 1, config.RoundAt(step, steps));
        if (next <= Round)
            return;
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        student.Part.WithAverageEverywhere(() =>
        {
            foreach (var ((_, target), (_, source)) in Trainable(teacher).Zip(Trainable(student.Workers.Model)))
                target.Value.CopyFrom(source.Value);
            return true;
        });
        round.Fill(next);

        static IEnumerable<(string Key, Parameter Parameter)> Trainable(PyramidTransformer model) => model.NamedParameters().Where(weight => weight.Parameter.Trainable);
    }

    /// <summary>Whether the student makes the clips of a batch itself.</summary>
    /// <param name="drawn">A number drawn from 0 to below 1.</param>
    internal bool IsOwn(double drawn) => drawn < config.OwnClips;

    /// <summary>Clips that the student makes with its weights of now, as its pipelines would; the caller disposes them.</summary>
    /// <param name="model">The student, of one worker.</param>
    /// <param name="size">Their latents, of one clip.</param>
    /// <param name="text">Their prompts.</param>
    /// <param name="framesPerUnit">Latent frames of a unit.</param>
    /// <param name="seed">Seed of their noise.</param>
    internal StudentClips Clips(PyramidTransformer model, ClipBatchSize size, TextCondition text, int framesPerUnit, ulong seed)
    {
        var units = 1 + (int)((size.Frames - 1) / framesPerUnit);
        var plan = new SamplingPlan((int)size.Height, (int)size.Width, framesPerUnit, Settings.Steps, Settings.VideoSteps, [.. Enumerable.Repeat((double?)null, units)])
        {
            Approximations = Approximations.Of(null, null, Steps is null ? null : FlowSolvers.Uniform),
        };
        return new StudentClips(model, scheduler, plan, text, seed);
    }

    /// <summary>A batch with the teacher's targets, in the caller's scope.</summary>
    /// <param name="batch">Inputs, drawn for <see cref="Steps"/>.</param>
    /// <param name="text">Their prompts.</param>
    internal FlowBatch Teach(FlowBatch batch, TextCondition text) => TeacherTargets.Of(teacher, batch, text, Guidance);

    /// <inheritdoc/>
    public void Dispose()
    {
        teacher.Dispose();
        round.Dispose();
        guidance?.Negative.Tokens.Dispose();
        guidance?.Negative.Pooled.Dispose();
    }
}
