using System.Globalization;
using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Generation;

/// <summary>
/// Several processes that sample and decode one video. All make the same calls; rank zero gives the frames. The result is that of one process, but
/// for the last digits.
/// </summary>
/// <param name="Group">The processes; they stay the caller's.</param>
public sealed record VideoParallel(ProcessGroup Group)
{
    /// <summary>How the work is divided; null lets the plan choose.</summary>
    public ParallelWays? Ways { get; init; }

    /// <summary>Whether other ways are chosen where <see cref="Ways"/> do not fit what is made, as in a service, where users ask for it.</summary>
    internal bool MayChoose { get; init; }

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
        var asked = Ways is { } own && MayChoose && own.Processes == Group.WorldSize && !own.Fits(areGuided, transformer.Heads) ? null : Ways;

        // Models that are not wide are bound by the number of calls, which no division changes.
        var ways = asked ?? (Speed is not null && model is not null && transformer.Dim >= ElementTypeChoice.LeastWidth
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
    /// <returns>The plan that all processes execute.</returns>
    /// <exception cref="ProcessGroupException">A process samples something else.</exception>
    internal GenerationPlan Agree(GenerationPlan plan)
    {
        var tiles = plan.Placement.Tiles ?? new TileOptions();
        (string Name, string Value)[] facts =
        [
            ("--parallel", Ways!.ToString()), ("the number of clips", Text(plan.Clips.Count)),
            ("--dtype", Text(plan.Placement.Type)), ("--history-cache", Text(plan.Placement.Sampler.HistoryBytes > 0)),
            ("how tiles overlap", $"{Text(tiles.Overlap)} {tiles.Blend}"),
            .. plan.Clips.SelectMany((clip, i) => Facts(clip).Select(fact => (plan.Clips.Count == 1 ? fact.Name : $"{fact.Name} of clip {i + 1}", fact.Value))),
        ];

        // The store keeps every value for ever, so a service asks it only for the name of what differs.
        if (!AreAlike(facts))
            Group.Agree(facts, CancellationToken.None);
        ulong[] seeds = [.. plan.Clips.Select(clip => clip.Seed)];
        Group.Broadcast<ulong>(seeds);
        return plan with { Clips = [.. plan.Clips.Zip(seeds, (clip, seed) => clip with { Seed = seed })], Placement = Least(plan.Placement with { Sampler = Least(plan.Placement.Sampler) }) };
    }

    private bool AreAlike(IEnumerable<(string Name, string Value)> facts)
    {
        var own = SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', facts)));
        var all = new int[Group.WorldSize * own.Length];
        for (var i = 0; i < own.Length; i++)
            all[(Group.Rank * own.Length) + i] = own[i];
        Group.AllReduce<int>(all);
        return all.Chunk(own.Length).All(other => other.AsSpan().SequenceEqual(all.AsSpan(0, own.Length)));
    }

    // Processes that divide heads make the same passes, however much memory each of them has.
    private SamplerOptions Least(SamplerOptions own)
    {
        var limits = Group.Least(own.PrefixBytes, own.HistoryBytes ?? -1);
        return own with { PrefixBytes = limits[0], HistoryBytes = limits[1] < 0 ? null : limits[1] };
    }

    // Processes that decode together divide the same tiles.
    private PipelineOptions Least(PipelineOptions own)
    {
        if (!Ways!.SharesDecoding)
            return own;
        var limits = Group.Least(own.Tiles?.Size ?? int.MaxValue, own.DecodeWindow, own.TileByTile ? 0 : 1);
        return own with { Tiles = limits[0] == int.MaxValue ? null : (own.Tiles ?? new TileOptions()) with { Size = limits[0] }, DecodeWindow = limits[1], TileByTile = limits[2] == 0 };
    }

    /// <summary>What processes that sample the same clip have in common, besides seeds and pixels.</summary>
    internal static IEnumerable<(string Name, string Value)> Facts(GenerationSettings clip)
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
        if (clip.Sampling.Options.Loras is { Count: > 0 } loras)
            yield return ("the LoRAs", string.Join(", ", loras.Select(lora => $"{LoraPlace.Find(lora.Path).Digest()} {Text(lora.Weight)}")));
        yield return ("what the clip begins with", clip.Conditioning is { } given ? $"{given.Kind} of {Text(given.Frames)} frames" : "nothing");
    }

    private static string Text(object? value) => Convert.ToString(value, CultureInfo.InvariantCulture) ?? "none";
}

/// <summary>How a video is divided among processes: as many sample it as the product of the first three numbers, and those that decode are further ones.</summary>
/// <param name="Guidance">2 where the two rows of guidance run in two processes, else 1.</param>
/// <param name="Timesteps">Number of parts of the timesteps of every stage; each has an owner with their history, their prefixes and their steps.</param>
/// <param name="Heads">Number of processes that run each pass together: each has a share of the tokens, and of the heads in attention.</param>
/// <param name="Decode">Number of processes, the first ones, that sample nothing and decode each unit together while the others sample the next; 0 where process 0 samples too and decodes alone.</param>
public sealed record ParallelWays(int Guidance, int Timesteps, int Heads = 1, int Decode = 0)
{
    private const string AllText = "all";

    /// <summary>Whether all processes, which sample, decode each unit together before they sample the next; <see cref="Decode"/> is 0 then.</summary>
    public bool AllDecode { get; init; }

    /// <summary>Whether several processes decode each unit together.</summary>
    internal bool SharesDecoding => Decoders > 1;

    /// <summary>Number of processes that decode a unit.</summary>
    internal int Decoders => AllDecode ? Samplers : Math.Max(1, Decode);

    /// <summary>Number of processes.</summary>
    public int Processes => Samplers + Decode;

    /// <summary>Number of processes that sample.</summary>
    internal int Samplers => Guidance * Timesteps * Heads;

    /// <summary>Number of processes that decode each unit of a clip: each has at least one row of the latents, and tiles that go through the whole clip are decoded by process 0 alone.</summary>
    internal int DecodersOf(SamplingPlan plan, PipelineOptions options) => SharesDecoding && !options.DecodesByTile(plan) ? (int)Math.Min(Decoders, plan.Height) : 1;

    /// <summary>Whether all processes that decode get the frames, because they sample too and a history window begins with a decoded frame.</summary>
    internal bool GivesAll(SamplingPlan plan) => AllDecode && plan.Window is not null;

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

    /// <summary>Whether there is guidance to divide where it is divided, and as many heads as parts.</summary>
    internal bool Fits(bool isGuided, long heads) => (Guidance == 1 || isGuided) && Heads <= heads;

    /// <summary>Reads ways such as <c>guidance=2,timesteps=2</c>; a way that is not named is 1.</summary>
    /// <exception cref="FormatException">It is none.</exception>
    public static ParallelWays Parse(string text)
    {
        var ways = new ParallelWays(1, 1);
        foreach (var part in text.Split(',', StringSplitOptions.TrimEntries))
        {
            if (part == $"decode={AllText}")
            {
                ways = ways with { AllDecode = true, Decode = 0 };
                continue;
            }

            if (part.Split('=', 2, StringSplitOptions.TrimEntries) is not [var name, var number]
                || !int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var count) || count > 1024 || (count == 0 && name != "decode"))
                throw new FormatException("write guidance=2,timesteps=2,heads=1,decode=0, with numbers from 1, and decode from 0 or decode=all");
            ways = name switch
            {
                "guidance" when count <= 2 => ways with { Guidance = count },
                "guidance" => throw new FormatException("guidance has two rows: guidance=1 or guidance=2"),
                "timesteps" => ways with { Timesteps = count },
                "heads" => ways with { Heads = count },
                "decode" => ways with { Decode = count, AllDecode = false },
                _ => throw new FormatException($"there is no way {name}: use guidance, timesteps, heads and decode"),
            };
        }

        return ways;
    }

    /// <summary>Which part of the timesteps a sampling process owns.</summary>
    /// <param name="sampler">Its number among those that sample.</param>
    internal int PartOf(int sampler) => sampler / (Guidance * Heads);

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"guidance={Guidance},timesteps={Timesteps},heads={Heads},decode={(AllDecode ? AllText : Decode.ToString(CultureInfo.InvariantCulture))}");
}

/// <summary>Numbers that all processes agree on.</summary>
internal static class GroupNumbers
{
    /// <summary>The least of the numbers of all processes, place by place.</summary>
    /// <param name="group">The processes; all of them call this.</param>
    /// <param name="own">The numbers of this process; every process has as many.</param>
    internal static T[] Least<T>(this ProcessGroup group, params ReadOnlySpan<T> own)
        where T : unmanaged, INumber<T>
    {
        var all = new T[own.Length * group.WorldSize];
        own.CopyTo(all.AsSpan(own.Length * group.Rank));
        group.AllReduce<T>(all);
        var least = own.ToArray();
        for (var i = 0; i < all.Length; i++)
            least[i % own.Length] = T.Min(least[i % own.Length], all[i]);
        return least;
    }
}
