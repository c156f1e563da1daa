using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Generation;

/// <summary>What a run on several processes takes, computed from configurations and speeds.</summary>
/// <param name="Ways">How the work is divided.</param>
/// <param name="SamplingSeconds">Time of the chain of steps that no number of processes shortens, of the prefixes in its way, and of transfers.</param>
/// <param name="Seconds">Time of sampling and decoding.</param>
/// <param name="HistoryBytes">Bytes of the history cache of a process.</param>
/// <param name="SentBytes">Most bytes that a process sends, without the texts.</param>
internal sealed record ParallelPlan(ParallelWays Ways, double SamplingSeconds, double Seconds, long HistoryBytes, long SentBytes)
{
    /// <summary>Most bytes of each process, from process 0, with the placement of the plan.</summary>
    public IReadOnlyList<long> MemoryBytes { get; init; } = [];

    // Finer divisions into heads pay with no network there is.
    private const int MostHeads = 16;

    /// <summary>Plans a clip.</summary>
    /// <param name="clip">The clip.</param>
    /// <param name="model">The checkpoint.</param>
    /// <param name="type">Element type.</param>
    /// <param name="ways">How the work is divided.</param>
    /// <param name="options">Limit of the history cache, and tiles.</param>
    /// <param name="speed">Speed of the processes and their connections.</param>
    public static ParallelPlan Of(GenerationSettings clip, PlannedModel model, ElementType type, ParallelWays ways, PipelineOptions options, GroupSpeed speed)
    {
        var limited = Limited(options, ways);
        var kept = HistoryPlan.Choose(clip.Sampling, model.Transformer, type, limited);
        var (sampling, whole) = Times(clip, model, type, limited, kept, options, speed);
        return new ParallelPlan(ways, sampling, whole, kept.Sum(stage => stage.Bytes),
            Enumerable.Range(0, ways.Processes).Max(rank => BytesSent(clip, model, type, limited, rank) + DecodingBytesSent(clip, model, type, ways, options, rank)))
        {
            MemoryBytes = [.. Enumerable.Range(0, ways.Processes).Select(rank => RunMemory.OfProcess(model, clip, type, options with { Sampler = limited }, rank).Peak)],
        };
    }

    /// <summary>The ways that take the least time.</summary>
    /// <param name="clip">The clip.</param>
    /// <param name="model">The checkpoint.</param>
    /// <param name="type">Element type.</param>
    /// <param name="processes">Number of processes.</param>
    /// <param name="options">Limit of the history cache, and tiles.</param>
    /// <param name="speed">Speed of the processes and their connections.</param>
    public static ParallelWays Fastest(GenerationSettings clip, PlannedModel model, ElementType type, int processes, PipelineOptions options, GroupSpeed speed)
    {
        return (from decode in Enumerable.Range(0, processes)
                from together in decode == 0 && processes > 1 ? new[] { false, true } : [false]
                from guidance in clip.IsGuided ? new[] { 1, 2 } : [1]
                from heads in Enumerable.Range(1, (int)Math.Min(MostHeads, model.Transformer.Heads))
                where (processes - decode) % (guidance * heads) == 0
                select new ParallelWays(guidance, (processes - decode) / (guidance * heads), heads, decode) { AllDecode = together }).MinBy(Whole)!;

        double Whole(ParallelWays ways)
        {
            var limited = Limited(options, ways);
            return Times(clip, model, type, limited, HistoryPlan.Choose(clip.Sampling, model.Transformer, type, limited), options, speed).Whole;
        }
    }

    /// <summary>Bytes that a process sends while it samples a clip, without the texts.</summary>
    /// <param name="clip">The clip.</param>
    /// <param name="model">The checkpoint.</param>
    /// <param name="type">Element type.</param>
    /// <param name="sampler">The ways, and the limit of the history cache.</param>
    /// <param name="rank">The process.</param>
    public static long BytesSent(GenerationSettings clip, PlannedModel model, ElementType type, SamplerOptions sampler, int rank)
    {
        var (plan, bytes, ways) = (clip.Sampling, 0L, sampler.Ways!);
        // Process 0 passes on the units that it and others decode.
        if (ways.Decode > rank)
            return Enumerable.Range(0, plan.Units).Sum(unit => ProcessGroup.BroadcastTargets(rank, ways.Decode).Count() * Latents(plan, unit, plan.Stages - 1));
        rank -= ways.Decode;
        var kept = HistoryPlan.Choose(plan, model.Transformer, type, sampler);
        for (var unit = clip.IsConditioned ? 1 : 0; unit < plan.Units; unit++)
        {
            for (var stage = 0; stage < plan.Stages; stage++)
            {
                var evaluations = plan.EvaluationsOf(unit, stage);
                var count = SamplingTeam.Share(ways.PartOf(rank), ways.Timesteps, evaluations, plan.Approximations.Together).GetOffsetAndLength(evaluations).Length;
                var rows = ways.Guidance == 1 || plan.Guidance[unit] is null ? 0 : Enumerable.Range(0, count).Count(plan.Approximations.IsGuided);
                bytes += ((long)rows + ((long)count * (ways.Timesteps - 1))) * Latents(plan, unit, stage);
                if (ways.Heads > 1)
                    bytes += Passes(unit, stage, count).Sum(pass => HeadSharing.BytesSent(model.Transformer, type, ways.Heads, rank % ways.Heads, pass.Rows, pass.Sections, pass.Outputs));
            }

            // The finished unit is broadcast, and handed over to the process that decodes.
            var targets = ProcessGroup.BroadcastTargets(rank, ways.Samplers).Count() + (rank == 0 && ways.Decode > 0 ? 1 : 0);
            bytes += targets * Latents(plan, unit, plan.Stages - 1);
        }

        return bytes;

        // The passes of one process: its unit steps, and before them the prefixes of its timesteps.
        IEnumerable<(long Rows, IReadOnlyList<long> Sections, long Outputs)> Passes(int unit, int stage, int count)
        {
            var shape = WorkCount.OwnShape(model.Transformer, plan, unit, stage, sampler);
            var guided = plan.Guidance[unit] is null ? 0 : Enumerable.Range(0, count).Count(plan.Approximations.IsGuided);
            var (history, tokens, usesPrefix) = (shape.PrefixLength - shape.TextLength, shape.Unit.Tokens, WorkCount.UsesPrefix(model.Transformer, shape, sampler));
            foreach (var (isGuided, steps) in new[] { (true, guided), (false, count - guided) })
            {
                long rows = isGuided ? shape.Rows : 1;
                for (var step = 0; step < steps; step++)
                    yield return (rows, usesPrefix ? [tokens] : [shape.TextLength, history, tokens], tokens);
                for (var prefix = 0; usesPrefix && prefix < plan.Approximations.Prefixes(steps); prefix++)
                {
                    var isKept = kept.Any(each => each.Stage == stage && each.IsGuided == isGuided && prefix < each.Timesteps);
                    var held = isKept ? HistoryPlan.HeldFrames(clip, unit, stage) : 0;
                    yield return (rows, held == 0 ? [shape.TextLength, history] : [history - (held * shape.Clips[0].FrameTokens)], 0);
                }
            }
        }

        long Latents(SamplingPlan sampling, int unit, int stage) => LatentBytes(model.Transformer, type, sampling.SizeOf(unit, stage));
    }

    /// <summary>Bytes that a process sends while it decodes a clip together with others.</summary>
    /// <param name="clip">The clip.</param>
    /// <param name="model">The checkpoint.</param>
    /// <param name="type">Element type.</param>
    /// <param name="ways">How the work is divided.</param>
    /// <param name="options">Tiles, and how many latent frames are decoded at a time.</param>
    /// <param name="rank">The process.</param>
    internal static long DecodingBytesSent(GenerationSettings clip, PlannedModel model, ElementType type, ParallelWays ways, PipelineOptions options, int rank) =>
        Enumerable.Range(0, clip.Sampling.Units).Sum(unit => DecodingCost(clip, model, type, ways, options, unit, rank).Bytes);

    // Nothing where a process decodes alone, or no unit.
    private static SharedDecoderCost DecodingCost(GenerationSettings clip, PlannedModel model, ElementType type, ParallelWays ways, PipelineOptions options, int unit, int rank)
    {
        var (plan, cost) = (clip.Sampling, default(SharedDecoderCost));
        var processes = ways.DecodersOf(plan, options);
        if (processes == 1 || rank >= processes)
            return cost;
        var (tiles, height, width) = WorkCount.Tiles(model.Vae, plan, options.Tiles);
        foreach (var (start, count) in UnitDecoder.Pieces(plan.FramesOf(unit), options.DecodeWindow, isStart: unit == 0))
        {
            var (isStart, size) = (unit == 0 && start == 0, new ClipSize(count, height, width));
            var piece = tiles == 1
                ? SharedDecoderCost.OfBands(model.Vae, type, size, isStart, processes, rank, ways.GivesAll(plan))
                : SharedDecoderCost.OfTiles(model.Vae, type, size, isStart, tiles, processes, rank, ways.GivesAll(plan));
            cost = new SharedDecoderCost(cost.Bytes + piece.Bytes, cost.Exchanges + piece.Exchanges);
        }

        return cost;
    }

    private static long LatentBytes(ITransformerConfig config, ElementType type, ClipSize size) => size.Tokens * Patches.Size * Patches.Size * config.LatentChannels * type.Size();

    // Without a limit the whole history is kept.
    private static SamplerOptions Limited(PipelineOptions options, ParallelWays ways) =>
        options.Sampler with { Ways = ways, HistoryBytes = options.Sampler.HistoryBytes ?? long.MaxValue };

    private static (double Sampling, double Whole) Times(GenerationSettings clip, PlannedModel model, ElementType type, SamplerOptions sampler, IReadOnlyList<KeptStage> kept, PipelineOptions options, GroupSpeed speed)
    {
        var sampling = ChainSeconds(clip, model.Transformer, type, sampler, kept, speed);
        var decoding = Enumerable.Range(0, clip.Sampling.Units).Select(DecodingSeconds).ToArray();
        return (sampling, sampler.Ways!.Decode == 0 ? sampling + decoding.Sum() : Math.Max(sampling, decoding[..^1].Sum()) + decoding[^1]);

        // The process with the largest band, or with most tiles, counts; the second one has two neighbours where there are more than two.
        double DecodingSeconds(int unit)
        {
            var (plan, ways) = (clip.Sampling, sampler.Ways!);
            var (processes, tiles) = (ways.DecodersOf(plan, options), WorkCount.Tiles(model.Vae, plan, options.Tiles).Count);
            var parts = tiles == 1 ? plan.Height : tiles;
            var share = (double)((parts + processes - 1) / processes) / parts;
            var (bytes, exchanges) = DecodingCost(clip, model, type, ways, options, unit, Math.Min(1, processes - 1));
            return (share * WorkCount.Decode(model.Vae, plan, unit, options.Tiles) / (speed.Machine.Convolutions * MachineSpeed.ReachedShare))
                + (exchanges * speed.Delay) + (bytes / speed.BytesPerSecond);
        }
    }

    // Follows the clocks of the processes that share the timesteps: each computes its prefixes as soon as it can, and the steps go from owner to owner.
    private static double ChainSeconds(GenerationSettings clip, ITransformerConfig config, ElementType type, SamplerOptions sampler, IReadOnlyList<KeptStage> kept, GroupSpeed speed)
    {
        var (plan, ways, end) = (clip.Sampling, sampler.Ways!, 0.0);
        for (var unit = clip.IsConditioned ? 1 : 0; unit < plan.Units; unit++)
        {
            var clocks = Enumerable.Repeat(end, ways.Timesteps).ToArray();
            var velocity = 0.0;
            for (var stage = 0; stage < plan.Stages; stage++)
            {
                var evaluations = plan.EvaluationsOf(unit, stage);
                var shape = WorkCount.OwnShape(config, plan, unit, stage, sampler);
                var hasPrefix = WorkCount.UsesPrefix(config, shape, sampler);
                var held = hasPrefix && kept.Any(each => each.Stage == stage) ? HistoryPlan.HeldFrames(clip, unit, stage) : 0;
                var (history, tokens) = (shape.PrefixLength - shape.TextLength - (held * shape.Clips[0].FrameTokens), shape.Unit.Tokens);
                velocity = speed.Transfer(LatentBytes(config, type, shape.Unit));
                var prefix = !hasPrefix ? 0 : Pass(DitFlops.Prefix(config, shape, held), held == 0 ? [shape.TextLength, history] : [history], 0);
                var step = Pass(hasPrefix ? DitFlops.Unit(config, shape) : DitFlops.Joint(config, shape), hasPrefix ? [tokens] : [shape.TextLength, history, tokens], tokens)
                    + (ways.Guidance == 2 && plan.Guidance[unit] is not null ? velocity : 0);
                for (var part = 0; part < ways.Timesteps; part++)
                {
                    var count = SamplingTeam.Share(part, ways.Timesteps, evaluations, plan.Approximations.Together).GetOffsetAndLength(evaluations).Length;
                    if (count == 0)
                        continue;
                    clocks[part] += plan.Approximations.Prefixes(count) * prefix;
                    end = Math.Max(end, clocks[part]) + (count * step) + (ways.Timesteps > 1 ? velocity : 0);
                    clocks[part] = end;
                }

                double Pass(double flops, IReadOnlyList<long> sections, long outputs) => speed.Pass(config, type, ways.Heads, shape.Rows, flops, sections, outputs);
            }

            end += Math.Ceiling(Math.Log2(ways.Samplers)) * velocity;
        }

        return end;
    }
}

/// <summary>Speed of processes that work together, and of the connections between them.</summary>
/// <param name="Machine">Speed of the slowest process.</param>
/// <param name="BytesPerSecond">Bytes a second that a process sends while it receives as many; infinite where transfers are not counted.</param>
/// <param name="Delay">Seconds of an exchange of few bytes.</param>
internal sealed record GroupSpeed(MachineSpeed Machine, double BytesPerSecond, double Delay)
{
    // Enough to fill the connection, and moved in milliseconds by a fast one.
    private const int ProbeBytes = 4 << 20;
    private const int Probes = 4;

    /// <summary>Speeds without transfers.</summary>
    public static GroupSpeed WithoutTransfers(MachineSpeed machine) => new(machine, double.PositiveInfinity, 0);

    /// <summary>Measures the connections; all processes call it at once, and all get the same numbers: those of the slowest.</summary>
    /// <param name="group">The processes.</param>
    /// <param name="machine">Speed of this process.</param>
    public static GroupSpeed Measure(ProcessGroup group, MachineSpeed machine)
    {
        using var scope = new TensorScope();
        var few = Tensor.Zeros([1], ElementType.UInt8, group.MovingDevice);
        var many = Tensor.Zeros([ProbeBytes], ElementType.UInt8, group.MovingDevice);
        var (delay, time) = (Seconds(few), Seconds(many));
        var least = group.Least(machine.Products, machine.Convolutions, ProbeBytes / Math.Max(time - delay, 1e-9), 1 / delay);
        return new GroupSpeed(new MachineSpeed(least[0], least[1]), least[2], 1 / least[3]);

        // The shortest time to send to the next process and receive from the one before.
        double Seconds(Tensor sent)
        {
            var received = Tensor.Zeros(sent.Shape, sent.Type, sent.Device);
            var (shortest, neighbours) = (double.MaxValue, new Tensor?[group.WorldSize]);
            var from = (Tensor?[])neighbours.Clone();
            (neighbours[(group.Rank + 1) % group.WorldSize], from[(group.Rank + group.WorldSize - 1) % group.WorldSize]) = (sent, received);
            for (var probe = 0; probe < Probes; probe++)
            {
                group.Barrier();
                shortest = Math.Min(shortest, Timing.Once(sent.Device, () => group.Exchange(from, neighbours).Wait()));
            }

            return shortest;
        }
    }

    /// <summary>Seconds of a transfer.</summary>
    internal double Transfer(long bytes) => Delay + (bytes / BytesPerSecond);

    /// <summary>Seconds of a pass of processes that divide the heads; the largest share counts.</summary>
    internal double Pass(ITransformerConfig config, ElementType type, int heads, long rows, double flops, IReadOnlyList<long> sections, long outputs)
    {
        var tokens = Math.Max(1, sections.Sum());
        var share = Math.Max((double)((tokens + heads - 1) / heads) / tokens, (double)HeadSharing.LargestWidth(config, heads) / config.Dim);
        var work = flops * share / (Machine.Products * MachineSpeed.ReachedShare);
        // Before and after the attention of each block.
        return heads == 1 ? work : work + (2 * config.Blocks * Delay) + (HeadSharing.BytesSent(config, type, heads, 0, rows, sections, outputs) / BytesPerSecond);
    }
}
