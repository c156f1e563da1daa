using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Generation;

/// <summary>
/// The velocities of one unit at one stage, of which each process of a team computes those of its timesteps. Their owner sends them to
/// the others, so that all processes integrate the stage alike, with any solver. One process alone owns all.
/// </summary>
internal sealed class DividedVelocity : IDisposable
{
    private readonly SamplingTeam team;
    private readonly GuidedVelocity? own;
    private readonly int first;
    private readonly int count;
    private readonly Device device;
    private readonly ElementType type;
    private readonly long[] shape;
    private readonly Dictionary<int, (Tensor Velocity, Transfers Transfers)> coming = [];
    private readonly List<Transfers> sends = [];
    private bool isPrepared;
    private int shared;

    /// <summary>Begins a stage, and the receiving of what other processes compute.</summary>
    /// <param name="team">The processes that share the stage.</param>
    /// <param name="model">The transformer.</param>
    /// <param name="history">Clips [b, c, t, h, w], oldest first; empty for the first unit. They outlive this object.</param>
    /// <param name="unit">Size of the unit.</param>
    /// <param name="text">Text of b rows, and that of 2b if there is guidance.</param>
    /// <param name="timesteps">One for each evaluation, 0..1000.</param>
    /// <param name="guidance">The scale g; null is off.</param>
    /// <param name="approximations">Which evaluations are guided, and how many share a prefix.</param>
    /// <param name="options">How attention is computed, and how much may be computed ahead.</param>
    /// <param name="kept">The history cache of the stage.</param>
    internal DividedVelocity(SamplingTeam team, PyramidTransformer model, IReadOnlyList<Tensor> history, ClipSize unit, GuidedText text,
        IReadOnlyList<double> timesteps, double? guidance, Approximations approximations, SamplerOptions options, StageHistory? kept)
    {
        (this.team, device, type) = (team, model.Device, model.WeightType);

        var together = approximations.Together;
        (first, count) = team.Own(timesteps.Count, together).GetOffsetAndLength(timesteps.Count);
        if (count > 0)
            own = new GuidedVelocity(model, history, unit, text, [.. timesteps.Skip(first).Take(count)], guidance, approximations, options, kept, team);
        shape = [text.Prompt.Mask.Rows, model.Config.LatentChannels, unit.Time, unit.Height * Patches.Size, unit.Width * Patches.Size];
        for (var evaluation = 0; evaluation < timesteps.Count; evaluation++)
        {
            if (team.OwnerOf(evaluation, timesteps.Count, together) is var part && !team.IsOwn(part))
                coming.Add(evaluation, team.Expect(part, shape, model.WeightType));
        }
    }

    /// <summary>Computes ahead what needs the history only. Harmless when repeated.</summary>
    internal void Prepare()
    {
        if (!isPrepared)
            own?.Prepare();
        isPrepared = true;
    }

    /// <summary>The velocity of a sample, shaped like it.</summary>
    /// <param name="noisy">[b, c, t, h, w].</param>
    /// <param name="evaluation">Which timestep; they come in order.</param>
    /// <param name="meanwhile">What to do while another process works, once this one has nothing left to do at the stage.</param>
    internal Tensor At(Tensor noisy, int evaluation, Action? meanwhile = null)
    {
        if (coming.Remove(evaluation, out var other))
        {
            Prepare();
            if (evaluation >= first + count)
                meanwhile?.Invoke();
            try
            {
                other.Transfers.Wait();
                return other.Velocity.To(device).Clone();
            }
            finally
            {
                other.Velocity.Dispose();
            }
        }

        isPrepared = true;
        var velocity = own!.At(noisy, evaluation - first).Contiguous();
        Share(velocity);
        return velocity;
    }

    /// <summary>Waits until the other processes have what this one sent.</summary>
    internal void Complete()
    {
        foreach (var send in sends)
            send.Wait();
        sends.Clear();
    }

    /// <summary>
    /// Sends what the other processes expect though it was not computed, where all of them leave the stage early: every message that was announced moves, so that the next ones
    /// find their places.
    /// </summary>
    internal void SendRest()
    {
        using var scope = new TensorScope();
        while (shared < count && team.Parts > 1)
            Share(Tensor.Zeros(shape, type, device));
    }

    /// <summary>Receives what was announced and is not needed any more.</summary>
    internal void ReceiveRest()
    {
        foreach (var (_, transfers) in coming.OrderBy(each => each.Key).Select(each => each.Value))
            transfers.Wait();
        Complete();
    }

    private void Share(Tensor velocity)
    {
        sends.AddRange(team.Share(velocity));
        shared++;
    }

    /// <inheritdoc/>
    // Transfers under way are not waited for: where a stage ends with an error, the other processes may never come.
    public void Dispose()
    {
        own?.Dispose();
        foreach (var (velocity, _) in coming.Values)
            velocity.Dispose();
    }
}
