using System.Net;
using System.Net.Http.Json;
using System.Runtime.CompilerServices;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Logging;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Server.Domain;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Server.Tests;

/// <summary>A real server on a free port with the sprites model, and a client of it.</summary>
internal sealed class TestServer : IAsyncDisposable
{
    /// <summary>A request that takes about a second.</summary>
    public static readonly object Quick = new { prompt = "a small red circle moving right on a black background", num_frames = 9, num_inference_steps = 1, seed = 7 };

    /// <summary>A request that takes long enough to be stopped.</summary>
    public static readonly object Slow = new { prompt = "a small red circle moving right on a black background", num_frames = 49, num_inference_steps = 100, seed = 7 };

    /// <summary>How long a test waits for what is to come; nothing is measured by it.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);
    private readonly WebApplication app;
    private readonly TemporaryFolder? folder;

    private TestServer(WebApplication app, TemporaryFolder? folder, string data)
    {
        (this.app, this.folder, Data) = (app, folder, data);
        Client = new HttpClient { BaseAddress = new Uri(app.Urls.First()), Timeout = Patience };
    }

    public HttpClient Client { get; }

    /// <summary>Its data folder.</summary>
    public string Data { get; }

    public IServiceProvider Services => app.Services;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>Starts a server.</summary>
    /// <param name="change">Changes how it runs.</param>
    /// <param name="data">A folder that stays the caller's; a fresh one unless given.</param>
    public static async Task<TestServer> StartAsync(Func<ServerOptions, ServerOptions>? change = null, string? data = null)
    {
        var folder = data is null ? new TemporaryFolder() : null;
        var options = new ServerOptions
        {
            DataFolder = data ?? folder!.Path,
            Models = () => [new ModelFolder("sprites", Sprites.Folder)],
            Port = 0,
        };
        var app = VideoServer.Build(change?.Invoke(options) ?? options, logging => logging.SetMinimumLevel(LogLevel.Warning).AddConsole());
        await app.StartAsync(Cancel);
        return new TestServer(app, folder, options.DataFolder);
    }

    public async Task<JsonElement> GetAsync(string path) => await JsonAsync(await Client.GetAsync(path, Cancel), HttpStatusCode.OK);

    public async Task<JsonElement> PostAsync(object body, string path = "/v1/videos") => await JsonAsync(await Client.PostAsJsonAsync(path, body, Cancel), HttpStatusCode.OK);

    /// <summary>Asks for a video and gives its id.</summary>
    public async Task<string> SubmitAsync(object body) => (await PostAsync(body)).GetProperty("id").GetString()!;

    /// <summary>Waits until a video has ended.</summary>
    public Task<JsonElement> EndedAsync(string id) => UntilAsync(id, video => video.GetProperty("status").GetString() is "completed" or "failed");

    /// <summary>Waits until something holds for a video.</summary>
    public async Task<JsonElement> UntilAsync(string id, Func<JsonElement, bool> holds)
    {
        using var most = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        most.CancelAfter(Patience);
        while (true)
        {
            var video = await GetAsync($"/v1/videos/{id}");
            if (holds(video))
                return video;
            await Task.Delay(50, most.Token);
        }
    }

    /// <summary>Waits until something holds.</summary>
    public static async Task UntilAsync(Func<Task<bool>> holds)
    {
        using var most = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        most.CancelAfter(Patience);
        while (!await holds())
            await Task.Delay(20, most.Token);
    }

    /// <summary>The problem that a request is refused with.</summary>
    public static async Task<JsonElement> ProblemAsync(HttpResponseMessage response, HttpStatusCode status)
    {
        var problem = await JsonAsync(response, status);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal((int)status, problem.GetProperty("status").GetInt32());
        Assert.Equal(problem.GetProperty("detail").GetString(), problem.GetProperty("error").GetProperty("message").GetString());
        Assert.Matches("^[a-z][a-z0-9_]*$", problem.GetProperty("error").GetProperty("reason").GetString());
        return problem;
    }

    /// <summary>The problem that a request is refused with, compared by status, code of the cause and parameters, which its sentence must name.</summary>
    /// <param name="response">The response.</param>
    /// <param name="status">Its status.</param>
    /// <param name="reason">Code of the cause.</param>
    /// <param name="parameters">Values of parameters, or parts of them: <c>name=value|name~part</c>.</param>
    public static async Task<JsonElement> RefusedAsync(HttpResponseMessage response, HttpStatusCode status, string reason, string parameters = "")
    {
        var problem = await ProblemAsync(response, status);
        var (error, detail) = (problem.GetProperty("error"), problem.GetProperty("detail").GetString());
        Assert.Equal((reason, detail), (error.GetProperty("reason").GetString(), detail));
        foreach (var parameter in parameters.Split('|', StringSplitOptions.RemoveEmptyEntries))
        {
            var sign = parameter.IndexOfAny(['=', '~']);
            var value = error.GetProperty("parameters").GetProperty(parameter[..sign]).ToString();
            if (parameter[sign] == '=')
                Assert.Equal(parameter[(sign + 1)..], value);
            else
                Assert.Contains(parameter[(sign + 1)..], value, StringComparison.Ordinal);
            Assert.Contains(value, detail, StringComparison.Ordinal);
        }

        return problem;
    }

    public static async Task<JsonElement> JsonAsync(HttpResponseMessage response, HttpStatusCode status)
    {
        var text = await response.Content.ReadAsStringAsync(Cancel);
        Assert.True(response.StatusCode == status, $"{(int)response.StatusCode}: {text}");
        return JsonDocument.Parse(text).RootElement;
    }

    /// <summary>Stops it as a signal does.</summary>
    public Task StopAsync() => app.StopAsync(CancellationToken.None);

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await app.StopAsync(CancellationToken.None);
        await app.DisposeAsync();
        folder?.Dispose();
    }
}

/// <summary>Tests of a server that is started anew for each of them.</summary>
/// <param name="change">Changes how it runs.</param>
public abstract class StartedServer(Func<ServerOptions, ServerOptions>? change = null) : IAsyncLifetime
{
    private TestServer? server;

    protected static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private protected TestServer Server => server!;

    public async ValueTask InitializeAsync() => server = await TestServer.StartAsync(change);

    public virtual async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        if (server is not null)
            await server.DisposeAsync();
    }
}

/// <summary>The model of the repository.</summary>
internal static class Sprites
{
    public static string Folder { get; } = InRepository("models", "sprites");

    private static string InRepository(string folder, string name, [CallerFilePath] string here = "") =>
        Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "..", "..", folder, name));
}

/// <summary>LoRAs that were never trained.</summary>
internal static class MadeUpLora
{
    /// <summary>Writes one for the sprites model; another for each seed.</summary>
    public static string Write(string path, ulong seed)
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(seed);
        var config = new LoraConfig { Rank = 2 };
        using var transformer = TransformerConfigs.Load(Path.Combine(Sprites.Folder, "diffusion_transformer", "config.json")).Build();
        transformer.Initialize(generator);
        LoraAdapters.Attach(transformer, config, generator);
        using var parameters = new FlatParameters(("", transformer));
        parameters.Values.NormalInPlace(0, 0.2, generator);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        LoraFile.Write(path, parameters.Named(parameters.Values), config);
        return path;
    }
}
