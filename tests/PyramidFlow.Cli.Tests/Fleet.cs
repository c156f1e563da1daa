using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace PyramidFlow.Cli.Tests;

/// <summary>A server and workers as processes of their own, to be killed at any moment and started again.</summary>
/// <param name="model">Folder of the model.</param>
/// <param name="data">Folder of the videos.</param>
/// <param name="database">Connection string of the queue.</param>
internal sealed class Fleet(string model, string data, string database) : IDisposable
{
    private readonly Dictionary<string, Process> processes = [];

    /// <summary>Where the server listens, also after a restart.</summary>
    public int Port { get; } = FreePort();

    /// <summary>Starts the server.</summary>
    public void StartServer() => Start("server", "serve", "--no-worker", "--port", Port.ToString(CultureInfo.InvariantCulture));

    /// <summary>Starts worker number i.</summary>
    public void StartWorker(int i) => Start(FormattableString.Invariant($"worker {i}"), "worker");

    /// <summary>Kills a process as an unplugged machine would, and starts it anew.</summary>
    public void Restart(int i)
    {
        var name = i < 0 ? "server" : FormattableString.Invariant($"worker {i}");
        Kill(processes[name]);
        if (i < 0)
            StartServer();
        else
            StartWorker(i);
    }

    /// <summary>Kills all.</summary>
    public void Dispose()
    {
        foreach (var process in processes.Values)
            Kill(process);
    }

    private static void Kill(Process process)
    {
        process.Kill();
        process.WaitForExit();
        process.Dispose();
    }

    private void Start(string name, string command, params string[] arguments)
    {
        // Nobody reads what they say, and a full pipe would stop them.
        var start = new ProcessStartInfo("sh", ["-c", "exec \"$@\" >/dev/null 2>&1", "sh", "dotnet", typeof(CommandLine).Assembly.Location, command, .. arguments,
            "--model", model, "--data", data, "--database", database, "--lease", "4", "--threads", "1"]);
        start.Environment["PYRAMIDFLOW_MODELS"] = "";
        processes[name] = Process.Start(start)!;
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
