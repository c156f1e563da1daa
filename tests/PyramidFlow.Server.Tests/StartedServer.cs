namespace PyramidFlow.Server.Tests;

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
