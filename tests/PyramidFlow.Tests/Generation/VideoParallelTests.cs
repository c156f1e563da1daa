using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Scheduling;
using PyramidFlow.Testing;
using PyramidFlow.Tests.Models.Transformers;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Tests.Generation;

/// <summary>Each process is a thread with a pipeline of its own here; what they say to each other goes through Gloo all the same.</summary>
public sealed class VideoParallelTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    public static TheoryData<string, string> Clips
    {
        get
        {
            var data = new TheoryData<string, string>();
            foreach (var kind in Kinds.Keys)
            {
                if (kind != "no guidance")
                    data.Add(kind, "guidance=2");
                data.Add(kind, kind == "no guidance" ? "timesteps=2" : "guidance=2,timesteps=2");
                data.Add(kind, "heads=2");
            }

            data.Add("plain", "guidance=2,heads=2");
            data.Add("plain", "decode=1");
            data.Add("window", "guidance=2,decode=1");
            data.Add("given frames", "heads=2,decode=1");
            data.Add("two clips", "timesteps=2,decode=1");
            data.Add("plain", "timesteps=2,heads=2");
            data.Add("approximations", "guidance=2,timesteps=2,heads=2");

            foreach (var ways in new[] { "timesteps=2", "timesteps=3", "timesteps=5" })
                data.Add("plain", ways);
            return data;
        }
    }

    // Ways to make a clip, each with many units after the first.
    private static Dictionary<string, Func<GenerationOptions, GenerationOptions>> Kinds => new()
    {
        ["plain"] = request => request,
        ["no guidance"] = request => request with { Guidance = 0, VideoGuidance = 0 },
        ["guidance of the first unit only"] = request => request with { VideoGuidance = 0 },
        ["prompt schedule"] = request => request with { Schedule = [new PromptChange(1, "a dog runs")] },
        ["window"] = request => request with { HistoryWindow = 3 },
        ["two clips"] = request => request with { Count = 2 },
        ["given frames"] = request => request with { Video = TinyPipeline.Video(17), Frames = 40 },
        ["units of two"] = request => request with { FramesPerUnit = 2, Frames = 65 },
        ["approximations"] = request => request with { ReusePrefix = 2, GuidanceEvery = 2, VideoSteps = [5, 3, 4] },
        ["a solver that remembers"] = request => request with { Solver = FlowSolvers.Get("second-order"), VideoSteps = [4, 3, 3] },
        ["two evaluations a step"] = request => request with { Solver = FlowSolvers.Get("heun") },
    };

    [Theory]
    [MemberData(nameof(Clips))]
    public async Task A_clip_of_several_processes_is_that_of_one(string kind, string ways)
    {
        using var tiny = new TinyPipeline();
        var request = Kinds[kind](TinyPipeline.Request with { Frames = 41, VideoSteps = [3, 2, 2] });
        var one = Floats(tiny.Pipeline.GenerateLatents(request, cancellationToken: Cancel));
        var all = await TogetherAsync(ParallelWays.Parse(ways).Processes, (group, _) =>
        {
            using var pipeline = tiny.Load(new PipelineOptions { Threads = 1, Parallel = new VideoParallel(group) { Ways = ParallelWays.Parse(ways) } });
            return Floats(pipeline.GenerateLatents(request, cancellationToken: Cancel));
        });
        AssertClose(one, all[0], kind);
        Assert.All(all, latents => Assert.Equal(all[0], latents));
    }

    [Theory]
    [InlineData("guidance=2")]
    [InlineData("guidance=2,timesteps=2")]
    [InlineData("heads=2")]
    [InlineData("guidance=2,heads=2")]
    public async Task The_second_family_is_divided_alike(string ways)
    {
        using var models = new TemporaryFolder();
        TinyCheckpoint.Write(models, ModelFamilies.Sd3);
        var request = TinyPipeline.Request with { Frames = 33 };
        using var alone = VideoPipeline.Load(models.Path, new PipelineOptions { Threads = 1 });
        var one = Floats(alone.GenerateLatents(request, cancellationToken: Cancel));
        var all = await TogetherAsync(ParallelWays.Parse(ways).Processes, (group, _) =>
        {
            using var pipeline = VideoPipeline.Load(models.Path, new PipelineOptions { Threads = 1, Parallel = new VideoParallel(group) { Ways = ParallelWays.Parse(ways) } });
            return Floats(pipeline.GenerateLatents(request, cancellationToken: Cancel));
        });
        AssertClose(one, all[0], ways);
    }

    [Fact]
    public async Task Rank_zero_gives_the_frames_and_its_seed_counts()
    {
        using var tiny = new TinyPipeline();
        var expected = await tiny.Chunks(TinyPipeline.Request with { Frames = 17 });
        var all = await TogetherAsync(2, (group, rank) =>
        {
            using var pipeline = tiny.Load(new PipelineOptions { Parallel = new VideoParallel(group) });
            return TinyPipeline.Collect(pipeline.GenerateAsync(TinyPipeline.Request with { Frames = 17, Seed = 7 + (ulong)rank }, cancellationToken: Cancel)).GetAwaiter().GetResult();
        });
        Assert.Empty(all[1]);
        Assert.Equal(expected.Select(chunk => (chunk.FirstFrame, chunk.Count)), all[0].Select(chunk => (chunk.FirstFrame, chunk.Count)));
        TinyPipeline.AssertSame(TinyPipeline.Bytes(expected), TinyPipeline.Bytes(all[0]));
    }

    [Theory]
    [InlineData("decode=2", null, false)]
    [InlineData("guidance=2,decode=all", null, false)]
    [InlineData("guidance=2,decode=all", null, true)]
    [InlineData("guidance=2,decode=2", null, true)]
    [InlineData("timesteps=3,decode=all", 32, true)]
    [InlineData("decode=3", 32, false)]
    public async Task Processes_that_decode_together_give_the_frames_of_one_and_send_what_is_planned(string text, int? tile, bool hasWindow)
    {
        var ways = ParallelWays.Parse(text);
        using var tiny = new TinyPipeline();
        var tiles = tile is { } side ? new TileOptions(side) : null;
        var request = TinyPipeline.Request with { Frames = 33, HistoryWindow = hasWindow ? 3 : null, FramesPerUnit = hasWindow ? 1 : 2 };
        using var alone = tiny.Load(new PipelineOptions { Threads = 1, Tiles = tiles });
        var expected = await TinyPipeline.Collect(alone.GenerateAsync(request, cancellationToken: Cancel));
        var plan = alone.Plan(request);
        var all = await TogetherAsync(ways.Processes, (group, _) =>
        {
            var options = new PipelineOptions { Threads = 1, Tiles = tiles, Parallel = new VideoParallel(group) { Ways = ways } };
            using var pipeline = tiny.Load(options);
            var before = group.BytesSent;
            pipeline.GenerateLatents(request, cancellationToken: Cancel).Dispose();
            var sampling = hasWindow ? 0 : group.BytesSent - before;
            before = group.BytesSent;
            var chunks = TinyPipeline.Collect(pipeline.GenerateAsync(request, cancellationToken: Cancel)).GetAwaiter().GetResult();
            return (Chunks: chunks, Decoding: group.BytesSent - before - sampling);
        });
        Assert.Equal(expected.Select(chunk => (chunk.FirstFrame, chunk.Count)), all[0].Chunks.Select(chunk => (chunk.FirstFrame, chunk.Count)));
        TinyPipeline.AssertSame(TinyPipeline.Bytes(expected), TinyPipeline.Bytes(all[0].Chunks));
        if (tile is not null && ways.Samplers == 1)
            Assert.Equal(TinyPipeline.Bytes(expected), TinyPipeline.Bytes(all[0].Chunks));
        Assert.All(all.Skip(1), each => Assert.Empty(each.Chunks));
        for (var rank = 0; rank < ways.Processes && !hasWindow; rank++)
        {
            var planned = ParallelPlan.DecodingBytesSent(plan.Clip, tiny.Pipeline.Model!, ElementType.Float32, ways, new PipelineOptions { Tiles = tiles }, rank);
            Assert.InRange(all[rank].Decoding, 0.95 * planned, (1.05 * planned) + 64);
        }
    }

    [Theory]
    [InlineData("guidance=2,decode=1")]
    [InlineData("timesteps=2,heads=2")]
    [InlineData("decode=3")]
    public async Task Changes_that_are_known_before_the_run_hold_in_all_processes(string text)
    {
        using var tiny = new TinyPipeline();
        var (ways, changes) = (ParallelWays.Parse(text), new KnownChanges([new ClipChange(2, "a fish"), new ClipChange(4, null)]));
        var planned = await tiny.Frames(TinyPipeline.Request with { Frames = 41 });
        var expected = Make(tiny.Pipeline);
        var all = await TogetherAsync(ways.Processes, (group, _) =>
        {
            using var pipeline = tiny.Load(new PipelineOptions { Threads = 1, Parallel = new VideoParallel(group) { Ways = ways } });
            return Make(pipeline);
        });
        Assert.Equal(25 * TinyPipeline.FrameBytes, expected.Length);
        Assert.NotEqual(planned[..expected.Length], expected);
        TinyPipeline.AssertSame(expected, all[0]);

        byte[] Make(VideoPipeline pipeline) => TinyPipeline.Bytes(TinyPipeline.Collect(
            pipeline.GenerateAsync(pipeline.Plan(TinyPipeline.Request with { Frames = 41 }) with { Director = changes }, cancellationToken: Cancel)).GetAwaiter().GetResult());
    }

    [Fact]
    public void Half_of_the_timesteps_keeps_half_of_the_history()
    {
        using var tiny = new TinyPipeline();
        var request = TinyPipeline.Request with { Frames = 41, VideoSteps = [4, 4, 4] };
        var plan = tiny.Pipeline.Plan(request);
        var (config, sampling) = (tiny.Pipeline.Model!.Transformer, plan.Clip.Sampling);
        long Bytes(ParallelWays? ways) => HistoryPlan.Bytes(sampling, config, ElementType.Float32, new SamplerOptions { HistoryBytes = long.MaxValue, Ways = ways });
        Assert.Equal(Bytes(null), 2 * Bytes(new ParallelWays(1, 2)));
        Assert.Equal(Bytes(null), 2 * Bytes(new ParallelWays(2, 1)));
        Assert.Equal(Bytes(null), 8 * Bytes(new ParallelWays(2, 4)));
        Assert.Equal(Bytes(null), 4 * Bytes(new ParallelWays(1, 2, 2)));
    }

    [Theory]
    [InlineData("guidance=2")]
    [InlineData("timesteps=3")]
    [InlineData("guidance=2,timesteps=2")]
    [InlineData("heads=2")]
    [InlineData("guidance=2,timesteps=2,heads=2")]
    [InlineData("timesteps=2,decode=1")]
    [InlineData("decode=3")]
    public async Task The_bytes_that_move_are_those_of_the_plan(string text)
    {
        using var tiny = new TinyPipeline();
        var ways = ParallelWays.Parse(text);
        // Both texts have as many tokens as are planned.
        var prompt = string.Join(' ', Enumerable.Repeat("a cat sitting on a table", 40));
        var request = TinyPipeline.Request with { Prompt = prompt, NegativePrompt = prompt, Frames = 41, VideoSteps = [3, 2, 2] };
        var plan = tiny.Pipeline.Plan(request);
        var sent = await TogetherAsync(ways.Processes, (group, _) =>
        {
            using var pipeline = tiny.Load(new PipelineOptions { Threads = 1, Parallel = new VideoParallel(group) { Ways = ways } });
            // The texts are sent before the first unit begins.
            long? before = null;
            pipeline.GenerateLatents(request, new ReportTo(report => before ??= report.Phase == GenerationPhase.Denoising ? group.BytesSent : null), Cancel).Dispose();
            return group.BytesSent - before!.Value;
        });
        for (var rank = 0; rank < ways.Processes; rank++)
        {
            var planned = ParallelPlan.BytesSent(plan.Clip, tiny.Pipeline.Model!, ElementType.Float32, new SamplerOptions { HistoryBytes = long.MaxValue, Ways = ways }, rank);
            Assert.InRange(sent[rank], 0.95 * planned, 1.05 * planned);
        }
    }

    [Fact]
    public async Task What_differs_is_named_before_anything_is_sampled()
    {
        using var tiny = new TinyPipeline();
        var faults = await FaultsAsync(tiny, 2, rank => TinyPipeline.Request with { Prompt = rank == 0 ? "a cat" : "a dog", Frames = 17 });
        Assert.All(faults, fault => FaultAssert.Is(fault!, "processes_differ", ("rank", 1), ("fact", "the prompt")));
    }

    [Fact]
    public async Task Ways_that_do_not_fit_are_refused()
    {
        using var tiny = new TinyPipeline();
        var size = await FaultsAsync(tiny, 2, _ => TinyPipeline.Request, new ParallelWays(2, 2));
        Assert.All(size, fault => FaultAssert.Is(fault!, "parallel_of_other_size", ("needed", 4), ("processes", 2)));
        var unguided = await FaultsAsync(tiny, 2, _ => TinyPipeline.Request with { Guidance = 0, VideoGuidance = 0 }, new ParallelWays(2, 1));
        Assert.All(unguided, fault => FaultAssert.Is(fault!, "no_guidance_to_divide", ("ways", "guidance=2,timesteps=1,heads=1,decode=0")));
        var heads = await FaultsAsync(tiny, 3, _ => TinyPipeline.Request, new ParallelWays(1, 1, 3));
        Assert.All(heads, fault => FaultAssert.Is(fault!, "too_few_heads", ("heads", 2L)));
    }

    [Fact]
    public async Task A_LoRA_that_cannot_be_added_ends_the_run_of_all_which_then_make_another_one()
    {
        using var tiny = new TinyPipeline();
        var (key, layer) = tiny.Pipeline.Models.Transformer.NamedParameters().First(named => named.Key.EndsWith("to_q.weight", StringComparison.Ordinal));
        var (file, stem) = (folder.File("lora.safetensors"), key[..^".weight".Length]);
        using (new TensorScope())
            SafetensorsWriter.Write(file, [($"{stem}.lora_A.weight", Tensor.Ones([1, layer.Shape[1]])), ($"{stem}.lora_B.weight", Tensor.Ones([layer.Shape[0], 1]))]);
        var request = TinyPipeline.Request with { Frames = 17, Loras = [new LoraUse(file)] };
        var one = Floats(tiny.Pipeline.GenerateLatents(request, cancellationToken: Cancel));
        var all = await TogetherAsync(3, (group, _) =>
        {
            using var pipeline = tiny.Load(new PipelineOptions { Threads = 1, Parallel = new VideoParallel(group) { Ways = ParallelWays.Parse("guidance=2,decode=1") } });
            var fault = Record.Exception(() => pipeline.GenerateLatents(request with { Loras = [new LoraUse(file, 1e300)] }, cancellationToken: Cancel).Dispose());
            return (Fault: fault, Latents: Floats(pipeline.GenerateLatents(request, cancellationToken: Cancel)));
        });
        // Rank zero decodes only, and adds none.
        Assert.Equal(["lora_refused_elsewhere", "lora_too_large", "lora_too_large"], all.Select(each => Assert.IsType<CheckpointException>(each.Fault).Code));
        Assert.All(all, each => Assert.True(Assert.IsType<CheckpointException>(each.Fault).IsOfRequestedLora));
        Assert.All(all, each => Assert.Equal(all[0].Latents, each.Latents));
        AssertClose(one, all[0].Latents, "a LoRA");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task A_process_that_is_gone_ends_the_run_of_the_others(int dying)
    {
        using var tiny = new TinyPipeline();
        var errors = await TogetherAsync<Exception?>(2, (group, rank) =>
        {
            using var pipeline = tiny.Load(new PipelineOptions { Threads = 1, Parallel = new VideoParallel(group) });
            pipeline.GenerateLatents(TinyPipeline.Request, cancellationToken: Cancel).Dispose();
            if (rank == dying)
            {
                group.Dispose();
                return null;
            }

            var error = Record.Exception(() => pipeline.GenerateLatents(TinyPipeline.Request, cancellationToken: Cancel).Dispose());
            var next = Record.Exception(() => pipeline.GenerateLatents(TinyPipeline.Request, cancellationToken: Cancel).Dispose());
            FaultAssert.Is(Assert.IsType<ProcessGroupException>(next), "group_broken", ("rank", rank));
            return error;
        });
        FaultAssert.Is(Assert.IsType<ProcessGroupException>(errors[1 - dying]), "process_gone", ("rank", dying));
    }

    [Fact]
    public async Task A_stage_that_is_made_again_in_a_wider_type_leaves_no_message_behind()
    {
        var plan = new SamplingPlan(Height: 16, Width: 16, FramesPerUnit: 1, [2, 2, 2], [3, 4, 5], [1.0, 1.0, 1.0, 1.0]);
        var one = Widened(plan, null);
        var all = await TogetherAsync(2, (group, _) => Widened(plan, group));
        AssertClose(one, all[0], "a wider type");
        Assert.Equal(all[0], all[1]);
    }

    [Fact]
    public async Task Who_only_takes_units_knows_that_they_are_made_in_a_wider_type() => await TogetherAsync(2, (group, rank) =>
    {
        using var scope = new TensorScope();
        var team = new SamplingTeam(new VideoParallel(group) { Ways = ParallelWays.Parse("decode=1") });
        foreach (var isWidened in new[] { false, true })
        {
            if (rank == 0)
                team.Take(0, [1, 4, 1, 2, 2], ElementType.Float32);
            else
                team.Unite(Tensor.Ones([1, 4, 1, 2, 2]), isWidened);
            Assert.Equal(rank == 0 && isWidened, team.HasTakenWidened);
        }

        team.Complete();
        return true;
    });

    // The first unit is given, so that numbers overflow in a stage after which others have begun.
    private static float[] Widened(SamplingPlan plan, ProcessGroup? group)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(5);
        using var sound = Tiny.Flux(generator);
        using var narrow = Tiny.Flux(new RandomGenerator(5));
        narrow.NamedParameters().Last(p => p.Key.EndsWith("bias", StringComparison.Ordinal)).Parameter.Value.Fill(double.PositiveInfinity);
        var guided = Tiny.Text(generator, [4, 7]);
        var text = new GuidedText(new TextCondition(guided.Tokens.Narrow(0, 1, 1), TextMask.OfLengths([7]), guided.Pooled.Narrow(0, 1, 1)), guided);
        var given = Tensor.Randn([1, sound.Config.LatentChannels, 1, 16, 16], generator);
        var warnings = new List<string>();
        var sampler = new PyramidSampler(narrow, new PyramidFlowScheduler(), null, () => sound, group is null ? null : new VideoParallel(group) { Ways = new ParallelWays(1, 2) });
        group?.Stops.Begin();
        using var noise = new SeededNoise(3);
        var units = sampler.Clip(plan, text, noise, given, warn: warnings.Add, cancellationToken: Cancel).ToList();
        Assert.Single(warnings);
        var values = units.SelectMany(unit => unit.ToArray<float>()).ToArray();
        units.ForEach(unit => unit.Dispose());
        return values;
    }

    // More steps than a test has the patience for, were they not stopped.
    private static GenerationOptions Endless => TinyPipeline.Request with { Frames = 41, Steps = [900, 900, 900], VideoSteps = [900, 900, 900] };

    [Theory]
    [InlineData("guidance=2", 0)]
    [InlineData("guidance=2", 1)]
    [InlineData("heads=2", 1)]
    [InlineData("timesteps=3", 0)]
    [InlineData("timesteps=3", 2)]
    [InlineData("guidance=2,timesteps=2", 3)]
    [InlineData("guidance=2,heads=2", 2)]
    [InlineData("guidance=2,decode=1", 0)]
    [InlineData("timesteps=2,decode=1", 1)]
    [InlineData("guidance=2,decode=2", 1)]
    public async Task A_run_that_one_process_stops_is_left_by_all_which_then_make_another_one(string text, int stopping)
    {
        var ways = ParallelWays.Parse(text);
        using var tiny = new TinyPipeline();
        var request = TinyPipeline.Request with { Frames = 41, VideoSteps = [3, 2, 2] };
        var one = Floats(tiny.Pipeline.GenerateLatents(request, cancellationToken: Cancel));
        var all = await TogetherAsync(ways.Processes, (group, rank) =>
        {
            using var pipeline = tiny.Load(new PipelineOptions { Threads = 1, Parallel = new VideoParallel(group) { Ways = ways } });
            foreach (var unit in new[] { -1, 0, 1 })
            {
                using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
                if (rank == stopping && unit < 0)
                    stop.Cancel();
                // The process that decodes reports a unit when it is sampled.
                var clip = rank < ways.Decode && unit >= 0 ? GenerationPhase.EncodingText : GenerationPhase.Denoising;
                var requested = unit == 1 ? Endless with { Steps = [1, 1, 1] } : Endless;
                var progress = new ReportTo(report =>
                {
                    if (rank == stopping && report.Phase == clip && (report.Unit == unit || clip == GenerationPhase.EncodingText))
                        stop.Cancel();
                });
                var error = Record.Exception(() => pipeline.GenerateLatents(requested, progress, stop.Token).Dispose());
                Assert.IsType<OperationCanceledException>(error, exactMatch: false);
            }

            return Floats(pipeline.GenerateLatents(request, cancellationToken: Cancel));
        });
        AssertClose(one, all[0], text);
        Assert.All(all, latents => Assert.Equal(all[0], latents));
    }

    [Theory]
    [InlineData("guidance=2", 0)]
    [InlineData("timesteps=2", 1)]
    [InlineData("guidance=2,decode=1", 0)]
    [InlineData("guidance=2,decode=2", 0)]
    [InlineData("guidance=2,decode=all", 0)]
    public async Task What_fails_in_one_process_between_steps_stops_all_which_then_make_another_one(string text, int failing)
    {
        var ways = ParallelWays.Parse(text);
        using var tiny = new TinyPipeline();
        var expected = await tiny.Chunks(TinyPipeline.Request with { Frames = 17 });
        var all = await TogetherAsync(ways.Processes, (group, rank) =>
        {
            using var pipeline = tiny.Load(new PipelineOptions { Threads = 1, Parallel = new VideoParallel(group) { Ways = ways } });
            var progress = new ReportTo(report =>
            {
                if (rank == failing && report.Phase == GenerationPhase.Denoising)
                    throw new InvalidDataException("no more");
            });
            var run = pipeline.GenerateAsync(Endless, progress, Cancel);
            var error = Record.Exception(() => TinyPipeline.Collect(run).GetAwaiter().GetResult());
            if (rank == failing)
                Assert.IsType<InvalidDataException>(error);
            else
                Assert.IsType<OperationCanceledException>(error, exactMatch: false);
            return TinyPipeline.Collect(pipeline.GenerateAsync(TinyPipeline.Request with { Frames = 17 }, cancellationToken: Cancel)).GetAwaiter().GetResult();
        });
        TinyPipeline.AssertSame(TinyPipeline.Bytes(expected), TinyPipeline.Bytes(all[0]));
    }

    [Fact]
    public async Task A_reader_that_leaves_stops_all_processes()
    {
        using var tiny = new TinyPipeline();
        var left = await TogetherAsync(2, (group, rank) =>
        {
            using var pipeline = tiny.Load(new PipelineOptions { Threads = 1, Parallel = new VideoParallel(group) });
            var error = Record.ExceptionAsync(async () =>
            {
                await foreach (var chunk in pipeline.GenerateAsync(Endless with { Steps = [1, 1, 1] }, cancellationToken: Cancel))
                    throw new InvalidDataException("no more");
            }).GetAwaiter().GetResult();
            Assert.IsType(rank == 0 ? typeof(InvalidDataException) : typeof(OperationCanceledException), error);
            return TinyPipeline.Collect(pipeline.GenerateAsync(TinyPipeline.Request with { Frames = 17 }, cancellationToken: Cancel)).GetAwaiter().GetResult().Count;
        });
        Assert.True(left[0] > 0);
    }

    [Theory]
    [InlineData("guidance=2", 2, 1, 1, 0)]
    [InlineData("timesteps=3", 1, 3, 1, 0)]
    [InlineData("timesteps=2, guidance=2", 2, 2, 1, 0)]
    [InlineData("heads=4,guidance=2,decode=1", 2, 1, 4, 1)]
    [InlineData("timesteps=3,decode=4", 1, 3, 1, 4)]
    public void Ways_are_read(string text, int guidance, int timesteps, int heads, int decode) =>
        Assert.Equal(new ParallelWays(guidance, timesteps, heads, decode), ParallelWays.Parse(text));

    [Theory]
    [InlineData("guidance=3")]
    [InlineData("timesteps=0")]
    [InlineData("timesteps")]
    [InlineData("heads=0")]
    [InlineData("rows=2")]
    [InlineData("decode=some")]
    [InlineData("")]
    public void Other_ways_are_refused(string text) => Assert.Throws<FormatException>(() => ParallelWays.Parse(text));

    [Theory]
    [InlineData(2, true, "guidance=2,timesteps=1,heads=1,decode=0")]
    [InlineData(3, true, "guidance=2,timesteps=1,heads=1,decode=1")]
    [InlineData(4, true, "guidance=2,timesteps=2,heads=1,decode=0")]
    [InlineData(4, false, "guidance=1,timesteps=4,heads=1,decode=0")]
    public void Guidance_is_divided_first(int processes, bool isGuided, string ways) => Assert.Equal(ways, ParallelWays.For(processes, isGuided).ToString());

    private static void AssertClose(float[] expected, float[] actual, string what)
    {
        using var scope = new TensorScope();
        GoldenTensors.AssertClose(Tensor.From(expected), Tensor.From(actual), 1e-5, 1e-5, what);
    }

    private static float[] Floats(Tensor latents)
    {
        var values = latents.ToArray<float>();
        latents.Dispose();
        return values;
    }

    private async Task<PyramidFlowException?[]> FaultsAsync(TinyPipeline tiny, int size, Func<int, GenerationOptions> request, ParallelWays? ways = null) =>
        await TogetherAsync<PyramidFlowException?>(size, (group, rank) =>
        {
            using var pipeline = tiny.Load(new PipelineOptions { Threads = 1, Parallel = new VideoParallel(group) { Ways = ways } });
            try
            {
                pipeline.GenerateLatents(request(rank), cancellationToken: Cancel).Dispose();
                return null;
            }
            catch (PyramidFlowException e)
            {
                return e;
            }
        });

    private async Task<T[]> TogetherAsync<T>(int size, Func<ProcessGroup, int, T> action)
    {
        var file = Path.Combine(folder.Path, Guid.NewGuid().ToString("N"));
        return await Task.WhenAll(Enumerable.Range(0, size).Select(rank => Task.Factory.StartNew(() =>
        {
            var rendezvous = new Rendezvous(rank, size, rank, "127.0.0.1", 0) { StoreFile = file };
            using var group = ProcessGroup.Join(rendezvous, new GroupOptions { Limit = TimeSpan.FromMinutes(2) }, Cancel);
            return action(group, rank);
        }, Cancel, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
    }
}
