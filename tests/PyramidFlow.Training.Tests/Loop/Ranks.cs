using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Training.Tests.Loop;

/// <summary>Threads in place of the processes of a group.</summary>
internal static class Ranks
{
    /// <summary>Runs a function as each rank of a new group.</summary>
    /// <param name="count">Number of ranks.</param>
    /// <param name="store">A file for the store, which is not there yet.</param>
    /// <param name="run">What each does.</param>
    public static Task<T[]> RunAsync<T>(int count, string store, Func<ProcessGroup, T> run) =>
        Task.WhenAll(Enumerable.Range(0, count).Select(rank => Task.Factory.StartNew(() =>
        {
            var cancellationToken = TestContext.Current.CancellationToken;
            using var group = ProcessGroup.Join(new Rendezvous(rank, count, rank, "127.0.0.1", 0) { StoreFile = store }, cancellationToken: cancellationToken);
            try
            {
                return run(group);
            }
            catch (Exception e) when (group.Record(e))
            {
                throw;
            }
        }, TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
}
