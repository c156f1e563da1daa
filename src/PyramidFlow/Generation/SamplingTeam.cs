using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Generation;

/// <summary>The place of this process among those that sample a clip.</summary>
/// <param name="parallel">The processes; null is this one alone.</param>
internal sealed class SamplingTeam(VideoParallel? parallel)
{
    private readonly ProcessGroup? group = parallel?.Group;
    private readonly ParallelWays ways = parallel?.Ways ?? new ParallelWays(1, 1);
    private readonly List<Transfers> handedOver = [];

    /// <summary>Whether this process only decodes what the others sample.</summary>
    internal bool OnlyDecodes => group is not null && group.Rank < ways.Decode;

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

    /// <summary>Whether all processes leave the run.</summary>
    internal bool IsStopped => group?.Stops.IsStopped ?? false;

    /// <summary>Begins an evaluation. One process alone stops by its own token; several stop before the same evaluation, whichever of them is cancelled.</summary>
    /// <exception cref="OperationCanceledException">The run is left here.</exception>
    internal void Pass(CancellationToken cancellationToken)
    {
        if (group is null)
            cancellationToken.ThrowIfCancellationRequested();
        else
            group.Stops.Pass();
    }

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
    /// Gives all processes that sample the latents of the first of them, so that none drifts away where machines differ, and hands them over to process 0
    /// where it only decodes (it passes them on); it may be one unit behind.
    /// </summary>
    /// <param name="latents">Latents of a unit, finished.</param>
    /// <param name="isWidened">Whether the transformer in the wider type makes the rest of the clip.</param>
    internal void Unite(Tensor latents, bool isWidened)
    {
        if (ways.Samplers > 1)
            (ways.Decode == 0 ? group! : group!.Part([.. Enumerable.Range(ways.Decode, ways.Samplers)])).Broadcast(latents);
        if (ways.Decode == 0 || Rank > 0)
            return;
        Complete();
        SendHeader(isWidened ? Handover.WidenedUnit : Handover.Unit);
        handedOver.Add(group!.Send(latents, 0));
    }

    /// <summary>Waits until process 0, where it only decodes, has the last latents.</summary>
    internal void Complete()
    {
        foreach (var transfer in handedOver)
            transfer.Wait();
        handedOver.Clear();
    }

    /// <summary>Tells the processes that only decode that no further unit comes.</summary>
    /// <param name="isFault">Whether numbers are not finite; otherwise all were stopped.</param>
    internal void TellEnd(bool isFault)
    {
        if (ways.Decode == 0 || Rank != 0)
            return;
        Complete();
        SendHeader(isFault ? Handover.NotFinite : Handover.Stopped);
        Complete();
    }

    /// <summary>
    /// The processes that decode a clip together with this one; null where it decodes alone, or nothing. Where a history window needs decoded frames, processes that sample get them all.
    /// </summary>
    internal SharedDecoder? Decoder(SamplingPlan plan, PipelineOptions run)
    {
        var count = ways.DecodersOf(plan, run);
        return count == 1 || group!.Rank >= count ? null : new SharedDecoder(group.Part([.. Enumerable.Range(0, count)]), ways.GivesAll(plan));
    }

    /// <summary>Whether the processes whose units this one takes make the rest of the clip in the wider type.</summary>
    internal bool HasTakenWidened { get; private set; }

    /// <summary>Latents that the other processes have sampled.</summary>
    /// <param name="unit">Number of the unit, from 0.</param>
    /// <param name="shape">Their shape.</param>
    /// <param name="type">Their element type.</param>
    /// <exception cref="OperationCanceledException">The others were stopped.</exception>
    /// <exception cref="NonFiniteException">Their numbers are not finite.</exception>
    internal Tensor Take(int unit, long[] shape, ElementType type)
    {
        var header = Received(Room([1], ElementType.UInt8));
        switch ((Handover)header.Data<byte>()[0])
        {
            case Handover.WidenedUnit:
                HasTakenWidened = true;
                break;
            case Handover.NotFinite:
                throw new NonFiniteException(ModelPart.Transformer, FormattableString.Invariant($"in unit {unit + 1}, which the other processes sampled"));
            case Handover.Stopped:
                group!.Stops.Follow();
                throw new OperationCanceledException("the processes that sample the video were stopped");
        }

        return Received(Room(shape, type));

        // Process 0 passes on what it gets.
        Tensor Received(Tensor values)
        {
            if (group!.Rank == 0)
                group.Receive(values, ways.Decode).Wait();
            if (ways.Decode > 1)
                group.Part([.. Enumerable.Range(0, ways.Decode)]).Broadcast(values);
            return values;
        }
    }

    /// <summary>The features of a text, which rank zero encodes and gives to the others, so that only one process needs the text encoders.</summary>
    /// <param name="encode">Encodes it, on rank zero only.</param>
    /// <param name="run">Takes what fails.</param>
    /// <exception cref="OperationCanceledException">Rank zero stops, or cannot encode it: all processes leave the run here.</exception>
    internal PromptFeatures FirstGives(Func<PromptFeatures> encode, CommonRun? run)
    {
        if (group is null)
            return encode();
        var own = group.Rank > 0 || run is { IsStopping: true } ? null : run is null ? encode() : run.Do(encode);

        // A length of 0 says that rank zero gives nothing.
        long[] sizes = own is null ? new long[7] : [.. own.Tokens.Shape, own.Pooled.Size(0), own.Pooled.Size(1), own.Lengths[0], (long)own.Tokens.Type];
        group.Broadcast<long>(sizes);
        if (sizes[0] == 0)
        {
            group.Stops.Follow();
            throw new OperationCanceledException("the process that encodes the texts was stopped");
        }

        var type = (ElementType)sizes[6];
        var tokens = own?.Tokens.Contiguous() ?? Tensor.Empty([.. sizes[..3]], type);
        var pooled = own?.Pooled.Contiguous() ?? Tensor.Empty([.. sizes[3..5]], type);
        group.Broadcast(tokens);
        group.Broadcast(pooled);
        return own ?? new PromptFeatures(tokens, [(int)sizes[5]], pooled, []);
    }

    private void SendHeader(Handover header) => handedOver.Add(group!.Send(Tensor.From<byte>([(byte)header]), 0));

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

    // What follows from the processes that sample to those that only decode.
    private enum Handover : byte
    {
        Stopped,
        Unit,
        NotFinite,
        WidenedUnit,
    }
}
