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

    /// <summary>The inputs of a step with the teacher's targets, in the caller's scope.</summary>
    /// <param name="model">The student, of one worker.</param>
    /// <param name="latents">Normalised latents of the data, [b, c, t, h, w].</param>
    /// <param name="text">Prompts of b rows.</param>
    /// <param name="framesPerUnit">Latent frames of a unit.</param>
    /// <param name="own">A number drawn from 0 to 1, which decides whether the student makes the clips itself.</param>
    /// <param name="seed">Seed of the noise of such clips.</param>
    /// <param name="draw">Draws the inputs from latents, for a number of steps of a stage.</param>
    internal FlowBatch Inputs(PyramidTransformer model, Tensor latents, TextCondition text, int framesPerUnit, double own, ulong seed, Func<Tensor, int?, FlowBatch> draw) =>
        Teach(draw(latents.Size(2) > 1 && own < config.OwnHistory ? OwnClips(model, latents, text, framesPerUnit, seed) : latents, Steps), text);

    /// <summary>A batch with the teacher's targets, in the caller's scope.</summary>
    /// <param name="batch">Inputs, drawn for <see cref="Steps"/>.</param>
    /// <param name="text">Their prompts.</param>
    internal FlowBatch Teach(FlowBatch batch, TextCondition text) => TeacherTargets.Of(teacher, batch, text, Guidance);

    // Clips that the student makes with its weights of now, in one row, in place of those of the data: latents of the same shape, in the caller's scope.
    private Tensor OwnClips(PyramidTransformer model, Tensor latents, TextCondition text, int framesPerUnit, ulong seed)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var noise = new SeededNoise(seed);
        var (frames, units) = (latents.Size(2), 1 + (int)((latents.Size(2) - 1) / framesPerUnit));
        var student = Settings;
        var plan = new SamplingPlan((int)latents.Size(3), (int)latents.Size(4), framesPerUnit, student.Steps, student.VideoSteps, [.. Enumerable.Repeat((double?)null, units)])
        {
            Approximations = Approximations.Of(null, null, Steps is null ? null : FlowSolvers.Uniform),
        };
        var made = new List<Tensor>();
        try
        {
            foreach (var unit in new PyramidSampler(model, scheduler, new SamplerOptions { UsePrefix = false, HistoryBytes = 0 }).Clip(plan, new GuidedText(text, null), noise))
                made.Add(unit);
            return scope.Keep(Tensor.Cat([.. made], 2).Narrow(2, 0, frames).To(latents.Type).Contiguous());
        }
        finally
        {
            foreach (var unit in made)
                unit.Dispose();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        teacher.Dispose();
        round.Dispose();
        guidance?.Negative.Tokens.Dispose();
        guidance?.Negative.Pooled.Dispose();
    }
}
