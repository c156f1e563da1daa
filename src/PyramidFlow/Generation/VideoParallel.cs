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

    /// <summary>The same with the ways chosen and checked.</summary>
    /// <param name="clips">The clips of the run.</param>
    /// <exception cref="RequestException">The ways need another number of processes, or a clip has no guidance to divide.</exception>
    internal VideoParallel Resolve(IReadOnlyList<GenerationSettings> clips)
    {
        var areGuided = clips.All(clip => clip.IsGuided);
        var ways = Ways ?? ParallelWays.For(Group.WorldSize, areGuided);
        ways.Check(Group.WorldSize, areGuided);
        return this with { Ways = ways };
    }

    /// <summary>Makes sure that all processes sample the same: seeds are those of rank zero, and everything else must agree.</summary>
    /// <param name="plan">The plan of this process.</param>
    /// <param name="cancellationToken">Stops the wait for the others.</param>
    /// <returns>The seed of each clip.</returns>
    /// <exception cref="ProcessGroupException">A process samples something else.</exception>
    internal ulong[] Agree(GenerationPlan plan, CancellationToken cancellationToken)
    {
        Group.Agree(
        [
            ("--parallel", Ways!.ToString()), ("the number of clips", Text(plan.Clips.Count)),
            ("--dtype", Text(plan.Placement.Type)), ("--history-cache", Text(plan.Placement.Sampler.HistoryBytes > 0)),
            .. plan.Clips.SelectMany((clip, i) => Facts(clip).Select(fact => (plan.Clips.Count == 1 ? fact.Name : $"{fact.Name} of clip {i + 1}", fact.Value))),
        ], cancellationToken);
        ulong[] seeds = [.. plan.Clips.Select(clip => clip.Seed)];
        Group.Broadcast<ulong>(seeds);
        return seeds;
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

/// <summary>How the sampling of a video is divided among processes. The product of the numbers is the number of processes.</summary>
/// <param name="Guidance">2 where the two rows of guidance run in two processes, else 1.</param>
/// <param name="Timesteps">Number of processes that each own a part of the timesteps of every stage: their history, their prefixes and their steps.</param>
public sealed record ParallelWays(int Guidance, int Timesteps)
{
    /// <summary>Number of processes.</summary>
    public int Processes => Guidance * Timesteps;

    /// <summary>The ways for a number of processes: guidance first, which divides all work in two, then timesteps.</summary>
    /// <param name="processes">Number of processes, at least 1.</param>
    /// <param name="isGuided">Whether there is guidance to divide.</param>
    public static ParallelWays For(int processes, bool isGuided) =>
        isGuided && processes % 2 == 0 ? new ParallelWays(2, processes / 2) : new ParallelWays(1, processes);

    /// <summary>Refuses ways for another number of processes, or that divide guidance where there is none.</summary>
    /// <exception cref="RequestException">They do not fit.</exception>
    internal void Check(int processes, bool isGuided)
    {
        if (Processes != processes)
            throw RequestFault.ParallelOfOtherSize(ToString(), Processes, processes);
        if (Guidance == 2 && !isGuided)
            throw RequestFault.NoGuidanceToDivide(ToString());
    }

    /// <summary>Reads ways such as <c>guidance=2,timesteps=2</c>; a way that is not named is 1.</summary>
    /// <exception cref="FormatException">It is none.</exception>
    public static ParallelWays Parse(string text)
    {
        var ways = new ParallelWays(1, 1);
        foreach (var part in text.Split(',', StringSplitOptions.TrimEntries))
        {
            if (part.Split('=', 2, StringSplitOptions.TrimEntries) is not [var name, var number]
                || !int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var count) || count is < 1 or > 1024)
                throw new FormatException("write guidance=2,timesteps=2, with numbers from 1");
            ways = name switch
            {
                "guidance" when count <= 2 => ways with { Guidance = count },
                "guidance" => throw new FormatException("guidance has two rows: guidance=1 or guidance=2"),
                "timesteps" => ways with { Timesteps = count },
                _ => throw new FormatException($"there is no way {name}: use guidance and timesteps"),
            };
        }

        return ways;
    }

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"guidance={Guidance},timesteps={Timesteps}");
}

/// <summary>The place of this process among those that sample a clip.</summary>
/// <param name="parallel">The processes; null is this one alone.</param>
internal sealed class SamplingTeam(VideoParallel? parallel)
{
    private readonly ProcessGroup? group = parallel?.Group;
    private readonly ParallelWays ways = parallel?.Ways ?? new ParallelWays(1, 1);

    /// <summary>Number of processes that share the timesteps.</summary>
    internal int Parts => ways.Timesteps;

    /// <summary>Whether this process computes one of the two rows of guidance.</summary>
    internal bool SplitsGuidance => ways.Guidance == 2;

    /// <summary>Whether several processes sample together.</summary>
    internal bool IsShared => group is not null;

    /// <summary>The row of guidance of this process: 0 is without the prompt, 1 with it.</summary>
    internal int Row => Rank % ways.Guidance;

    private int Rank => group?.Rank ?? 0;

    private int Part => Rank / ways.Guidance;

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
        var partner = Rank ^ 1;
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
        return (room, group!.Receive(room, (part * ways.Guidance) + Row));
    }

    /// <summary>Gives all processes the latents of rank zero, so that none drifts away where machines differ.</summary>
    internal void Unite(Tensor latents) => group?.Broadcast(latents);

    /// <summary>The features of a text, which rank zero encodes and gives to the others, so that only one process needs the text encoders.</summary>
    /// <param name="encode">Encodes it, on rank zero only.</param>
    internal PromptFeatures FirstGives(Func<PromptFeatures> encode)
    {
        if (group is null)
            return encode();
        var own = Rank == 0 ? encode() : null;
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

    private IEnumerable<int> Others() => Enumerable.Range(0, Parts).Where(part => part != Part).Select(part => (part * ways.Guidance) + Row);

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
