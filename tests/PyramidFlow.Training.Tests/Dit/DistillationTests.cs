using PyramidFlow.Cli.Tests;
using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Scheduling;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Objectives;
using PyramidFlow.Training.Tests.Data;

namespace PyramidFlow.Training.Tests.Dit;

/// <summary>Students that learn guidance and few steps from a teacher.</summary>
public sealed class DistillationTests(TinyModel model) : IClassFixture<TinyModel>, IDisposable
{
    private const string Rounds = "\"distill\": { \"rounds\": [2, 1] }", Weights = "diffusion_transformer/diffusion_pytorch_model.safetensors";

    private readonly OwnDataRuns runs = new();

    private MediaFolder Media => runs.Media;

    public void Dispose() => runs.Dispose();

    [Theory]
    [InlineData(0, 1)]
    [InlineData(1, 2)]
    [InlineData(2, 4)]
    public void A_step_of_the_student_ends_where_two_guided_steps_of_the_teacher_end(int stage, int steps)
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(3);
        using var teacher = Network(5);
        var (scheduler, latents) = (new PyramidFlowScheduler(), Tensor.Randn([3, 4, 2, 8, 8], generator));
        var objective = new FlowObjective(scheduler, new ObjectiveOptions());
        var (text, negative) = (Text(generator, 3), Text(generator, 1));
        var batch = objective.DrawStage(latents, stage, new GeneratorDraws(generator), steps);
        var student = TeacherTargets.Of(teacher, batch, text, new TeacherGuidance(2, 3, negative)).Columns[0];

        // The sampler's own steps of the teacher, from the same sample.
        var points = scheduler.Steps(stage, 2 * steps, FlowSolvers.Uniform);
        for (var row = 0; row < 3; row++)
        {
            var x = student.Noisy.Narrow(0, row, 1);
            var history = student.Clips.SkipLast(1).Select(clip => clip.Narrow(0, row, 1)).ToList();
            var begin = points.Timesteps.Select(timestep => (float)timestep).ToList().IndexOf(student.Timesteps.ToArray<float>()[row]);
            Assert.True(begin >= 0 && begin % 2 == 0, "the student's step begins with one of the teacher");
            var words = new TextCondition(text.Tokens.Narrow(0, row, 1), text.Mask.Stage(row, 3), text.Pooled.Narrow(0, row, 1));
            var guided = new GuidedText(words, new TextCondition(Tensor.Cat([negative.Tokens, words.Tokens], 0), TextMask.OfLengths([2, 2]), Tensor.Cat([negative.Pooled, words.Pooled], 0)));
            using var velocities = new GuidedVelocity(teacher, history, ClipSize.Of(x), guided, [.. points.Timesteps.Skip(begin).Take(2)], 3, Approximations.None, new SamplerOptions());
            using var noGrad = NoGrad.Begin();
            var end = x;
            for (var i = 0; i < 2; i++)
                end = PyramidFlowScheduler.Step(end, velocities.At(end, i), points.Sigmas[begin + i], points.Sigmas[begin + i + 1]);
            var one = PyramidFlowScheduler.Step(x, student.Target.Narrow(0, row, 1), points.Sigmas[begin], points.Sigmas[begin + 2]);
            Assert.InRange((end - one).Abs().Max().Item(), 0, 1e-4);
            Assert.InRange((end - x).Abs().Max().Item(), 1e-2, 100);
        }
    }

    [Fact]
    public void Without_steps_the_target_is_the_guided_velocity_and_the_first_unit_has_a_scale_of_its_own()
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(4);
        using var teacher = Network(5);
        var objective = new FlowObjective(new PyramidFlowScheduler(), new ObjectiveOptions());
        var (text, negative) = (Text(generator, 2), Text(generator, 1));
        foreach (var (frames, scale) in new[] { (1, 2.0), (2, 5.0) })
        {
            var batch = objective.DrawStage(Tensor.Randn([2, 4, frames, 8, 8], generator), 1, new GeneratorDraws(generator));
            var target = TeacherTargets.Of(teacher, batch, text, new TeacherGuidance(2, 5, negative)).Columns[0].Target;
            var (with, without) = (FlowStep.Velocities(teacher, batch, text)[0], FlowStep.Velocities(teacher, batch, new TeacherGuidance(2, 5, negative).TextOf(2))[0]);
            Assert.InRange((without + ((with - without) * scale) - target).Abs().Max().Item(), 0, 1e-5);
            Assert.InRange((with - without).Abs().Max().Item(), 1e-3, 100);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void A_run_that_is_stopped_within_or_between_rounds_ends_in_the_bits_of_a_whole_one(int stopAfter)
    {
        var config = OwnDataRuns.ExtractedConfig(runs.Bare("flux", seed: 5), runs.Extracted(12), $"{Rounds}, \"held_out\": 2, \"checkpoint_every\": 1, \"learning_rate\": 0.01");
        Train(config, "whole");
        Train(config, "parts", new OwnDataRuns.StopAfter(stopAfter));
        Assert.False(File.Exists(Media.File("parts", "state-00000003.safetensors")));
        Train(config, "parts");
        foreach (var file in (string[])[Weights, "state-00000003.safetensors", "best/run.json"])
            Assert.Equal(File.ReadAllBytes(Media.File("whole", file)), File.ReadAllBytes(Media.File("parts", file)));

        // Losses of rounds are not compared: the best weights are of the last one.
        Assert.Equal(3, BestFolder.Find(Path.GetDirectoryName(Media.File("whole", "x"))!, "dit")!.Read()!.Step);

        // The first two steps are of the round of two steps a stage, the third of that of one, whose teacher is the student of the first.
        var settings = PipelineSettings.Read(Media.File("whole", "pipeline.json"), PipelineSettings.Released(ModelFamilies.Flux, ""));
        Assert.Equal(new DistilledSettings(null, null, 1), settings.Distilled);
        Assert.Equal([1, 1, 1], settings.VideoSteps);
        Assert.Equal((7.0, 5.0), (settings.Guidance, settings.VideoGuidance));
        using var state = SafetensorsFile.Open(Media.File("whole", "state-00000003.safetensors"));
        using var start = SafetensorsFile.Open(Media.File("flux5", "diffusion_transformer_384p", "diffusion_pytorch_model.safetensors"));
        using var scope = new TensorScope();
        Assert.Equal([1f], state.Read("buffer.teacher_round").ToArray<float>());
        Assert.NotEqual(start.Read("proj_out.weight").ToArray<float>(), state.Read("buffer.teacher.proj_out.weight").ToArray<float>());
    }

    [Fact]
    public void A_run_goes_on_with_its_own_teacher_and_states_that_name_none_go_on()
    {
        var (student, annotations) = (runs.Bare("flux", seed: 5), runs.Extracted());
        runs.Bare("flux", seed: 6);
        Train(Config("flux5"), "run", new OwnDataRuns.StopAfter(1));
        var path = new RunFolder(Path.GetDirectoryName(Media.File("run", "x"))!).LatestState!;
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => Train(Config("flux6"), "run")), "state_of_other_run", ("file", path));

        // As earlier versions wrote it.
        using (var scope = new TensorScope())
        using (var state = SafetensorsFile.Open(path))
        {
            var metadata = state.Metadata.ToDictionary();
            metadata["run"] = metadata["run"].Split(" teacher ")[0];
            SafetensorsWriter.Write(path, [.. state.Entries.Keys.Select(key => (key, state.Read(key)))], metadata);
        }

        Train(Config("flux5"), "run");
        Assert.True(File.Exists(Media.File("run", "state-00000003.safetensors")));

        string Config(string teacher) => OwnDataRuns.ExtractedConfig(student, annotations, $"\"distill\": {{ \"rounds\": [2, 1], \"teacher\": \"{teacher}\" }}");
    }

    [Fact]
    public void No_round_is_left_out_where_a_run_goes_on_with_fewer_steps()
    {
        var (student, annotations) = (runs.Bare("flux", seed: 5), runs.Extracted());
        Train(Config(30), "run", new OwnDataRuns.StopAfter(2));
        Train(Config(3), "run");
        Assert.Equal(new DistilledSettings(null, null, 2), PipelineSettings.Read(Media.File("run", "pipeline.json"), PipelineSettings.Released(ModelFamilies.Flux, "")).Distilled);

        string Config(int steps) => OwnDataRuns.ExtractedConfig(student, annotations, $"\"distill\": {{ \"rounds\": [4, 2, 1] }}, \"steps\": {steps}");
    }

    [Fact]
    public void Weights_that_learn_from_data_again_are_sampled_as_others_and_a_lora_as_its_model()
    {
        var student = PipelineSettings.Released(ModelFamilies.Flux, "384p") with { Steps = [2, 2, 2], VideoSteps = [1, 1, 1], Guidance = 0, VideoGuidance = 0, Distilled = new DistilledSettings(6, 4, 2) };
        File.WriteAllText(Media.File("c.json"), OwnDataRuns.Config("m", "a"));
        var settings = DitConfig.Load(Media.File("c.json")).SettingsOf(student);
        Assert.Null(settings.Distilled);
        Assert.Equal([20, 20, 20], settings.Steps);
        Assert.Equal([10, 10, 10], settings.VideoSteps);
        Assert.Equal((6.0, 4.0), (settings.Guidance, settings.VideoGuidance));
        File.WriteAllText(Media.File("c.json"), OwnDataRuns.Config("m", "a", "\"lora\": { }"));
        Assert.Equal(student.Distilled, DitConfig.Load(Media.File("c.json")).SettingsOf(student).Distilled);
    }

    [Fact]
    public async Task A_student_of_guidance_trains_on_media_and_on_its_own_clips_and_its_run_needs_no_options()
    {
        var annotations = await runs.SomeMediaAsync();
        Train(OwnDataRuns.Config(model.Folder, annotations, "\"distill\": { \"guidance\": 3, \"rounds\": [1], \"own_clips\": 1 }, \"steps\": 2"), "run");
        var settings = CheckpointFolder.Open(model.Folder).With(Media.File("run"), null).Settings();
        Assert.Equal(new DistilledSettings(3, 3, 1), settings.Distilled);
        using var pipeline = VideoPipeline.Load(model.Folder, new PipelineOptions { Transformer = Media.File("run") });
        using var latents = pipeline.GenerateLatents(new GenerationOptions { Prompt = "a red ball", Frames = 9 }, cancellationToken: TestContext.Current.CancellationToken);
        Assert.True(latents.AllFinite());
        var error = Assert.Throws<RequestException>(() => pipeline.GenerateLatents(new GenerationOptions { Prompt = "a red ball", Guidance = 4 }, cancellationToken: TestContext.Current.CancellationToken));
        FaultAssert.Is(error, "guidance_contained", ("value", 4.0), ("guidance", 3.0));
    }

    [Theory]
    [InlineData("\"rounds\": [4, 3]", "rounds_not_halved", "rounds=[4,3]")]
    [InlineData("\"rounds\": [0]", "config_value_invalid", "key=distill.rounds value=0 least=1")]
    [InlineData("\"guidance\": 1", "config_value_invalid", "key=distill.guidance value=1 limit=1")]
    [InlineData("\"guidance\": 3, \"video_guidance\": -2", "config_value_invalid", "key=distill.video_guidance value=-2")]
    [InlineData("\"rounds\": [2], \"own_clips\": 2", "config_value_invalid", "key=distill.own_clips value=2")]
    [InlineData("\"own_clips\": 1", "nothing_distilled", "")]
    [InlineData("\"rounds\": [2], \"own_clips\": 0.5", "own_clips_unguided", "")]
    [InlineData("\"rounds\": [8, 4, 2, 1]", "config_value_invalid", "key=steps value=3 least=4")]
    [InlineData("\"rounds\": [2], \"teacher\": \"whole\"", "teacher_of_other_network", "teacher=whole found=True wanted=False")]
    [InlineData("\"rounds\": [16]", "student_of_more_steps", "steps=16 teacher_steps=10")]
    [InlineData("\"rounds\": [2], \"teacher\": \"mmdit6\"", "teacher_of_other_family", "teacher=mmdit6 family=pyramid_mmdit student=pyramid_flux")]
    [InlineData("\"rounds\": [2], \"teacher\": \"wide\"", "teacher_of_other_network", "teacher=wide what=blocks found=3 wanted=2")]
    [InlineData("\"rounds\": [2], \"teacher\": \"scaled\"", "teacher_of_other_latents", "teacher=scaled")]
    [InlineData("\"rounds\": [2], \"teacher\": \"student\"", "teacher_distilled", "teacher=student")]
    [InlineData("\"rounds\": [2], \"teacher\": \"nowhere\"", "model_unknown", "key=distill.teacher value=nowhere")]
    public void What_a_student_cannot_learn_is_named(string distill, string code, string parameters)
    {
        var student = runs.Bare("flux", seed: 5);
        runs.Bare("mmdit", seed: 6);
        Directory.Move(runs.Bare("flux", seed: 7, new PyramidFluxConfig(16, 2, 1, 16, 2, 32, 32, [4, 6, 6])), Media.File("wide"));
        foreach (var (seed, name, settings) in new[]
        {
            (8UL, "scaled", "{ \"image_scale\": 2 }"), (9UL, "student", "{ \"distilled\": { \"steps\": 4 } }"),
            (10UL, "whole", "{ \"full_sequence\": true, \"steps\": [10], \"video_steps\": [10] }"),
        })
        {
            Directory.Move(runs.Bare("flux", seed), Media.File(name));
            File.WriteAllText(Media.File(name, "pipeline.json"), settings);
        }

        var error = Assert.Throws<TrainingException>(() => Train(OwnDataRuns.ExtractedConfig(student, runs.Extracted(), $"\"distill\": {{ {distill} }}"), "run"));
        if (code == "rounds_not_halved")
            FaultAssert.Is(error, code, ("rounds", "[4, 3]"));
        else
            FaultAssert.Has(error, code, parameters);
    }

    [Fact]
    public void A_configuration_is_for_the_command_that_it_describes()
    {
        var (student, annotations) = (runs.Bare("flux", seed: 5), runs.Extracted());
        var config = OwnDataRuns.ExtractedConfig(student, annotations, Rounds);
        foreach (OwnDataRuns.Entry other in (OwnDataRuns.Entry[])[DitTraining.Run, DitTraining.RunLora])
            FaultAssert.Is(Assert.Throws<TrainingException>(() => runs.Train(other, config, "run")), "config_of_distillation", ("file", Media.File("run.json")));
        File.WriteAllText(Media.File("run.json"), config);
        AssertRefused(() => Plan(DitKind.Lora), "config_of_distillation");
        using (var probe = new TrainingProbe(null))
            AssertRefused(() => DitTraining.Probe(Media.File("run.json"), DitKind.Lora, probe, null, CancellationToken.None), "config_of_distillation");
        File.WriteAllText(Media.File("run.json"), config.Replace("[2, 1]", "[16]", StringComparison.Ordinal));
        AssertRefused(() => Plan(DitKind.Distill), "student_of_more_steps");
        File.WriteAllText(Media.File("run.json"), config.Replace("\"rounds\"", "\"teacher\": \"nowhere\", \"rounds\"", StringComparison.Ordinal));
        AssertRefused(() => Plan(DitKind.Distill), "model_unknown");
        foreach (var (addition, code) in new[] { ("\"seed\": 1", "distill_missing"), ($"{Rounds}, \"lora\": {{ }}", "distill_of_lora"), ($"{Rounds}, \"from_scratch\": true", "distill_from_scratch") })
            FaultAssert.Is(Assert.Throws<TrainingException>(() => Train(OwnDataRuns.ExtractedConfig(student, annotations, addition), "run")), code, ("file", Media.File("run.json")));
        var whole = OwnDataRuns.ExtractedConfig(student, annotations, "\"distill\": { \"rounds\": [2], \"own_clips\": 0.5 }, \"objective\": \"full_sequence\"");
        FaultAssert.Is(Assert.Throws<TrainingException>(() => Train(whole, "run")), "own_clips_of_full_sequence", ("file", Media.File("run.json")));

        void Plan(DitKind kind) => DitTraining.Plan(Media.File("run.json"), kind, 1, null, CancellationToken.None);

        void AssertRefused(Action action, string code) => FaultAssert.Is(Assert.Throws<TrainingException>(action), code, ("file", Media.File("run.json")));
    }

    [Fact]
    public void A_student_that_contains_guidance_never_drops_its_prompt_unless_it_is_told_to()
    {
        File.WriteAllText(Media.File("c.json"), OwnDataRuns.Config("m", "a", "\"distill\": { \"guidance\": 3 }"));
        Assert.Equal(0, DitConfig.Load(Media.File("c.json")).TextDrop);
        File.WriteAllText(Media.File("c.json"), OwnDataRuns.Config("m", "a", Rounds));
        Assert.Equal(0.1, DitConfig.Load(Media.File("c.json")).TextDrop);
        File.WriteAllText(Media.File("c.json"), OwnDataRuns.Config("m", "a", "\"distill\": { \"guidance\": 3 }, \"text_drop\": 0.2"));
        Assert.Equal(0.2, DitConfig.Load(Media.File("c.json")).TextDrop);
    }

    private IReadOnlyList<string> Train(string config, string name, OwnDataRuns.StopAfter? stop = null) => runs.Train(DitTraining.RunDistill, config, name, stop);

    private PyramidTransformer Network(ulong seed)
    {
        var network = OwnDataRuns.Transformer("flux");
        RandomBase.Write(Media.File("teacher.safetensors"), network, seed);
        var teacher = network.Build();
        using var weights = SafetensorsFile.Open(Media.File("teacher.safetensors"));
        teacher.Load(weights);
        return teacher;
    }

    private static TextCondition Text(RandomGenerator generator, int rows) =>
        new(Tensor.Randn([rows, 2, 32], generator), TextMask.OfLengths([.. Enumerable.Repeat(2, rows)]), Tensor.Randn([rows, 32], generator));
}
