using System.Diagnostics;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

public class SignalTests(TinyModel model) : IClassFixture<TinyModel>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("INT")]
    [InlineData("TERM")]
    public async Task A_signal_in_the_middle_of_a_video_ends_with_130_and_leaves_nothing(string signal)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "signals are sent with kill");
        using var folder = new TemporaryFolder();
        using var process = Start("generate", "a red ball", "--model", model.Folder, "-o", folder.File("x.mp4"),
            "--frames", "121", "--steps", "1000,1000,1000", "--video-steps", "1000,1000,1000");
        string? line;
        do
            line = await process.StandardError.ReadLineAsync(Cancel);
        while (line is not null && !line.Contains("denoising", StringComparison.Ordinal));
        Assert.NotNull(line);

        using var kill = Process.Start("kill", ["-" + signal, process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)]);
        await process.WaitForExitAsync(Cancel);

        Assert.Equal(ExitCode.Cancelled, process.ExitCode);
        Assert.Equal("", await process.StandardOutput.ReadToEndAsync(Cancel));
        Assert.Contains("cancelled", await process.StandardError.ReadToEndAsync(Cancel), StringComparison.Ordinal);
        Assert.Empty(folder.Names);
    }

    [Fact]
    public async Task A_signal_in_a_batch_leaves_finished_files_and_no_partial_one()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "signals are sent with kill");
        using var folder = new TemporaryFolder();
        await File.WriteAllTextAsync(folder.File("prompts.jsonl"), """
            {"prompt": "a ball", "frames": 1, "name": "done"}
            {"prompt": "a ball", "frames": 121, "steps": "1000,1000,1000", "video_steps": "1000,1000,1000", "name": "long"}
            {"prompt": "a ball", "frames": 1, "name": "never"}
            """, Cancel);
        using var process = Start("generate", "--batch", folder.File("prompts.jsonl"), "-o", folder.File("out"), "--model", model.Folder);
        string? line;
        do
            line = await process.StandardError.ReadLineAsync(Cancel);
        while (line is not null && !line.Contains("clip 2/3, denoising", StringComparison.Ordinal));
        Assert.NotNull(line);

        using var kill = Process.Start("kill", ["-INT", process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)]);
        await process.WaitForExitAsync(Cancel);

        Assert.Equal(ExitCode.Cancelled, process.ExitCode);
        Assert.Equal(["done.png"], Directory.EnumerateFileSystemEntries(folder.File("out")).Select(Path.GetFileName));
        Assert.Contains("1 made of 3", await process.StandardError.ReadToEndAsync(Cancel), StringComparison.Ordinal);
        Assert.Equal(folder.File("out/done.png"), (await process.StandardOutput.ReadToEndAsync(Cancel)).Trim());
    }

    [Fact]
    public async Task Help_comes_without_libtorch()
    {
        using var process = Start("--help");
        var text = await process.StandardOutput.ReadToEndAsync(Cancel);
        await process.WaitForExitAsync(Cancel);

        Assert.Equal(ExitCode.Ok, process.ExitCode);
        Assert.Contains("generate", text, StringComparison.Ordinal);
    }

    private static Process Start(params string[] arguments)
    {
        // A shell ignores SIGINT for what it starts in the background, and a program that inherits that keeps ignoring it.
        var start = new ProcessStartInfo("env", ["--default-signal", "dotnet", typeof(CommandLine).Assembly.Location, .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        if (arguments is ["--help"])
            start.Environment["PYRAMIDFLOW_NATIVE"] = "/nowhere";
        return Process.Start(start)!;
    }
}
