using System.Diagnostics;
using System.Globalization;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Cli.Tests;

/// <summary>Real processes that make one video together.</summary>
public sealed class LaunchTests : IDisposable
{
    private const string Prompt = "a small red circle moving right on a black background";

    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData(2, "guidance=2")]
    [InlineData(3, "timesteps=3")]
    [InlineData(2, "heads=2")]
    [InlineData(3, "guidance=2,decode=1")]
    public async Task A_video_of_launched_processes_is_that_of_one(int count, string ways)
    {
        string[] clip = ["generate", Prompt, "--seed", "3", "--frames", "17", "--threads", "1"];
        var (one, several) = (folder.File("one.safetensors"), folder.File("several.safetensors"));
        Assert.Equal(ExitCode.Ok, (await RunAsync([.. clip, "-o", folder.File("one.mp4"), "--save-latents", one])).Code);
        var run = await RunAsync(["launch", "--nproc", $"{count}", "--", .. clip, "--parallel", ways, "-o", folder.File("several.mp4"), "--save-latents", several]);
        Assert.Equal(ExitCode.Ok, run.Code);
        Assert.True(File.Exists(folder.File("several.mp4")));
        Assert.DoesNotContain(run.Errors.Split('\n'), line => line.StartsWith("process 1:", StringComparison.Ordinal) && !line.Contains("waiting", StringComparison.Ordinal));

        using var scope = new TensorScope();
        using var expected = SafetensorsFile.Open(one);
        using var actual = SafetensorsFile.Open(several);
        var key = Assert.Single(expected.Keys);
        var latents = expected.Read(key);
        GoldenTensors.AssertClose(latents, actual.Read(key), 1e-5 * latents.Abs().Max().Item(), 0, ways);
    }

    [Fact]
    public async Task A_batch_is_made_together_and_goes_on_where_it_ended()
    {
        var (batch, output) = (folder.File("batch.txt"), folder.File("out"));
        File.WriteAllLines(batch, [Prompt, "a small blue square moving left on a white background"]);
        string[] run = ["launch", "--nproc", "2", "--", "generate", "--batch", batch, "--frames", "9", "--seed", "3", "--threads", "1", "-o", output];
        var first = await RunAsync(run);
        Assert.True(first.Code == ExitCode.Ok, first.Errors);
        var files = Directory.GetFiles(output).Order().ToArray();
        Assert.Equal(2, files.Length);
        File.Delete(files[1]);
        var kept = File.GetLastWriteTimeUtc(files[0]);
        var second = await RunAsync(run);
        Assert.True(second.Code == ExitCode.Ok, second.Errors);
        Assert.Equal(files, Directory.GetFiles(output).Order());
        Assert.Equal(kept, File.GetLastWriteTimeUtc(files[0]));
    }

    [Fact]
    public async Task What_differs_is_told_by_all_and_nothing_is_written()
    {
        var run = await RunAsync(["launch", "--nproc", "2", "--", "generate", Prompt, "--frames", "9", "--parallel", "timesteps=3", "-o", folder.File("none.mp4")]);
        Assert.NotEqual(ExitCode.Ok, run.Code);
        Assert.Contains("process 1: error: --parallel", run.Errors, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task A_signal_to_one_process_stops_all_at_the_same_step(int rank)
    {
        var file = folder.File("long.mp4");
        using var launcher = Start("launch", "--nproc", "2", "--", "generate", Prompt, "--seconds", "60", "--threads", "1", "--stream", "-o", file);
        var errors = launcher.StandardError.ReadToEndAsync(Cancel);
        launcher.BeginOutputReadLine();
        while (!File.Exists(file) || new FileInfo(file).Length == 0)
        {
            Assert.False(launcher.HasExited);
            await Task.Delay(50, Cancel);
        }

        var children = ChildProcess.Of(launcher.Id).OrderBy(child => long.Parse(child.Started, CultureInfo.InvariantCulture)).ThenBy(child => child.Id).ToList();
        using (var kill = Process.Start("kill", ["-TERM", children[rank].Id.ToString(CultureInfo.InvariantCulture)]))
            await kill.WaitForExitAsync(Cancel);
        await launcher.WaitForExitAsync(Cancel);
        Assert.Equal(ExitCode.Cancelled, launcher.ExitCode);
        Assert.DoesNotContain("error", await errors, StringComparison.Ordinal);
        Assert.All(children, child => Assert.False(child.Lives));
    }

    [Fact]
    public async Task A_killed_launcher_leaves_no_process()
    {
        using var launcher = Start("launch", "--nproc", "2", "--", "generate", Prompt, "--seconds", "60", "-o", folder.File("long.mp4"));
        launcher.BeginErrorReadLine();
        launcher.BeginOutputReadLine();
        while (ChildProcess.Of(launcher.Id).Count < 2)
            await Task.Delay(50, Cancel);
        var children = ChildProcess.Of(launcher.Id);
        launcher.Kill();
        while (children.Any(child => child.Lives))
            await Task.Delay(50, Cancel);
        Assert.False(File.Exists(folder.File("long.mp4")));
    }

    private static async Task<(int Code, string Errors)> RunAsync(string[] arguments)
    {
        using var process = Start(arguments);
        var errors = process.StandardError.ReadToEndAsync(Cancel);
        await process.StandardOutput.ReadToEndAsync(Cancel);
        await process.WaitForExitAsync(Cancel);
        return (process.ExitCode, await errors);
    }

    private static Process Start(params string[] arguments) => Process.Start(
        new ProcessStartInfo("dotnet", [typeof(CommandLine).Assembly.Location, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
}
