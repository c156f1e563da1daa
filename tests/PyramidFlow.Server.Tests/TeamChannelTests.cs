using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Worker;
using PyramidFlow.Testing;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Server.Tests;

/// <summary>What rank zero tells the other processes. Each process is a thread here; what they say goes through Gloo all the same.</summary>
public sealed class TeamChannelTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task All_processes_get_the_video_that_rank_zero_begins()
    {
        var request = new VideoRequest
        {
            Model = "sprites",
            Prompt = "eine rote Kugel \u2192",
            Schedule = [new PromptChange(2, "a ball")],
            Width = 64,
            Height = 48,
            Frames = 17,
            Steps = [3, 2],
            Guidance = 4,
            Solver = Scheduling.FlowSolvers.Get("heun"),
            Seed = ulong.MaxValue,
        };
        var pixels = Enumerable.Range(0, 100_000).Select(i => (byte)(i * 7)).ToArray();
        var sent = new TeamJob("sprites", request, ConditioningInput.Video(9)) { Pixels = pixels };
        var heard = await TogetherAsync<(TeamCall, TeamJob?)[]>(3, (channel, rank) =>
        {
            if (rank > 0)
                return [channel.Receive(), channel.Receive(), channel.Receive()];
            channel.Send(TeamCall.Wait);
            channel.Send(TeamCall.Make, sent);
            channel.Send(TeamCall.End);
            return [];
        });
        foreach (var calls in heard[1..])
        {
            Assert.Equal([TeamCall.Wait, TeamCall.Make, TeamCall.End], calls.Select(call => call.Item1));
            var job = calls[1].Item2!;
            Assert.Equal(pixels, job.Pixels!.Value.ToArray());
            Assert.Equal(sent.Conditioning, job.Conditioning);
            Assert.Equal((request.Prompt, request.Frames, request.Seed, request.Solver), (job.Request.Prompt, job.Request.Frames, job.Request.Seed, job.Request.Solver));
            Assert.Equal(request.Schedule, job.Request.Schedule);
            Assert.Equal(request.Steps, job.Request.Steps);
        }
    }

    [Fact]
    public async Task A_process_that_is_not_ready_ends_the_video_of_all_and_nothing_else()
    {
        var faults = await TogetherAsync(3, (channel, rank) =>
        {
            var fault = Record.Exception(() => channel.AgreeOnStart(rank == 2 ? new InvalidDataException("the model is away") : null));
            channel.AgreeOnStart(null);
            return fault!;
        });
        Assert.IsType<InvalidDataException>(faults[2]);
        Assert.All(faults[..2], fault => FaultAssert.Is(Assert.IsType<ServiceException>(fault), "process_not_ready", ("rank", 2), ("reason", "the model is away")));
    }

    private async Task<T[]> TogetherAsync<T>(int size, Func<TeamChannel, int, T> action)
    {
        var file = Path.Combine(folder.Path, Guid.NewGuid().ToString("N"));
        return await Task.WhenAll(Enumerable.Range(0, size).Select(rank => Task.Factory.StartNew(() =>
        {
            using var group = ProcessGroup.Join(new Rendezvous(rank, size, rank, "127.0.0.1", 0) { StoreFile = file }, new GroupOptions { Limit = TimeSpan.FromMinutes(2) }, Cancel);
            return action(new TeamChannel(group), rank);
        }, Cancel, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
    }
}
