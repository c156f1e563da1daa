using System.Diagnostics;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

/// <summary>The packages of what is built, in a feed outside the repository, and the samples built from it; made once for all tests.</summary>
public sealed class PackedFeed : IAsyncLifetime
{
    private readonly TemporaryFolder folder = new();

    /// <summary>Another one for each run, so that nothing is taken from a folder of packages.</summary>
    public string Version { get; } = $"0.1.0-test.{Environment.ProcessId}";

    /// <summary>Folder of the packages.</summary>
    public string Feed => Path.Combine(folder.Path, "feed");

    public async ValueTask InitializeAsync()
    {
        var root = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(root!.FullName, "eng", "pack.sh")))
            root = root.Parent;
        await RunAsync("bash", root.FullName, Path.Combine(root.FullName, "eng", "pack.sh"), "--no-build", "--version", Version, "--output", Feed);

        var samples = Path.Combine(root.FullName, "samples");
        foreach (var file in Directory.EnumerateFiles(samples, "*", SearchOption.AllDirectories).Where(file => !file.Split('/').Any(part => part is "bin" or "obj")))
            File.Copy(file, folder.File(["samples", .. Path.GetRelativePath(samples, file).Split('/')]));
        // The only feed is the folder: what the packages need besides is on this machine, where the solution was restored.
        folder.Write("samples/nuget.config", $"""
            <configuration>
              <config><add key="globalPackagesFolder" value="{folder.Path}/packages" /></config>
              <packageSources><clear /><add key="packed" value="{Feed}" /></packageSources>
              <fallbackPackageFolders><clear /><add key="machine" value="{Packages}" /></fallbackPackageFolders>
            </configuration>
            """);
        await RunAsync("dotnet", Place("samples"), "build", "-c", "Release", "-v", "quiet", "-nologo", "-nodeReuse:false", "Samples.slnx", $"-p:PyramidFlowVersion={Version}", "-p:UseSharedCompilation=false");
    }

    public ValueTask DisposeAsync()
    {
        folder.Dispose();
        return ValueTask.CompletedTask;
    }

    /// <summary>Path of something outside the repository.</summary>
    public string Place(params string[] parts) => Path.Combine([folder.Path, .. parts]);

    /// <summary>The program of a sample.</summary>
    public string Program(string sample) => Place("samples", sample, "bin", "Release", "net10.0", sample + ".dll");

    /// <summary>Runs a program to its end, which must be a good one, and gives what it wrote.</summary>
    public static async Task<string> RunAsync(string program, string where, params string[] arguments)
    {
        using var process = Process.Start(Begin(program, where, arguments))!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)}\n{await output}\n{await error}");
        return await output;
    }

    /// <summary>How a program is started: without what this process knows of the repository.</summary>
    public static ProcessStartInfo Begin(string program, string where, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { WorkingDirectory = where, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["OMP_WAIT_POLICY"] = "passive";
        start.Environment["DOTNET_CLI_TELEMETRY_OPTOUT"] = "1";
        start.Environment["DOTNET_NOLOGO"] = "1";
        foreach (var name in (string[])["PYRAMIDFLOW_NATIVE", "PYRAMIDFLOW_MODELS", "MSBUILD_EXE_PATH", "MSBuildSDKsPath"])
            start.Environment.Remove(name);
        return start;
    }

    private static string Packages => Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } named ? named
        : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
}
