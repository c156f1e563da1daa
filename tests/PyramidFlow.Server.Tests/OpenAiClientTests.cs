using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using PyramidFlow.Server.Storage;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

public sealed class OpenAiClientTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task OpenAIs_own_client_library_can_use_the_service()
    {
        using var folder = new TemporaryFolder();
        folder.Copy(Scripts(), "package.json", "videos.mjs");
        var (installed, said) = await RunAsync(folder.Path, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel", "error");
        Assert.SkipUnless(installed, $"the npm package openai cannot be installed here: {said}");
        var data = folder.File("data", "videos");
        var key = new ApiKeys(data).Add("tester");
        int port;
        using (var free = new TcpListener(IPAddress.Loopback, 0))
        {
            free.Start();
            port = ((IPEndPoint)free.LocalEndpoint).Port;
        }

        await using var server = await TestServer.StartAsync(options => options with { WebhookHosts = [$"127.0.0.1:{port}"], AllowsPrivateWebhooks = true }, data);

        var (passed, output) = await RunAsync(folder.Path, "node", "videos.mjs", server.Client.BaseAddress!.ToString().TrimEnd('/'), key, $"{port}");

        Assert.True(passed, output);
        Assert.Contains("all calls answered", output, StringComparison.Ordinal);
    }

    private static async Task<(bool Done, string Output)> RunAsync(string folder, string program, params string[] arguments)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(program, arguments) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true })!;
            var (output, error) = (process.StandardOutput.ReadToEndAsync(Cancel), process.StandardError.ReadToEndAsync(Cancel));
            await process.WaitForExitAsync(Cancel);
            return (process.ExitCode == 0, await output + await error);
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            return (false, e.Message);
        }
    }

    private static string Scripts([CallerFilePath] string here = "") => Path.Combine(Path.GetDirectoryName(here)!, "OpenAi");
}
