using System.Security.Cryptography;
using PyramidFlow.Hub.Downloads;
using PyramidFlow.Testing;

namespace PyramidFlow.Tests.Hub.Downloads;

/// <summary>A repository of small files in the released layout, and a client on a clock that does not wait.</summary>
internal sealed class DownloadCase : IDisposable
{
    public const string Weights = "diffusion_transformer_384p/diffusion_pytorch_model.safetensors";
    public const string Config = "diffusion_transformer_384p/config.json";

    private readonly TemporaryFolder folder = new();
    private HubClient? client;

    public DownloadCase(int pageSize = 1000)
    {
        Repository = new HubRepository { PageSize = pageSize };
        foreach (var path in (string[])[Config, Weights, "diffusion_transformer_768p/config.json", "diffusion_transformer_768p/diffusion_pytorch_model.safetensors",
            "causal_video_vae/config.json", "causal_video_vae/diffusion_pytorch_model.safetensors", "causal_video_vae/diffusion_pytorch_model.bin",
            "text_encoder/config.json", "text_encoder/model.safetensors", "text_encoder/pytorch_model.bin", "text_encoder/model.fp16.safetensors",
            "text_encoder_2/config.json", "text_encoder_2/model-00001-of-00002.safetensors", "text_encoder_2/model-00002-of-00002.safetensors", "text_encoder_2/model.safetensors.index.json",
            "tokenizer/vocab.json", "tokenizer/merges.txt", "tokenizer_2/tokenizer.json", "README.md", "assets/demo.mp4"])
        {
            Repository[path] = SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(path)).Concat(new byte[200]).ToArray();
        }

        Repository[Weights] = Random(300_000);
    }

    public HubRepository Repository { get; }

    public InstantTime Time { get; } = new();

    public List<string> Notes { get; } = [];

    public string? Token { get; init; }

    public long FreeBytes { get; init; } = long.MaxValue;

    public string Target => System.IO.Path.Combine(folder.Path, "model");

    public HubClient Client => client ??= new HubClient(new HubEndpoint(Repository.Server.Address, Token), new HubOptions
    {
        Time = Time,
        Stall = InstantTime.Stall,
        FreeBytes = _ => FreeBytes,
        Notify = note =>
        {
            lock (Notes)
                Notes.Add(note);
        },
    });

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static byte[] Random(int count)
    {
        var bytes = new byte[count];
        new Random(count).NextBytes(bytes);
        return bytes;
    }

    public string PathOf(string path) => System.IO.Path.Combine(Target, path);

    public async Task<DownloadPlan> PlanAsync(string? variant = "384p")
    {
        var source = new HubSource(HubRepository.Name);
        return DownloadPlan.Create(source, await Client.ListAsync(source, Cancel), variant, Target);
    }

    public async Task RunAsync(IProgress<DownloadProgress>? progress = null, CancellationToken? cancel = null) =>
        await ModelDownload.RunAsync(Client, await PlanAsync(), progress, cancel ?? Cancel);

    public async Task<HubException> FaultAsync() => await Assert.ThrowsAsync<HubException>(() => RunAsync());

    /// <summary>Hidden rests anywhere in the folder.</summary>
    public IReadOnlyList<string> Partials() => Directory.Exists(Target)
        ? [.. Directory.GetFiles(Target, "*.partial", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = 0 })]
        : [];

    public void AssertWhole()
    {
        Assert.Equal(Repository[Weights], File.ReadAllBytes(PathOf(Weights)));
        Assert.Empty(Partials());
    }

    public void Dispose()
    {
        client?.Dispose();
        Repository.Dispose();
        folder.Dispose();
    }
}
