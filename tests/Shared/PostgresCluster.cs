using System.Diagnostics;

namespace PyramidFlow.Testing;

/// <summary>A PostgreSQL server of our own for the tests, from Debian's package, reached by a socket in a folder.</summary>
public sealed class PostgresCluster : IDisposable
{
    private const string User = "postgres";
    private static readonly string? Programs = Directory.Exists("/usr/lib/postgresql")
        ? Directory.EnumerateDirectories("/usr/lib/postgresql").Select(version => Path.Combine(version, "bin")).Where(folder => File.Exists(Path.Combine(folder, "initdb"))).Order(StringComparer.Ordinal).LastOrDefault()
        : null;

    private readonly string folder = Directory.CreateTempSubdirectory("pyramidflow-pg-").FullName;

    public PostgresCluster()
    {
        if (Programs is null)
            return;
        // It refuses to run as root; as anybody else it runs as who we are.
        if (Environment.IsPrivilegedProcess)
            Run("chown", User, folder);
        RunAsUser("initdb", "--pgdata", Data, "--auth", "trust", "--username", User, "--no-sync", "--encoding", "UTF8", "--locale", "C");
        RunAsUser("pg_ctl", "--pgdata", Data, "--wait", "--silent", "--log", Path.Combine(folder, "log"), "--options", $"-k {folder} -c listen_addresses='' -c fsync=off", "start");
        IsThere = true;
    }

    /// <summary>Whether PostgreSQL is installed and runs.</summary>
    public bool IsThere { get; }

    /// <summary>How to reach it.</summary>
    public string Connection => $"Host={folder};Username={User};Database=postgres";

    private string Data => Path.Combine(folder, "data");

    /// <summary>Ends the test as skipped when PostgreSQL is not there.</summary>
    public void SkipUnlessThere() => Assert.SkipUnless(IsThere, "PostgreSQL is not installed: apt-get install postgresql");

    /// <summary>Stops the server at once, as if its machine were switched off, or starts it again.</summary>
    public void Switch(bool on) => RunAsUser("pg_ctl", ["--pgdata", Data, "--wait", "--silent", .. on
        ? (string[])["--log", Path.Combine(folder, "log"), "--options", $"-k {folder} -c listen_addresses='' -c fsync=off", "start"]
        : ["--mode", "immediate", "stop"]]);

    public void Dispose()
    {
        if (IsThere && File.Exists(Path.Combine(Data, "postmaster.pid")))
            Switch(on: false);
        Directory.Delete(folder, recursive: true);
    }

    private static void RunAsUser(string program, params string[] arguments)
    {
        var path = Path.Combine(Programs!, program);
        if (Environment.IsPrivilegedProcess)
            Run("runuser", ["-u", User, "--", path, .. arguments]);
        else
            Run(path, arguments);
    }

    private static void Run(string program, params string[] arguments)
    {
        // The server outlives the program that starts it, so its output must not be a pipe of ours.
        using var process = Process.Start(new ProcessStartInfo("sh", ["-c", "exec \"$@\" >/dev/null 2>&1", "sh", program, .. arguments]) { WorkingDirectory = "/" })!;
        process.WaitForExit();
        if (process.ExitCode != 0)
            throw new InvalidOperationException($"{program} {string.Join(' ', arguments)} ended with {process.ExitCode}");
    }
}
