using System.Diagnostics;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

/// <summary>The script of the package that compiles the shim; a script stands for CMake, which would take minutes.</summary>
public sealed class CompileShimTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void What_is_missing_is_one_sentence()
    {
        var (code, said) = Compile("/no/such/libtorch");

        Assert.Equal(1, code);
        var sentence = Assert.Single(said.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.Contains("LIBTORCH=/no/such/libtorch", sentence, StringComparison.Ordinal);
        Assert.Contains("PyramidFlowNative=none", sentence, StringComparison.Ordinal);
    }

    [Fact]
    public void Each_libtorch_is_compiled_for_once()
    {
        foreach (var name in (string[])["one", "two"])
            File.WriteAllText(folder.File(name, "include", "ATen", "ATen.h"), "");
        foreach (var tool in (string[])["g++", "make"])
            Program(tool, "exit 1");
        Program("cmake", $"[ \"$1\" = --build ] || exit 0; echo compiled >>'{folder.File("count")}'; touch \"$2/libpyramidflow_torch.so\"");

        var (first, again, other) = (Compile(folder.File("one")), Compile(folder.File("one")), Compile(folder.File("two")));

        Assert.Equal((0, 0), (first.Code, other.Code));
        Assert.True(File.Exists(first.Said.Trim()), first.Said);
        Assert.Equal(first, again);
        Assert.NotEqual(first.Said, other.Said);
        Assert.Equal(2, File.ReadAllLines(folder.File("count")).Length);
    }

    private void Program(string name, string script)
    {
        var file = folder.File("bin", name);
        File.WriteAllText(file, $"#!/bin/sh\n{script}\n");
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    private (int Code, string Said) Compile(string libtorch)
    {
        var root = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(root!.FullName, "native", "compile.sh")))
            root = root.Parent;
        var start = new ProcessStartInfo("sh", [Path.Combine(root.FullName, "native", "compile.sh"), folder.File("kept", "x")]) { RedirectStandardOutput = true };
        start.Environment["LIBTORCH"] = libtorch;
        start.Environment["PATH"] = $"{folder.File("bin", "x")[..^2]}:{start.Environment["PATH"]}";
        using var process = Process.Start(start)!;
        var said = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, said);
    }
}
