using System.Diagnostics;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

public sealed class BootstrapTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("", true)]
    [InlineData("CMAKE_HOME_DIRECTORY:INTERNAL=HERE/native", true)]
    [InlineData("CMAKE_HOME_DIRECTORY:INTERNAL=/where/it/was/native", false)]
    [InlineData("CMAKE_HOME_DIRECTORY:INTERNAL=HERE/native2", false)]
    public void What_CMake_remembers_of_another_place_is_not_used(string cache, bool fits)
    {
        if (cache.Length > 0)
            File.WriteAllText(folder.File("artifacts", "native", "CMakeCache.txt"), $"# cache\n{cache.Replace("HERE", folder.Path, StringComparison.Ordinal)}\n");
        File.WriteAllText(folder.File("artifacts", "native", ".libtorch"), "libtorch: system 0\n");

        using var bash = Process.Start(new ProcessStartInfo("bash", ["-c", "root=$1; source \"$2\"; shim_fits", "-", folder.Path, Script()])
        {
            Environment = { ["LIBTORCH"] = null, ["LIBTORCH_USE_PIP"] = null },
        })!;
        bash.WaitForExit();
        Assert.Equal(fits ? 0 : 1, bash.ExitCode);
    }

    private static string Script()
    {
        var root = new DirectoryInfo(AppContext.BaseDirectory);
        while (root is not null && !File.Exists(Path.Combine(root.FullName, "eng", "bootstrap.sh")))
            root = root.Parent;
        return Path.Combine(root!.FullName, "eng", "bootstrap.sh");
    }
}
