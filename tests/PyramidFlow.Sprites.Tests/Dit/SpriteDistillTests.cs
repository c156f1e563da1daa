using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Tests;
using PyramidFlow.Training.Tests.Dit;
using PyramidFlow.Testing;

namespace PyramidFlow.Sprites.Tests.Dit;

public sealed class SpriteDistillTests : IDisposable
{
    private const string Base = "base.safetensors";

    private static readonly SpriteDitConfig Config = new()
    {
        Transformer = SpriteRuns.Transformer, Distill = new DistillConfig { Guidance = 3, Rounds = [2, 1], OwnClips = 0.5 },
        Clips = 3, LatentFrames = 3, Steps = 4, Batch = [2, 2, 2], Workers = 2, WarmUpSteps = 1, CheckpointEvery = 2, HeldOut = 2,
    };

    private readonly SpriteRuns runs = new();
    private readonly int threads = TorchRuntime.Threads;

    public SpriteDistillTests()
    {
        TorchRuntime.Threads = 1;
        RandomBase.Write(runs.File(Base), Config.Transformer, seed: 5);
    }

    public void Dispose()
    {
        TorchRuntime.Threads = threads;
        runs.Dispose();
    }

    [Fact]
    public void A_run_that_is_stopped_between_rounds_ends_in_the_bits_of_a_whole_one_and_says_what_it_made()
    {
        using var data = runs.Latents(Config);
        using var heldOut = runs.HeldOut(Config);
        var teacher = new Teacher(SpriteTraining.Settings, () => SafetensorsFile.Open(runs.File(Base)));
        runs.Train(Config, data, "whole", Base, heldOut: heldOut, teacher: teacher);

        // The negative prompt, 16 held-out rows, then six captions a step: this is within the second step, the last of the first round.
        using var stop = new CancellationTokenSource();
        var encodings = 0;
        runs.Train(Config, data, "parts", Base, () => StopAt(Interlocked.Increment(ref encodings)), stop, heldOut, teacher);
        Assert.Equal(new DistilledSettings(3, 3, 2), Settings("parts").Distilled);
        runs.Train(Config, data, "parts", Base, heldOut: heldOut, teacher: teacher);
        foreach (var file in (string[])["state-00000004.safetensors", "diffusion_transformer/diffusion_pytorch_model.safetensors", "best/run.json"])
            Assert.Equal(File.ReadAllBytes(runs.File("whole", file)), File.ReadAllBytes(runs.File("parts", file)));
        Assert.Equal(new DistilledSettings(3, 3, 1), Settings("whole").Distilled);
        Assert.Equal([1, 1, 1], Settings("whole").Steps);
        Assert.Equal(0, Settings("whole").VideoGuidance);

        void StopAt(int encoding)
        {
            if (encoding == 1 + 16 + 6 + 2)
                stop.Cancel();
        }
    }

    [Fact]
    public void A_student_needs_a_model_and_a_command_of_its_own()
    {
        using var folder = new TemporaryFolder();
        folder.Write("c.json", """{ "start_from": "sprites", "distill": { "rounds": [8] } }""");
        FaultAssert.Is(Assert.Throws<TrainingException>(() => SpriteTraining.RunDit(folder.File("c.json"), folder.File("run"), null, CancellationToken.None)), "config_of_distillation", ("file", folder.File("c.json")));
        FaultAssert.Is(Assert.Throws<TrainingException>(() => SpriteTraining.RunLora(folder.File("c.json"), folder.File("run"), null, CancellationToken.None)), "config_of_distillation", ("file", folder.File("c.json")));
        FaultAssert.Is(Assert.Throws<TrainingException>(() => SpriteTraining.RunDistill(folder.File("c.json"), folder.File("run"), null, CancellationToken.None)), "student_of_more_steps", ("steps", 8), ("teacher_steps", 6));
        folder.Write("c.json", """{ "start_from": "sprites" }""");
        FaultAssert.Is(Assert.Throws<TrainingException>(() => SpriteTraining.RunDistill(folder.File("c.json"), folder.File("run"), null, CancellationToken.None)), "distill_missing", ("file", folder.File("c.json")));
        folder.Write("c.json", """{ "start_from": "sprites", "new_weights": true, "distill": { "rounds": [4] } }""");
        FaultAssert.Is(Assert.Throws<TrainingException>(() => SpriteTraining.RunDistill(folder.File("c.json"), folder.File("run"), null, CancellationToken.None)), "distill_without_model", ("file", folder.File("c.json")));
        var committed = CommittedConfig.Path("sprites-distill.json");
        Assert.Equal([2], SpriteDitConfig.Load(committed).Distill!.Rounds);
        FaultAssert.Is(Assert.Throws<TrainingException>(() => SpriteTraining.PlanDit(committed, DitKind.Lora, 1)), "config_of_distillation", ("file", committed));
    }

    [Fact]
    public void A_plan_counts_the_teacher()
    {
        var committed = CommittedConfig.Path("sprites-distill.json");
        var plan = SpriteTraining.PlanDit(new TrainingConfigSource(committed, [ConfigSetting.Parse("distill={\"guidance\":3,\"rounds\":[4,2]}")]), DitKind.Distill, 1).Plan;
        var plain = SpriteTraining.PlanDit(new TrainingConfigSource(committed, [ConfigSetting.Parse("distill=null")]), DitKind.Whole, 1).Plan;

        // Three passes of the student, and of the teacher four in the first round and two in the second.
        Assert.Equal(2, plan.Products / plain.Products, 9);
        Assert.Equal(plain.StateBytes + (plan.Weights * sizeof(float)), plan.StateBytes);
        var teacher = Assert.Single(plan.Phases.Single(phase => phase.Name == "a step").Parts, part => part.Name.StartsWith("teacher", StringComparison.Ordinal));
        Assert.InRange(teacher.Bytes, plan.Weights * sizeof(float), 2 * plan.Weights * sizeof(float));
    }

    private PipelineSettings Settings(string run) => PipelineSettings.Read(runs.File(run, "pipeline.json"), SpriteTraining.Settings);
}
