using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Dit;

/// <summary>The transformer of a training, once for each worker: all of its weights step, or those of a LoRA beside frozen ones.</summary>
internal sealed class TrainedTransformer : IDisposable
{
    private readonly LoopConfig config;
    private readonly LoraConfig? lora;
    private readonly FixedTables tables;

    /// <summary>Builds the network and gives it weights.</summary>
    /// <param name="config">Seed, workers, precision and how its weights step.</param>
    /// <param name="network">Its sizes.</param>
    /// <param name="lora">What is trained beside frozen weights; null trains the weights.</param>
    /// <param name="weights">Weights it starts with; null draws them from the seed.</param>
    /// <param name="device">Where to.</param>
    /// <param name="options">Where the optimizer differs, or null.</param>
    /// <exception cref="ArgumentException">A target of the LoRA names no layer.</exception>
    /// <exception cref="CheckpointException">The weights are damaged or of another network.</exception>
    internal TrainedTransformer(LoopConfig config, ITransformerConfig network, LoraConfig? lora, StateSource? weights, Device device, PartOptions? options = null)
    {
        (this.config, this.lora, Network) = (config, lora, network);
        var model = Declare();
        GiveWeights(model, weights, device);
        Identity = network.ToJson();
        if (lora is not null)
        {
            Identity = $"{AdaptedTransformer.Identity(model, lora)} {Identity}";
            AdaptedTransformer.Attach(model, lora, config.Seed);
        }

        Part = new TrainingPart("", config, options, ("", model));
        tables = new FixedTables(model, config.ComputeType);
        Workers = new Workers<PyramidTransformer>(model, Part.Parameters, config.Workers, () => Another(model));
    }

    /// <summary>Sizes of the network.</summary>
    internal ITransformerConfig Network { get; }

    /// <summary>Says what network it is, and which LoRA of which weights.</summary>
    internal string Identity { get; }

    /// <summary>What steps.</summary>
    internal TrainingPart Part { get; }

    /// <summary>The copies of the network.</summary>
    internal Workers<PyramidTransformer> Workers { get; }

    /// <summary>Fails where a LoRA does not fit a network; builds it without weights.</summary>
    /// <exception cref="ArgumentException">The LoRA is impossible, or a target names no layer.</exception>
    internal static void Check(ITransformerConfig network, LoraConfig lora)
    {
        using var declared = network.Build();
        LoraAdapters.Layers(declared, lora);
    }

    /// <summary>Writes the averaged weights: of a LoRA its own, else all of the network.</summary>
    /// <param name="path">Safetensors file; replaced when the new one is whole.</param>
    internal void Write(string path)
    {
        using var scope = new TensorScope();
        if (lora is null)
            SafetensorsWriter.Write(path, [.. Part.Averaged, .. tables.Named]);
        else
            LoraFile.Write(path, Part.Averaged, lora);
    }

    /// <summary>Writes a contact sheet of what the averaged weights make.</summary>
    /// <param name="samples">What to make; null is nothing.</param>
    /// <param name="path">PNG file.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <returns>Whether there is one.</returns>
    internal bool Sample(TransformerSamples? samples, string path, CancellationToken cancellationToken) => samples is not null && Part.WithAverage(() =>
    {
        samples.Write(path, Workers.Model, cancellationToken);
        return true;
    });

    /// <inheritdoc/>
    public void Dispose()
    {
        Workers.Dispose();
        Part.Dispose();
        tables.Dispose();
    }

    private PyramidTransformer Declare()
    {
        var model = Network.Build();
        model.CheckpointRatio = config.CheckpointRatio;
        return model;
    }

    // For another worker.
    private PyramidTransformer Another(PyramidTransformer model)
    {
        var another = Declare();
        if (lora is not null)
            AdaptedTransformer.Share(model, another, lora);
        return another;
    }

    private void GiveWeights(PyramidTransformer model, StateSource? weights, Device device)
    {
        if (weights is not null)
        {
            model.Load(weights, lora is null ? ElementType.Float32 : config.ComputeType, device);
            return;
        }

        using var generator = new RandomGenerator((ulong)config.Seed);
        model.Initialize(generator);
        model.To(ElementType.Float32, device);
    }
}

/// <summary>Transformers of which only a LoRA is trained.</summary>
internal static class AdaptedTransformer
{
    private const long FingerprintElements = 16;

    /// <summary>Freezes a loaded transformer and adds the LoRA's matrices, drawn from the seed.</summary>
    internal static void Attach(PyramidTransformer model, LoraConfig lora, long seed)
    {
        using var generator = new RandomGenerator((ulong)seed);
        LoraAdapters.Attach(model, lora, generator);
    }

    /// <summary>Gives another worker's transformer the same frozen weights, and matrices of its own that are to be shared later.</summary>
    /// <param name="original">The first worker's, with the LoRA attached.</param>
    /// <param name="another">The other one, without weights.</param>
    /// <param name="lora">The LoRA.</param>
    internal static void Share(PyramidTransformer original, PyramidTransformer another, LoraConfig lora)
    {
        var weights = original.NamedParameters().ToDictionary(p => p.Key, p => p.Parameter);
        foreach (var (key, parameter) in another.NamedParameters())
            parameter.Value = weights[key].Value.Detached();
        Attach(another, lora, 0);
    }

    /// <summary>Says which LoRA of which weights it is; of large weights it looks at a few elements each.</summary>
    /// <param name="model">The transformer, with weights.</param>
    /// <param name="lora">The LoRA.</param>
    internal static string Identity(Module model, LoraConfig lora)
    {
        using var scope = new TensorScope();
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var (_, parameter) in model.NamedParameters())
        {
            var all = parameter.Value.Flatten(0);
            var some = all.Slice(0, 0, all.ElementCount, Math.Max(1, all.ElementCount / FingerprintElements)).To(ElementType.Float32);
            hash.AppendData(MemoryMarshal.AsBytes(some.Contiguous().ToArray<float>().AsSpan()));
        }

        var weights = Convert.ToHexStringLower(hash.GetHashAndReset())[..16];
        return string.Create(CultureInfo.InvariantCulture, $"lora rank {lora.Rank} alpha {lora.Alpha} of {string.Join(",", lora.Targets)} in {weights}");
    }
}
