using System.Threading.Channels;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// Somebody who wants to hear of changes. Of each job only the latest state is kept for a slow reader, so that one who
/// never reads costs no more than the jobs there are.
/// </summary>
/// <param name="owner">Whose jobs.</param>
/// <param name="id">Which job; null is all of the owner's.</param>
internal sealed class JobWatcher(Owner owner, string? id)
{
    private readonly Lock gate = new();
    private readonly Channel<bool> ready = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private Dictionary<string, JobChange> pending = [];

    /// <summary>The one job it asks for; null is all.</summary>
    public string? Id { get; } = id;

    /// <summary>A job changed.</summary>
    public void Tell(Owner whose, JobChange change)
    {
        if (whose != owner || (Id is not null && Id != change.Id))
            return;
        lock (gate)
            pending[change.Id] = change;
        ready.Writer.TryWrite(true);
    }

    /// <summary>Waits for changes and gives them; at least one.</summary>
    public async Task<IReadOnlyList<JobChange>> NextAsync(CancellationToken cancel)
    {
        while (true)
        {
            await ready.Reader.ReadAsync(cancel).ConfigureAwait(false);
            lock (gate)
            {
                // What woke us may have been taken already, together with what came before it.
                if (pending.Count == 0)
                    continue;
                var changes = pending;
                pending = [];
                return [.. changes.Values];
            }
        }
    }
}
