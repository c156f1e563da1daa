using System.Globalization;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Generation;

/// <summary>
/// Several processes that sample one video. All make the same calls; rank zero gives the frames. The result is that of one process, but
/// for the last digits.
/// </summary>
/// <param name="Group">The processes; they stay the caller's.</param>
public sealed record VideoParallel(ProcessGroup Group)
{
    /// <summary>How the work is divided; null lets the plan choose.</summary>
    public ParallelWays? Ways { get; init; }

    /// <summary>Speed of the processes and their connections, by which the plan chooses the ways; null divides guidance first, then timesteps.</summary>
    internal GroupSpeed? Speed { get; init; }

    /// <summary>The same with the ways chosen and checked.</summary>
    /// <param name="clips">The clips of the run.</param>
    /// <param name="transformer">Sizes of the transformer.</param>
    /// <param name="model">The checkpoint; null for models of the caller.</param>
    /// <param name="options">How the pipeline is loaded.</param>
    /// <exception cref="RequestException">The ways need another number of processes or more heads, or a clip has no guidance to divide.</exception>
    internal VideoParallel Resolve(IReadOnlyList<GenerationSettings> clips, ITransformerConfig transformer, PlannedModel? model, PipelineOptions options)
    {
        var areGuided = clips.All(clip => clip.IsGuided);
        var ways = Ways ?? (Speed is not null && model is not null
            ? ParallelPlan.Fastest(clips.FirstOrDefault(clip => !clip.IsGuided) ?? clips[0], model, ElementTypeChoice.Of(model, options).Type, Group.WorldSize, options, Speed)
            : ParallelWays.For(Group.WorldSize, areGuided));
        ways.Check(Group.WorldSize, areGuided, transformer.Heads);
        return this with { Ways = ways };
    }

    /// <summary>
    /// Makes sure that all processes sample the same: seeds are those of rank zero, limits of memory those of the process that has least, and everything else must
    /// agree.
    /// </summary>
    /// <param name="plan">The plan of this process.</param>
    /// <param name="cancellationToken">Stops the wait for the others.</param>
    /// <returns>The plan that all processes execute.</returns>
    /// <exception cref="ProcessGroupException">A process samples something else.</exception>
    internal GenerationPlan Agree(GenerationPlan plan, CancellationToken cancellationToken)
    {
        Group.Agree(
        [
            ("--parallel", Ways!.ToString()), ("the number of clips", Text(plan.Clips.Count)),
            ("--dtype", Text(plan.Placement.Type)), ("--history-cache", Text(plan.Placement.Sampler.HistoryBytes > 0)),
            .. plan.Clips.SelectMany((clip, i) => Facts(clip).Select(fact => (plan.Clips.Count == 1 ? fact.Name : $"{fact.Name} of clip {i + 1}", fact.Value))),
        ], cancellationToken);
        ulong[] seeds = [.. plan.Clips.Select(clip => clip.Seed)];
        Group.Broadcast<ulong>(seeds);
        return plan with { Clips = [.. plan.Clips.Zip(seeds, (clip, seed) => clip with { Seed = seed })], Placement = plan.Placement with { Sampler = Least(plan.Placement.Sampler) } };
    }

    // Processes that divide heads make the same passes, however much memory each of them has.
    private SamplerOptions Least(SamplerOptions own)
    {
        var limits = new long[2 * Group.WorldSize];
        (limits[2 * Group.Rank], limits[(2 * Group.Rank) + 1]) = (own.PrefixBytes, own.HistoryBytes ?? -1);
        Group.AllReduce<long>(limits);
        var history = limits.Where((_, i) => i % 2 == 1).Min();
        return own with { PrefixBytes = limits.Where((_, i) => i % 2 == 0).Min(), HistoryBytes = history < 0 ? null : history };
    }

    private static IEnumerable<(string Name, string Value)> Facts(GenerationSettings clip)
    {
        var sampling = clip.Sampling;
        yield return ("the size", $"{clip.Width}x{clip.Height}");
        yield return ("the number of frames", Text(clip.Frames));
        yield return ("the prompt", clip.Prompts.Count == 1 ? $"\"{clip.Prompt}\"" : string.Join(", ", clip.Prompts.Select(prompt => $"\"{prompt.Prompt}\" from unit {Text(prompt.FromUnit + 1)}")));
        yield return ("the negative prompt", clip.NegativePrompt);
        yield return ("guidance", string.Join(", ", sampling.Guidance.Select(value => Text(value))));
        yield return ("steps", string.Join(", ", Enumerable.Range(0, Math.Min(2, sampling.Units)).SelectMany(unit => sampling.StepsOf(unit))));
        yield return ("the solver", sampling.Approximations.Solver.Name);
        yield return ("approximations", $"{Text(sampling.Approximations.ReusePrefix)}, {Text(sampling.Approximations.GuidanceEvery)}");
        yield return ("the history window", Text(sampling.Window));
        yield return ("frames per unit", Text(sampling.FramesPerUnit));
        yield return ("what the clip begins with", clip.Conditioning is { } given ? $"{given.Kind} of {Text(given.Frames)} frames" : "nothing");
    }

    private static string Text(object? value) => Convert.ToString(value, CultureInfo.InvariantCulture) ?? "none";
}

/// <summary>How a video is divided among processes: as many sample it as the product of the first three numbers, and those that decode are further ones.</summary>
/// <param name="Guidance">2 where the two rows of guidance run in two processes, else 1.</param>
/// <param name="Timesteps">Number of parts of the timesteps of every stage; each has an owner with their history, their prefixes and their steps.</param>
/// <param name="Heads">Number of processes that run each pass together: each has a share of the tokens, and of the heads in attention.</param>
/// <param name="Decode">1 where process 0 samples nothing and decodes each unit while the others sample the next, else 0.</param>
public sealed record ParallelWays(int Guidance, int Timesteps, int Heads = 1, int Decode = 0)
{
    /// <summary>Number of processes.</summary>
    public int Processes => Samplers + Decode;

    /// <summary>Number of processes that sample.</summary>
    internal int Samplers => Guidance * Timesteps * Heads;

    /// <summary>The ways for a number of processes: guidance first, which divides all work in two, then timesteps; one that is left over decodes.</summary>
    /// <param name="processes">Number of processes, at least 1.</param>
    /// <param name="isGuided">Whether there is guidance to divide.</param>
    public static ParallelWays For(int processes, bool isGuided) =>
        isGuided && processes > 1 ? new ParallelWays(2, processes / 2, Decode: processes % 2) : new ParallelWays(1, processes);

    /// <summary>Refuses ways for another number of processes, that divide guidance where there is none, or into more parts than the model has heads.</summary>
    /// <exception cref="RequestException">They do not fit.</exception>
    internal void Check(int processes, bool isGuided, long heads)
    {
        if (Processes != processes)
            throw RequestFault.ParallelOfOtherSize(ToString(), Processes, processes);
        if (Guidance == 2 && !isGuided)
            throw RequestFault.NoGuidanceToDivide(ToString());
        if (Heads > heads)
            throw RequestFault.TooFewHeads(ToString(), heads);
    }

    /// <summary>Reads ways such as <c>guidance=2,timesteps=2</c>; a way that is not named is 1.</summary>
    /// <exception cref="FormatException">It is none.</exception>
    public static ParallelWays Parse(string text)
    {
        var ways = new ParallelWays(1, 1);
        foreach (var part in text.Split(',', StringSplitOptions.TrimEntries))
        {
            if (part.Split('=', 2, StringSplitOptions.TrimEntries) is not [var name, var number]
                || !int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var count) || count > 1024 || (count == 0 && name != "decode"))
                throw new FormatException("write guidance=2,timesteps=2,heads=1,decode=0, with numbers from 1, and decode=0 or decode=1");
            ways = name switch
            {
                "guidance" when count <= 2 => ways with { Guidance = count },
                "guidance" => throw new FormatException("guidance has two rows: guidance=1 or guidance=2"),
                "timesteps" => ways with { Timesteps = count },
                "heads" => ways with { Heads = count },
                "decode" when count <= 1 => ways with { Decode = count },
                "decode" => throw new FormatException("one process decodes, or none alone: decode=1 or decode=0"),
                _ => throw new FormatException($"there is no way {name}: use guidance, timesteps, heads and decode"),
            };
        }

        return ways;
    }

    /// <summary>Which part of the timesteps a sampling process owns.</summary>
    /// <param name="sampler">Its number among those that sample.</param>
    internal int PartOf(int sampler) => sampler / (Guidance * Heads);

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"guidance={Guidance},timesteps={Timesteps},heads={Heads},decode={Decode}");
}

/// <summary>The place of this process among those that sample a clip.</summary>
/// <param name="parallel">The processes; null is this one alone.</param>
internal sealed class SamplingTeam(VideoParallel? parallel)
{
    private readonly ProcessGroup? group = parallel?.Group;
    private readonly ParallelWays ways = parallel?.Ways ?? new ParallelWays(1, 1);
    private Transfers? handedOver;

    /// <summary>Whether this process only decodes what the others sample.</summary>
    internal bool OnlyDecodes => ways.Decode == 1 && group!.Rank == 0;

    /// <summary>Number of processes that share the timesteps.</summary>
    internal int Parts => ways.Timesteps;

    /// <summary>Whether this process computes one of the two rows of guidance.</summary>
    internal bool SplitsGuidance => ways.Guidance == 2 && !OnlyDecodes;

    /// <summary>Whether several processes sample together.</summary>
    internal bool IsShared => group is not null;

    /// <summary>The row of guidance of this process: 0 is without the prompt, 1 with it.</summary>
    internal int Row => Rank / ways.Heads % ways.Guidance;

    // Number of this process among those that sample.
    private int Rank => (group?.Rank ?? 0) - ways.Decode;

    // Processes that divide heads are neighbours, because they say most to each other; then those that divide guidance.
    private int Part => ways.PartOf(Rank);

    /// <summary>Options with which this process takes its part of the heads.</summary>
    internal SamplerOptions Share(SamplerOptions options)
    {
        if (ways.Heads == 1 || OnlyDecodes)
            return options;
        var first = ways.Decode + Rank - (Rank % ways.Heads);
        return options with { Attention = options.Attention with { Heads = new HeadSharing(group!.Part([.. Enumerable.Range(first, ways.Heads)])) } };
    }

    /// <summary>The evaluations of a stage that this process owns; there may be none.</summary>
    /// <param name="evaluations">Evaluations of the stage.</param>
    /// <param name="together">How many neighbouring evaluations have one owner.</param>
    internal Range Own(int evaluations, int together) => Of(Part, evaluations, together);

    /// <summary>The part that owns an evaluation.</summary>
    /// <inheritdoc cref="Own"/>
    internal int OwnerOf(int evaluation, int evaluations, int together) =>
        Enumerable.Range(0, Parts).First(part => evaluation < Of(part, evaluations, together).End.Value);

    /// <summary>Whether a part is that of this process.</summary>
    internal bool IsOwn(int part) => part == Part;

    /// <summary>Brings the two rows of guidance together.</summary>
    /// <param name="own">The row that this process computed.</param>
    /// <returns>The row without the prompt and the one with it, in the caller's scope.</returns>
    internal Tensor[] Rows(Tensor own)
    {
        var partner = ways.Decode + (Row == 0 ? Rank + ways.Heads : Rank - ways.Heads);
        own = own.Contiguous();
        var other = Room(own.Shape, own.Type);
        var receive = group!.Receive(other, partner);
        group.Send(own, partner).Wait();
        receive.Wait();
        other = other.To(own.Device);
        return Row == 0 ? [own, other] : [other, own];
    }

    /// <summary>Starts to send a velocity to the processes that share this one's row.</summary>
    internal IEnumerable<Transfers> Share(Tensor velocity) =>
        Parts == 1 ? [] : [.. Others().Select(other => group!.Send(velocity, other))];

    /// <summary>Starts to receive a velocity.</summary>
    /// <param name="part">The part that computes it.</param>
    /// <param name="shape">Its shape.</param>
    /// <param name="type">Its element type.</param>
    internal (Tensor Velocity, Transfers Transfers) Expect(int part, long[] shape, ElementType type)
    {
        var room = TensorScope.Release(Room(shape, type));
        return (room, group!.Receive(room, Counterpart(part)));
    }

    /// <summary>
    /// Gives all processes that sample the latents of the first of them, so that none drifts away where machines differ, and hands them over to the one that
    /// decodes, which may be one unit behind.
    /// </summary>
    internal void Unite(Tensor latents)
    {
        if (ways.Samplers > 1)
            (ways.Decode == 0 ? group! : group!.Part([.. Enumerable.Range(1, ways.Samplers)])).Broadcast(latents);
        if (ways.Decode == 0 || Rank > 0)
            return;
        Complete();
        handedOver = group!.Send(latents, 0);
    }

    /// <summary>Waits until the process that decodes has the last latents.</summary>
    internal void Complete()
    {
        handedOver?.Wait();
        handedOver = null;
    }

    /// <summary>Latents that the other processes have sampled.</summary>
    /// <param name="shape">Their shape.</param>
    /// <param name="type">Their element type.</param>
    internal Tensor Take(long[] shape, ElementType type)
    {
        var latents = Room(shape, type);
        group!.Receive(latents, 1).Wait();
        return latents;
    }

    /// <summary>The features of a text, which rank zero encodes and gives to the others, so that only one process needs the text encoders.</summary>
    /// <param name="encode">Encodes it, on rank zero only.</param>
    internal PromptFeatures FirstGives(Func<PromptFeatures> encode)
    {
        if (group is null)
            return encode();
        var own = group.Rank == 0 ? encode() : null;
        long[] sizes = own is null ? new long[7] : [.. own.Tokens.Shape, own.Pooled.Size(0), own.Pooled.Size(1), own.Lengths[0], (long)own.Tokens.Type];
        group.Broadcast<long>(sizes);
        var type = (ElementType)sizes[6];
        var tokens = own?.Tokens.Contiguous() ?? Tensor.Empty([.. sizes[..3]], type);
        var pooled = own?.Pooled.Contiguous() ?? Tensor.Empty([.. sizes[3..5]], type);
        group.Broadcast(tokens);
        group.Broadcast(pooled);
        return own ?? new PromptFeatures(tokens, [(int)sizes[5]], pooled, []);
    }

    // Memory that a transfer can fill.
    private static Tensor Room(long[] shape, ElementType type) => Tensor.Empty(shape, type);

    private IEnumerable<int> Others() => Enumerable.Range(0, Parts).Where(part => part != Part).Select(Counterpart);

    // The process of another part with the same row and the same heads.
    private int Counterpart(int part) => ways.Decode + Rank + ((part - Part) * ways.Guidance * ways.Heads);

    private Range Of(int part, int evaluations, int together) => Share(part, Parts, evaluations, together);

    /// <summary>The evaluations of a stage that one part of several owns.</summary>
    /// <param name="part">The part, from 0.</param>
    /// <param name="parts">Number of parts.</param>
    /// <param name="evaluations">Evaluations of the stage.</param>
    /// <param name="together">How many neighbouring evaluations have one owner.</param>
    internal static Range Share(int part, int parts, int evaluations, int together)
    {
        var (start, length) = VectorDivision.Share((evaluations + together - 1) / together, parts, part);
        return Math.Min(evaluations, (int)start * together)..Math.Min(evaluations, (int)(start + length) * together);
    }
}
