using System.Diagnostics;
using System.Globalization;

namespace PyramidFlow.Server.Tests;

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
