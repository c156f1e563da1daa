using System.Security.Cryptography;
using System.Runtime.InteropServices;
using PyramidFlow.Hub.Downloads;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Shards;

namespace PyramidFlow.Training.Tests.Shards;

/// <summary>A folder of shards, with an index and a spool of its own, and short waits.</summary>
internal sealed class ShardFolder : IDisposable
{
    public const int Channels = 4;

    private readonly TemporaryFolder folder = new();

    public ShardFolder()
    {
        Directory.CreateDirectory(folder.File("spool", "x")[..^2]);
        Options = new ShardOptions
        {
            IndexFolder = folder.File("index"),
            Spool = new Spool(folder.File("spool"), 64 << 20),
            Network = new HubOptions { FirstWait = TimeSpan.FromMilliseconds(1), LongestWait = TimeSpan.FromMilliseconds(4), Attempts = 12 },
        };
    }

    public ShardOptions Options { get; set; }

    /// <summary>Members that are in the spool.</summary>
    public int Spooled => Directory.EnumerateFiles(folder.File("spool"), "*", SearchOption.AllDirectories).Count(path => Path.GetFileName(path) != "lock");

    public string File(params ReadOnlySpan<string> parts) => folder.File(parts);

    public string Write(string name, params byte[] bytes) => folder.Write(name, bytes);

    public string Write(string name, string text) => folder.Write(name, text);

    /// <summary>A file of latents, [1, 4, frames, 2, 3].</summary>
    public byte[] Latent(double value, int frames = 2)
    {
        using var scope = new TensorScope();
        var path = folder.File("latent.safetensors");
        SafetensorsWriter.Write(path, [("latent", Tensor.Full([1, Channels, frames, 2, 3], value, ElementType.Float32))]);
        return System.IO.File.ReadAllBytes(path);
    }

    /// <summary>Options of data that read these sources.</summary>
    public DataOptions Data(params string[] sources) => new() { Annotations = sources, MaxFrames = 17, Sizes = ["24x16", "16x16"], Frames = [9, 1], Shards = Options };

    /// <summary>Batches of latents.</summary>
    public Task<IBatchSource<LatentBatch>> OpenAsync(FaultLog faults, params string[] sources) => DataSources.OpenLatentsAsync(
        Data(sources), new BatchPlanOptions(Seed: 3, BatchSize: 4), CaptionForm.Text, Channels, faults, cancellationToken: TestContext.Current.CancellationToken);

    /// <summary>Digests of the batches of some steps: numbers and captions.</summary>
    public static List<string> Digests(IBatchSource<LatentBatch> source, int steps) => [.. Enumerable.Range(0, steps).Select(step =>
    {
        using var scope = new TensorScope();
        var batch = source.Batch(step, TestContext.Current.CancellationToken);
        var numbers = SHA256.HashData(MemoryMarshal.AsBytes<float>(batch.Latents.ToArray<float>()));
        return $"{batch.Bucket} {string.Join('|', batch.Captions)} {Convert.ToHexString(numbers)}";
    })];

    public void Dispose() => folder.Dispose();
}
