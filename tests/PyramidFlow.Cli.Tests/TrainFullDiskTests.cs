using System.Diagnostics;
using PyramidFlow.Cli.Terminal;

namespace PyramidFlow.Cli.Tests;

/// <summary>A disk that fills up while a training writes to it; a real one of memory, which only root may mount.</summary>
public sealed class TrainFullDiskTests(TinySprites sprites, ITestOutputHelper output) : IClassFixture<TinySprites>
{
    private const int Steps = 40, Megabytes = 48;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_state_before_survives_and_the_run_goes_on_from_it_when_there_is_room()
    {
        var disk = sprites.NewFolder("disk");
        if (!OperatingSystem.IsLinux() || await RunAsync("mount", "-t", "tmpfs", "-o", $"size={Megabytes}m", "tmpfs", disk) != 0)
            Assert.Skip("a small disk can be mounted by root on Linux only");
        try
        {
            var config = sprites.Config(workers: 1, Steps);
            var (whole, interrupted) = (sprites.NewRuns("whole"), sprites.NewRuns(Path.Combine("disk", "run")));
            Assert.Equal(ExitCode.Ok, (await TrainAsync(config, whole)).Code);

            var training = TrainAsync(config, interrupted);
            while (!training.IsCompleted && States(interrupted).Length == 0)
                await Task.Delay(5, Cancel);
            var filler = Path.Combine(disk, "filler");
            Fill(filler);
            var full = await training;

            output.WriteLine(full.Error);
            Assert.Equal(ExitCode.Failed, full.Code);
            Assert.Contains("cannot be written (No space left on device", full.Error, StringComparison.Ordinal);
            Assert.Contains("is whole: make room and start the same command again", full.Error, StringComparison.Ordinal);
            Assert.NotEmpty(States(interrupted));
            Assert.DoesNotContain(States(interrupted), state => state.EndsWith($"{Steps:D8}.safetensors", StringComparison.Ordinal));

            File.Delete(filler);
            Assert.Equal(ExitCode.Ok, (await TrainAsync(config, interrupted)).Code);
            foreach (var file in new[] { "diffusion_transformer/diffusion_pytorch_model.safetensors", $"state-{Steps:D8}.safetensors" })
                Assert.Equal(await File.ReadAllBytesAsync(Path.Combine(whole, "dit", file), Cancel), await File.ReadAllBytesAsync(Path.Combine(interrupted, "dit", file), Cancel));
        }
        finally
        {
            Assert.Equal(0, await RunAsync("umount", disk));
        }
    }

    // To the last byte, and again what the run gives free meanwhile.
    private static void Fill(string path)
    {
        using var file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        foreach (var size in new[] { 1 << 20, 1 << 12, 1 << 12 })
        {
            try
            {
                while (true)
                    file.Write(new byte[size]);
            }
            catch (IOException e) when (e.Message.Contains("No space left", StringComparison.Ordinal))
            {
                // Full.
            }
        }
    }

    private static string[] States(string runs) =>
        Directory.Exists(Path.Combine(runs, "dit")) ? Directory.GetFiles(Path.Combine(runs, "dit"), "state-*.safetensors") : [];

    private static async Task<(int Code, string Error)> TrainAsync(string config, string runs)
    {
        using var process = Process.Start(new ProcessStartInfo("dotnet", [typeof(CommandLine).Assembly.Location, "train", "dit", "--config", config, "--out", runs])
        {
            RedirectStandardOutput = true, RedirectStandardError = true,
        })!;
        var error = process.StandardError.ReadToEndAsync(Cancel);
        await process.StandardOutput.ReadToEndAsync(Cancel);
        await process.WaitForExitAsync(Cancel);
        return (process.ExitCode, await error);
    }

    private static async Task<int> RunAsync(string program, params string[] arguments)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
            await process.WaitForExitAsync(CancellationToken.None);
            return process.ExitCode;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return -1;
        }
    }
}
