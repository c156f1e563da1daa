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
        foreach (var file in new[] { "dit.safetensors", $"state-{Steps:D8}.safetensors" })
            Assert.Equal(await File.ReadAllBytesAsync(Path.Combine(whole, "dit", file), Cancel), await File.ReadAllBytesAsync(Path.Combine(killed, "dit", file), Cancel));
        Assert.Equal(Enumerable.Range(1, Steps), Logged(killed));
    }

    [Fact]
    public async Task Launched_processes_end_where_one_with_the_whole_batch_does()
    {
        var (one, two) = (sprites.NewRuns("one"), sprites.NewRuns("two"));
        Assert.Equal(ExitCode.Ok, await RunAsync("train", "dit", "--config", sprites.Config(workers: 2, 4), "--out", one));
        Assert.Equal(ExitCode.Ok, await RunAsync("launch", "--nproc", "2", "--", "train", "dit", "--config", sprites.Config(workers: 1, 4), "--out", two));

        using var scope = new TensorScope();
        using var expected = SafetensorsFile.Open(Path.Combine(one, "dit", "dit.safetensors"));
        using var actual = SafetensorsFile.Open(Path.Combine(two, "dit", "dit.safetensors"));
        var (difference, norm) = (0.0, 0.0);
        foreach (var key in expected.Keys)
        {
            difference += Math.Pow((expected.Read(key) - actual.Read(key)).Norm().Item(), 2);
            norm += Math.Pow(expected.Read(key).Norm().Item(), 2);
        }

        output.WriteLine(FormattableString.Invariant($"relative difference of the weights {Math.Sqrt(difference / norm):G3}"));
        Assert.InRange(Math.Sqrt(difference / norm), 0, 1e-5);
        Assert.Equal(Enumerable.Range(1, 4), Logged(two));
    }

    [Fact]
    public async Task A_launched_process_that_fails_ends_the_launch()
    {
        var runs = sprites.NewRuns("failing");
        Assert.Equal(ExitCode.Failed, await RunAsync("launch", "--nproc", "3", "--", "train", "dit", "--config", sprites.Config(workers: 1, 4), "--out", runs));
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
