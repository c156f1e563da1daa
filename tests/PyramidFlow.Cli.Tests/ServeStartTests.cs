using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Microsoft.Data.Sqlite;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

/// <summary>What keeps a server or worker from starting is told in one sentence; what passes is waited for.</summary>
public sealed class ServeStartTests(TinyModel model, PostgresCluster cluster) : IClassFixture<TinyModel>, IClassFixture<PostgresCluster>, IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task A_port_in_use_is_named_with_the_option_that_takes_another()
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var port = ((IPEndPoint)taken.LocalEndpoint).Port.ToString(CultureInfo.InvariantCulture);

        var data = folder.File("data");
        using var serve = ServeProcess.Start("serve", "--data", data, "--model", model.Folder, "--port", port);

        await serve.AssertRefusedAsync(ExitCode.Failed, port, "in use", "--port");
        // What it has written until then is its user's alone.
        const UnixFileMode own = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        Assert.Contains("jobs.db", Directory.EnumerateFiles(data).Select(Path.GetFileName));
        foreach (var path in Directory.EnumerateFileSystemEntries(data, "*", SearchOption.AllDirectories).Prepend(data))
            Assert.True(OperatingSystem.IsWindows() || (File.GetUnixFileMode(path) & ~own) == UnixFileMode.None, path);
    }

    [Fact]
    public async Task An_address_of_another_machine_is_named_with_its_option()
    {
        new PyramidFlow.Server.Storage.ApiKeys(folder.Path).Add("me");
        using var serve = ServeProcess.Start("serve", "--data", folder.Path, "--model", model.Folder, "--port", "0", "--host", "192.0.2.1");
        await serve.AssertRefusedAsync(ExitCode.WrongUsage, "192.0.2.1", "--host");
    }

    [Theory]
    [InlineData("serve")]
    [InlineData("worker")]
    public async Task A_data_folder_that_cannot_be_written_is_named_with_its_option(string command)
    {
        folder.Write("file", [1]);
        using var process = ServeProcess.Start(command, "--data", Path.Combine(folder.Path, "file", "data"), "--model", model.Folder);
        await process.AssertRefusedAsync(ExitCode.Failed, Path.Combine(folder.Path, "file", "data"), "--data");
    }

    [Fact]
    public async Task A_queue_that_is_no_database_is_named()
    {
        await File.WriteAllTextAsync(folder.File("jobs.db"), new string('x', 5000), Cancel);
        using var process = ServeProcess.Start("worker", "--data", folder.Path, "--model", model.Folder);
        await process.AssertRefusedAsync(ExitCode.Failed, folder.File("jobs.db"), "not a database", "--data");
    }

    [Fact]
    public async Task A_queue_of_a_newer_version_is_refused()
    {
        using (var database = new SqliteConnection($"Data Source={folder.File("jobs.db")};Pooling=False"))
        {
            await database.OpenAsync(Cancel);
            await using var command = database.CreateCommand();
            command.CommandText = "CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL); INSERT INTO counters VALUES ('schema', 99)";
            await command.ExecuteNonQueryAsync(Cancel);
        }

        using var process = ServeProcess.Start("serve", "--data", folder.Path, "--model", model.Folder, "--port", "0");
        await process.AssertRefusedAsync(ExitCode.Failed, "newer version", "99");
    }

    [Fact]
    public async Task A_name_that_no_key_can_have_is_wrong_usage()
    {
        (await CliRun.OfAsync("keys", "add", "a b", "--data", folder.Path)).AssertRefused("'a b'");
        Assert.Equal(ExitCode.Ok, (await CliRun.OfAsync("keys", "add", "alice", "--data", folder.Path)).Code);
        (await CliRun.OfAsync("keys", "add", "alice", "--data", folder.Path)).AssertRefused("alice");
    }

    [Theory]
    [InlineData("--host", "0.0.0.0")]
    [InlineData("--host", "nowhere")]
    [InlineData("--proxy", "127.0.0.1")]
    public async Task An_address_that_cannot_be_served_is_wrong_usage(string option, string value)
    {
        using var serve = ServeProcess.Start("serve", "--data", folder.Path, "--model", model.Folder, "--port", "0", option, value);
        await serve.AssertRefusedAsync(ExitCode.WrongUsage, option == "--proxy" ? option : value);
    }

    [Fact]
    public async Task Keys_that_cannot_be_read_are_named()
    {
        await File.WriteAllTextAsync(folder.File("keys.json"), "{\"a", Cancel);
        using var process = ServeProcess.Start("serve", "--data", folder.Path, "--model", model.Folder, "--port", "0");
        await process.AssertRefusedAsync(ExitCode.Failed, "keys.json", "damaged");
    }

    [Theory]
    [InlineData("Host=db;Prot=5432", "connection string")]
    [InlineData("nonsense", "connection string")]
    public async Task A_connection_string_that_is_none_is_refused(string database, string words)
    {
        using var process = ServeProcess.Start("worker", "--data", folder.Path, "--model", model.Folder, "--database", database);
        await process.AssertRefusedAsync(ExitCode.Failed, words, "--database");
    }

    [Fact]
    public async Task A_database_that_refuses_who_asks_ends_the_start()
    {
        cluster.SkipUnlessThere();
        using var process = ServeProcess.Start("worker", "--data", folder.Path, "--model", model.Folder, "--database", cluster.Connection.Replace("Username=postgres", "Username=stranger", StringComparison.Ordinal));
        await process.AssertRefusedAsync(ExitCode.Failed, "stranger", "--database");
    }

    [Fact]
    public async Task A_worker_waits_for_a_database_that_is_not_up_yet_and_begins_when_it_is()
    {
        cluster.SkipUnlessThere();
        cluster.Switch(on: false);
        using var worker = ServeProcess.Start("worker", "--data", folder.Path, "--model", model.Folder, "--database", cluster.Connection);
        await worker.SaysAsync("Waiting for the queue's database");
        cluster.Switch(on: true);

        Assert.Contains("waiting for videos", await worker.ReadyAsync(), StringComparison.Ordinal);
        worker.Terminate();
        Assert.Equal(ExitCode.Ok, await worker.ExitedAsync());
        Assert.DoesNotContain("   at ", worker.Said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_server_that_waits_for_its_database_can_be_stopped()
    {
        using var serve = ServeProcess.Start("serve", "--data", folder.Path, "--model", model.Folder, "--port", "0", "--database", $"Host={folder.Path};Username=nobody;Database=none");
        await serve.SaysAsync("Waiting for the queue's database");
        serve.Terminate();
        Assert.Equal(ExitCode.Ok, await serve.ExitedAsync());
        Assert.DoesNotContain("   at ", serve.Said, StringComparison.Ordinal);
    }
}
