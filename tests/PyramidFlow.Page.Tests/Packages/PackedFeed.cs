using System.Diagnostics;
using System.Text.RegularExpressions;
using PyramidFlow.Testing;

namespace PyramidFlow.Page.Tests.Packages;

/// <summary>The packages of what is built, in a feed outside the repository, and the samples and the tool from it; made once for all tests.</summary>
public sealed partial class PackedFeed : IAsyncLifetime
{
    private readonly TemporaryFolder folder = new();
    private Process? web;
    private Task<Uri>? address;

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
        // One process for three small programs, and the compiler that has built the tests: to start others would take longer than their work.
        var samplesBuilt = RunAsync("dotnet", Place("samples"), "build", "-c", "Release", "-v", "quiet", "-nologo", "-m:1", "-nodeReuse:false", "Samples.slnx", $"-p:PyramidFlowVersion={Version}", "-p:PyramidFlowNative=shipped");
        var toolInstalled = RunAsync("dotnet", Place("samples"), "tool", "install", "PyramidFlow.Tool", "--version", Version, "--tool-path", Place("tool"), "--configfile", Place("samples", "nuget.config"));
        await Task.WhenAll(samplesBuilt, toolInstalled);
    }

    public async ValueTask DisposeAsync()
    {
        if (web is not null)
        {
            web.Kill();
            await web.WaitForExitAsync(CancellationToken.None);
            web.Dispose();
        }

        folder.Dispose();
    }

    /// <summary>Where the web sample listens; started by the first call.</summary>
    public Task<Uri> WebAsync() => address ??= StartWebAsync();

    private async Task<Uri> StartWebAsync()
    {
        web = Process.Start(Begin("dotnet", Place("samples", "AspNetCore"), Program("AspNetCore"), "--urls", "http://127.0.0.1:0"))!;
        var errors = web.StandardError.ReadToEndAsync(CancellationToken.None);
        Match listening;
        do
            listening = Listening().Match(await web.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) ?? throw new InvalidOperationException(await errors));
        while (!listening.Success);
        _ = web.StandardOutput.ReadToEndAsync(CancellationToken.None);
        return new Uri(listening.Value);
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
        try
        {
            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }

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
        foreach (var name in (string[])["PYRAMIDFLOW_NATIVE", "PYRAMIDFLOW_MODELS", "NUGET_PACKAGES", "LIBTORCH", "LIBTORCH_USE_PIP", "MSBUILD_EXE_PATH", "MSBuildSDKsPath"])
            start.Environment.Remove(name);
        return start;
    }

    [GeneratedRegex(@"http://127\.0\.0\.1:\d+")]
    private static partial Regex Listening();

    private static string Packages => Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } named ? named
        : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
}
