using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Cli.Tests;

public class TrainProcessTests(TinySprites sprites, ITestOutputHelper output) : IClassFixture<TinySprites>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static int Steps => 4 * Kills;

    // PYRAMIDFLOW_KILLS sets another number of kills.
    private static int Kills => int.Parse(Environment.GetEnvironmentVariable("PYRAMIDFLOW_KILLS") ?? "3", CultureInfo.InvariantCulture);

    [Fact]
    public async Task A_run_that_is_killed_at_any_moment_and_resumed_ends_in_the_same_weights()
    {
        var config = sprites.Config(workers: 2, Steps);
        var (whole, killed) = (sprites.NewRuns("whole"), sprites.NewRuns("killed"));
        Assert.Equal(ExitCode.Ok, await RunAsync("train", "dit", "--config", config, "--out", whole));

        // The first kill is within the steps, the others there or while the program starts.
        var random = new Random(5);
        var states = new List<int>();
        for (var kill = 0; kill < Kills; kill++)
        {
            using var process = Start("train", "dit", "--config", config, "--out", killed);
            process.BeginErrorReadLine();
            process.BeginOutputReadLine();
            var more = kill == 0 ? 1 + random.Next(3) : random.Next(4);
            var goal = NewestState(killed) + more;
            while (!process.HasExited && NewestState(killed) < goal)
                await Task.Delay(1, Cancel);
            await Task.WhenAny(process.WaitForExitAsync(Cancel), Task.Delay(TimeSpan.FromMilliseconds(random.Next(more == 0 ? 2000 : 100)), Cancel));
            var ended = process.HasExited;
            process.Kill();
            await process.WaitForExitAsync(Cancel);
            states.Add(NewestState(killed));
            output.WriteLine($"kill {kill + 1}: {(ended ? "after the end" : "while running")}, newest state {states[^1]} of {Steps}");
        }

        Assert.Contains(states, state => state > 0 && state < Steps);

        Assert.Equal(ExitCode.Ok, await RunAsync("train", "dit", "--config", config, "--out", killed));
        foreach (var file in new[] { "diffusion_transformer/diffusion_pytorch_model.safetensors", $"state-{Steps:D8}.safetensors" })
            Assert.Equal(await File.ReadAllBytesAsync(Path.Combine(whole, "dit", file), Cancel), await File.ReadAllBytesAsync(Path.Combine(killed, "dit", file), Cancel));
        Assert.Equal(Enumerable.Range(1, Steps), Logged(killed));
    }

    [Fact]
    public async Task Launched_processes_end_where_one_with_the_whole_batch_does()
    {
        var (one, two) = (sprites.NewRuns("one"), sprites.NewRuns("two"));
        Assert.Equal(ExitCode.Ok, await RunAsync("train", "dit", "--config", sprites.Config(workers: 2, 4), "--out", one));
        Assert.Equal(ExitCode.Ok, await RunAsync("launch", "--nproc", "2", "--", "train", "dit", "--config", sprites.Config(workers: 1, 4), "--out", two));

        AssertAlike(one, two);
        Assert.Equal(Enumerable.Range(1, 4), Logged(two));
    }

    [Fact]
    public async Task Launched_processes_end_in_the_same_bits_with_every_shard()
    {
        var runs = new Dictionary<string, string>();
        foreach (var shard in new[] { "none", "optimizer", "gradients" })
        {
            runs[shard] = sprites.NewRuns($"shard-{shard}");
            Assert.Equal(ExitCode.Ok, await RunAsync("launch", "--nproc", "2", "--", "train", "dit", "--config", sprites.SharedConfig(workers: 2, 4, shard), "--out", runs[shard]));
        }

        foreach (var file in new[] { "diffusion_transformer/diffusion_pytorch_model.safetensors", "state-00000004.safetensors" })
        {
            var expected = await File.ReadAllBytesAsync(Path.Combine(runs["none"], "dit", file), Cancel);
            Assert.Equal(expected, await File.ReadAllBytesAsync(Path.Combine(runs["optimizer"], "dit", file), Cancel));
            Assert.Equal(expected, await File.ReadAllBytesAsync(Path.Combine(runs["gradients"], "dit", file), Cancel));
        }

        var one = sprites.NewRuns("shard-one");
        Assert.Equal(ExitCode.Ok, await RunAsync("train", "dit", "--config", sprites.SharedConfig(workers: 4, 4, "optimizer"), "--out", one));
        AssertAlike(one, runs["gradients"]);
    }

    [Fact]
    public async Task A_launch_whose_processes_are_killed_ends_and_goes_on_with_another_number_of_them()
    {
        var (whole, killed) = (sprites.NewRuns("launched-whole"), sprites.NewRuns("launched-killed"));
        Assert.Equal(ExitCode.Ok, await RunAsync("launch", "--nproc", "4", "--", "train", "dit", "--config", sprites.SharedConfig(1, Steps, "gradients"), "--out", whole));

        var random = new Random(7);
        var failed = 0;
        for (var kill = 0; kill < Kills; kill++)
        {
            // 4, 2, 4, ...: four threads in all, so that the batches are the same.
            var count = kill % 2 == 0 ? 4 : 2;
            using var launch = StartLaunch(count, killed, Steps, out var said);
            var more = kill == 0 ? 1 : random.Next(3);
            var children = await ChildrenAsync(launch, count, killed, NewestState(killed) + more);
            await Task.WhenAny(launch.WaitForExitAsync(Cancel), Task.Delay(random.Next(more == 0 ? 1500 : 100), Cancel));
            var victim = children[random.Next(children.Count)];
            victim.Kill();
            await GoneAsync(launch, children, $"kill {kill + 1}, of {count} processes");
            await launch.WaitForExitAsync(Cancel);
            output.WriteLine($"exit code {launch.ExitCode}, newest state {NewestState(killed)} of {Steps}: {string.Join(" | ", said.Where(IsError))}");

            // The others end by themselves and say why, within the steps at least; a process that still starts may be ended before it speaks.
            Assert.True(kill > 0 || said.Any(IsError));
            failed += launch.ExitCode == ExitCode.Ok ? 0 : 1;
            Assert.True(launch.ExitCode != ExitCode.Ok || NewestState(killed) == Steps);
        }

        Assert.NotEqual(0, failed);
        Assert.Equal(ExitCode.Ok, await RunAsync("launch", "--nproc", "2", "--", "train", "dit", "--config", sprites.SharedConfig(2, Steps, "optimizer"), "--out", killed));
        Assert.Equal(Steps, NewestState(killed));
        Assert.Equal(Enumerable.Range(1, Steps), Logged(killed));
        AssertAlike(whole, killed);
    }

    [Fact]
    public async Task A_launch_that_is_killed_leaves_no_process_behind()
    {
        const int steps = 100_000;
        var runs = sprites.NewRuns("launch-killed");
        using var launch = StartLaunch(2, runs, steps, out _);
        var children = await ChildrenAsync(launch, 2, runs, 2);
        launch.Kill();
        await GoneAsync(launch, children, "the launch is killed");

        var state = NewestState(runs);
        Assert.Equal(ExitCode.Ok, await RunAsync("launch", "--nproc", "4", "--", "train", "dit", "--config", sprites.SharedConfig(1, state + 1, "gradients"), "--out", runs));
        Assert.Equal(state + 1, NewestState(runs));
    }

    [Fact]
    public async Task A_launched_process_that_fails_ends_the_launch()
    {
        var runs = sprites.NewRuns("failing");
        Assert.Equal(ExitCode.Failed, await RunAsync("launch", "--nproc", "3", "--", "train", "dit", "--config", sprites.Config(workers: 1, 4), "--out", runs));
    }

    // The same weights but for the order of additions.
    private void AssertAlike(string one, string two)
    {
        using var scope = new TensorScope();
        using var expected = SafetensorsFile.Open(Path.Combine(one, "dit", "diffusion_transformer/diffusion_pytorch_model.safetensors"));
        using var actual = SafetensorsFile.Open(Path.Combine(two, "dit", "diffusion_transformer/diffusion_pytorch_model.safetensors"));
        var (difference, norm) = (0.0, 0.0);
        foreach (var key in expected.Keys)
        {
            difference += Math.Pow((expected.Read(key) - actual.Read(key)).Norm().Item(), 2);
            norm += Math.Pow(expected.Read(key).Norm().Item(), 2);
        }

        output.WriteLine(FormattableString.Invariant($"relative difference of the weights {Math.Sqrt(difference / norm):G3}"));
        Assert.InRange(Math.Sqrt(difference / norm), 0, 1e-5);
    }

    private static bool IsError(string line) => line.Contains("error", StringComparison.Ordinal);

    private Process StartLaunch(int count, string runs, int steps, out ConcurrentQueue<string> said)
    {
        var lines = said = [];
        var process = Start("launch", "--nproc", count.ToString(CultureInfo.InvariantCulture), "--", "train", "dit", "--config", sprites.SharedConfig(4 / count, steps, "gradients"), "--out", runs);
        process.ErrorDataReceived += (_, line) => lines.Enqueue(line.Data ?? "");
        process.BeginErrorReadLine();
        process.BeginOutputReadLine();
        return process;
    }

    // Waits until a launch and its processes have ended: they have 20 s to save and are then ended by force. The limit is far beyond, for a busy machine.
    private async Task GoneAsync(Process launch, IReadOnlyList<ChildProcess> children, string after)
    {
        var begin = Stopwatch.GetTimestamp();
        while ((!launch.HasExited || children.Any(child => child.Lives)) && Stopwatch.GetElapsedTime(begin) < TimeSpan.FromMinutes(2))
            await Task.Delay(20, Cancel);
        output.WriteLine(FormattableString.Invariant($"{after}: no process is left after {Stopwatch.GetElapsedTime(begin).TotalSeconds:F1} s"));
        Assert.True(launch.HasExited);
        Assert.DoesNotContain(children, child => child.Lives);
    }

    // The processes of a launch, once all are there and a state is written.
    private static async Task<IReadOnlyList<ChildProcess>> ChildrenAsync(Process launch, int count, string runs, int state)
    {
        IReadOnlyList<ChildProcess> children = [];
        while (!launch.HasExited && (children.Count < count || NewestState(runs) < state))
        {
            await Task.Delay(5, Cancel);
            if (children.Count < count)
                children = ChildProcess.Of(launch.Id);
        }

        return children;
    }

    private static int NewestState(string runs) => Directory.Exists(Path.Combine(runs, "dit"))
        ? Directory.GetFiles(Path.Combine(runs, "dit"), "state-*.safetensors")
            .Select(path => int.Parse(Path.GetFileNameWithoutExtension(path)["state-".Length..], CultureInfo.InvariantCulture)).DefaultIfEmpty(0).Max()
        : 0;

    private static IEnumerable<int> Logged(string runs) => File.ReadLines(Path.Combine(runs, "dit", "metrics.jsonl"))
        .Select(line => System.Text.Json.JsonElement.Parse(line).GetProperty("step").GetInt32());

    private async Task<int> RunAsync(params string[] arguments)
    {
        using var process = Start(arguments);
        var errors = process.StandardError.ReadToEndAsync(Cancel);
        await process.StandardOutput.ReadToEndAsync(Cancel);
        await process.WaitForExitAsync(Cancel);
        output.WriteLine(string.Join('\n', (await errors).Split('\n').Where(line => line.Contains("error", StringComparison.Ordinal))));
        return process.ExitCode;
    }

    private static Process Start(params string[] arguments) => Process.Start(
        new ProcessStartInfo("dotnet", [typeof(CommandLine).Assembly.Location, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
}
