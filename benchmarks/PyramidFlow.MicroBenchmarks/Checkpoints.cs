using BenchmarkDotNet.Attributes;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.MicroBenchmarks;

/// <summary>Opening a checkpoint: the transformer of the sprites model.</summary>
[MemoryDiagnoser]
public class Checkpoints
{
    private string path = null!;

    /// <summary>Finds the file.</summary>
    [GlobalSetup]
    public void SetUp() => path = Repository.Find("models", "sprites", "diffusion_transformer", "diffusion_pytorch_model.safetensors");

    /// <summary>Reads the header and makes every tensor, mapped from the file.</summary>
    [Benchmark]
    public int Open()
    {
        using var file = SafetensorsFile.Open(path);
        foreach (var entry in file.Entries.Values)
            file.Read(entry.Name).Dispose();
        return file.Entries.Count;
    }
}
