using System.Diagnostics;
using System.Globalization;
using System.Net;
using PyramidFlow.Media;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

public sealed class FullDiskTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task A_video_that_does_not_fit_on_the_disk_fails_with_a_reason_and_the_next_one_is_made()
    {
        var videos = Path.Combine(folder.Path, "videos");
        using var disk = Tmpfs.Mount(videos, kib: 16);
        await using var server = await TestServer.StartAsync(options => options with { RetrySeconds = 0.1 }, folder.Path);

        var video = await server.EndedAsync(await server.SubmitAsync(TestServer.Quick));

        Assert.Equal(("failed", "storage"), (video.GetProperty("status").GetString(), video.GetProperty("error").GetProperty("code").GetString()));
        Assert.Contains("disk may be full", video.GetProperty("error").GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFiles(videos, "*", SearchOption.AllDirectories));

        // Neither is there room for what a video is to begin with.
        using var form = new MultipartFormDataContent { { new StringContent("a circle"), "prompt" }, { new ByteArrayContent(Noise()), "input_reference", "noise.png" } };
        await TestServer.ProblemAsync(await server.Client.PostAsync("/v1/videos", form, Cancel), HttpStatusCode.InsufficientStorage);
        Assert.Empty(Directory.EnumerateFiles(videos, "*", SearchOption.AllDirectories));
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(folder.Path, "incoming")));

        disk.Resize(kib: 64 << 10);
        Assert.Equal("completed", (await server.EndedAsync(await server.SubmitAsync(TestServer.Quick))).GetProperty("status").GetString());
    }

    [Fact]
    public async Task When_the_queue_itself_has_no_room_requests_are_refused_until_there_is()
    {
        var data = Path.Combine(folder.Path, "data");
        using var disk = Tmpfs.Mount(data, kib: 256);
        await using var server = await TestServer.StartAsync(options => options with { RunsWorker = false }, data);
        var accepted = 0;
        HttpResponseMessage answer;
        using var body = new StringContent("{\"prompt\": \"a circle\"}", System.Text.Encoding.UTF8, "application/json");
        while ((answer = await server.Client.PostAsync("/v1/videos", body, Cancel)).StatusCode == HttpStatusCode.OK)
            Assert.InRange(++accepted, 1, 400);

        await TestServer.RefusedAsync(answer, HttpStatusCode.InsufficientStorage, "storage_failed");
        Assert.NotEmpty((await server.GetAsync("/v1/videos")).GetProperty("data").EnumerateArray());

        disk.Resize(kib: 16 << 10);
        await server.SubmitAsync(TestServer.Quick);
    }

    // Nothing that could be made small.
    private static byte[] Noise()
    {
        var pixels = new byte[128 * 128 * 3];
        new Random(7).NextBytes(pixels);
        return PngWriter.Encode(new RgbImage(128, 128, pixels));
    }
}

/// <summary>A real small disk, in memory, where root may mount one.</summary>
internal sealed class Tmpfs : IDisposable
{
    private readonly string folder;

    private Tmpfs(string folder) => this.folder = folder;

    /// <summary>Mounts one over a folder, or ends the test as skipped.</summary>
    public static Tmpfs Mount(string folder, int kib)
    {
        Directory.CreateDirectory(folder);
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can mount a small disk");
        Assert.SkipUnless(Run("mount", "-t", "tmpfs", "-o", Size(kib), "tmpfs", folder), "no disk can be mounted here, though this is root: run it outside of a container");
        return new Tmpfs(folder);
    }

    /// <summary>Makes it larger or smaller.</summary>
    public void Resize(int kib) => Assert.True(Run("mount", "-o", $"remount,{Size(kib)}", folder));

    public void Dispose() => Run("umount", "--lazy", folder);

    private static string Size(int kib) => string.Create(CultureInfo.InvariantCulture, $"size={kib}k");

    private static bool Run(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
        process.StandardError.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0;
    }
}
