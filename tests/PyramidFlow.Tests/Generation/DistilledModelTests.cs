using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Scheduling;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Generation;

/// <summary>Requests to models that were distilled: few steps, one row.</summary>
public sealed class DistilledModelTests
{
    private static readonly PipelineSettings Student = PipelineSettings.Released(ModelFamilies.Flux, "384p") with
    {
        Steps = [2, 2, 2],
        VideoSteps = [2, 2, 2],
        Guidance = 0,
        VideoGuidance = 0,
        Distilled = new DistilledSettings(7, 5, 2),
    };

    private static readonly GenerationOptions Request = new() { Prompt = "a cat", Frames = 17 };

    [Fact]
    public void Steps_solver_and_the_one_row_are_those_of_the_model()
    {
        var settings = Request.Resolve(Student);
        Assert.Equal([2, 2, 2], settings.Sampling.StepsOf(1));
        Assert.Equal([null, null, null], settings.Sampling.Guidance);
        Assert.Same(FlowSolvers.Uniform, settings.Sampling.Approximations.Solver);
        Assert.False(settings.IsGuided);
        Assert.DoesNotContain(settings.Warnings, warning => warning.Contains("distilled", StringComparison.Ordinal));
        Assert.Equal(6, Enumerable.Range(0, 3).Sum(stage => settings.Sampling.EvaluationsOf(0, stage)));

        // A model that contains guidance for any number of steps has the solver of others.
        Assert.Same(FlowSolvers.Euler, Request.Resolve(Student with { Distilled = new DistilledSettings(7, 5) }).Sampling.Approximations.Solver);
    }

    // A file that leaves the solver out is made again with that of the model.
    [Fact]
    public void A_solver_is_noted_where_it_is_not_the_models_own()
    {
        Assert.Same(FlowSolvers.Euler, (Request with { Solver = FlowSolvers.Euler }).Resolve(Student).Options.Solver);
        Assert.Null((Request with { Solver = FlowSolvers.Uniform }).Resolve(Student).Options.Solver);
        var plain = Student with { Distilled = null };
        Assert.Null((Request with { Solver = FlowSolvers.Euler }).Resolve(plain).Options.Solver);
        Assert.Same(FlowSolvers.Uniform, (Request with { Solver = FlowSolvers.Uniform }).Resolve(plain).Options.Solver);
        Assert.Same(FlowSolvers.Euler, (Request with { Solver = FlowSolvers.Euler }).Resolve(Student).Sampling.Approximations.Solver);
    }

    [Fact]
    public void Guidance_that_the_weights_contain_is_refused_and_0_and_1_are_none()
    {
        foreach (var (request, setting, value) in new (GenerationOptions, string, object)[]
        {
            (Request with { Guidance = 4 }, "guidance", 4.0), (Request with { VideoGuidance = 0.5 }, "video_guidance", 0.5), (Request with { LinearGuidance = new(0.5, 2) }, "linear_guidance", new LinearGuidance(0.5, 2)),
        })
        {
            var error = Assert.Throws<RequestException>(() => request.Resolve(Student));
            FaultAssert.Is(error, "guidance_contained", ("value", value), ("guidance", 7.0), ("video_guidance", 5.0));
            Assert.Equal(setting, error.Setting);
        }

        Assert.False((Request with { Guidance = 0, VideoGuidance = 1 }).Resolve(Student).IsGuided);

        // A student of steps alone is guided as its teacher.
        Assert.Equal(4, (Request with { Guidance = 4 }).Resolve(Student with { Distilled = new DistilledSettings(Steps: 2) }).Sampling.Guidance[0]);
    }

    [Fact]
    public void A_scale_of_1_is_one_row_of_any_model_and_its_negative_prompt_is_not_encoded()
    {
        var settings = (Request with { Guidance = 1, VideoGuidance = 1 }).Resolve(PipelineSettings.Released(ModelFamilies.Flux, "384p"));
        Assert.False(settings.IsGuided);
        using var encoder = new Listener();
        foreach (var clip in new[] { settings, Request.Resolve(Student) })
        {
            using var prompts = new EncodedPrompts(encoder, null, _ => { });
            Assert.All(prompts.Of(clip, TestContext.Current.CancellationToken), text => Assert.Null(text.Guided));
        }

        Assert.Equal([settings.Prompt, settings.Prompt], encoder.Texts);
        using var guided = new EncodedPrompts(encoder, null, _ => { });
        guided.Of((Request with { Guidance = 1.5 }).Resolve(PipelineSettings.Released(ModelFamilies.Flux, "384p")), TestContext.Current.CancellationToken);
        Assert.Equal(settings.NegativePrompt, encoder.Texts[^1]);
    }

    [Theory]
    [InlineData(4, null)]
    [InlineData(null, "euler")]
    public void Other_steps_and_solvers_than_it_was_trained_for_are_made_with_a_warning(int? steps, string? solver)
    {
        var settings = (Request with { Steps = steps is { } count ? [count] : null, Solver = solver is null ? null : FlowSolvers.Get(solver) }).Resolve(Student);
        Assert.Contains(settings.Warnings, warning => warning.Contains("distilled to 2 steps", StringComparison.Ordinal));
    }

    [Fact]
    public void What_a_model_was_distilled_to_is_in_its_file()
    {
        using var folder = new TemporaryFolder();
        Student.Write(folder.File("pipeline.json"));
        Assert.Equal(Student.Distilled, PipelineSettings.Read(folder.File("pipeline.json"), PipelineSettings.Released(ModelFamilies.Flux, "384p")).Distilled);
        foreach (var (json, key) in new[]
        {
            ("""{ "distilled": { "guidance": -1 } }""", "distilled.guidance"), ("""{ "distilled": { "steps": 0 } }""", "distilled.steps"), ("""{ "distilled": { "guidance": 3 }, "guidance": 0 }""", "video_guidance"),
        })
        {
            folder.Write("bad.json", json);
            FaultAssert.Is(Assert.Throws<CheckpointException>(() => PipelineSettings.Read(folder.File("bad.json"), PipelineSettings.Released(ModelFamilies.Flux, "384p"))), "config_value_invalid", ("key", key));
        }
    }

    [Fact]
    public void Equal_steps_end_at_the_data_and_one_step_crosses_the_stage()
    {
        using var scope = new TensorScope();
        var steps = new PyramidFlowScheduler().Steps(1, 2, FlowSolvers.Uniform);
        Assert.Equal([1, 0.5, 0], steps.Sigmas);
        Assert.Equal(2, steps.Count);
        using var integrator = FlowSolvers.Uniform.Begin(new PyramidFlowScheduler().Steps(1, 1, FlowSolvers.Uniform));
        Assert.Equal([2f], integrator.Step(Tensor.From([5f]), Tensor.From([3f]), 0).ToArray<float>());
    }

    // Notes what is encoded.
    private sealed class Listener : PromptEncoder
    {
        public List<string> Texts { get; } = [];

        public override long TokenWidth => 2;

        public override long PooledWidth => 2;

        public override IReadOnlyList<Module> Models => [];

        public override PromptFeatures Encode(IReadOnlyList<string> prompts)
        {
            Texts.AddRange(prompts);
            return new PromptFeatures(Tensor.Zeros([prompts.Count, 1, 2]), [.. prompts.Select(_ => 1)], Tensor.Zeros([prompts.Count, 2]), []);
        }
    }
}
