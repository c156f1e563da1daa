using System.Runtime.CompilerServices;
using PyramidFlow.Models;

namespace PyramidFlow.Cli.Tests;

/// <summary>Keeps the tests, and the programs they start, out of the user's cache.</summary>
internal static class OwnCache
{
    [ModuleInitializer]
    internal static void Begin()
    {
        var folder = Directory.CreateTempSubdirectory("pyramidflow-cache-").FullName;
        Environment.SetEnvironmentVariable(CacheFolder.Variable, folder);
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, recursive: true);
    }
}
