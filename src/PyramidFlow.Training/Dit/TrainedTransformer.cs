using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Dit;

/// <summary>The transformer being trained, one copy per worker; either all weights are updated, or a LoRA on top of frozen weights.</summary>
internal sealed class TrainedTransformer : IDisposable
{
    private readonly LoopConfig config;
    private readonly LoraConfig? lora;
    private readonly FixedTables tables;
    private readonly Device device;

    /// <summary>Builds the network and loads or draws its weights.</summary>
    /// <param name="config">Seed, workers, precision and optimizer settings.</param>
    /// <param name="network">Configuration of the network.</param>
    /// <param name="lora">The LoRA to train on top of frozen weights; null trains the weights.</param>
    /// <param name="weights">Initial weights; null draws them from the seed.</param>
    /// <param name="device">Target device.</param>
    /// <param name="options">Where the optimizer differs from the configuration, or null.</param>
    /// <exception cref="CheckpointException">The weights are damaged or belong to another network, or a target of the LoRA matches no layer.</exception>
    internal TrainedTransformer(LoopConfig config, ITransformerConfig network, LoraConfig? lora, StateSource? weights, Device device, PartOptions? options = null)
    {
        (this.config, this.lora, this.device, Network) = (config, lora, device, network);
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

    /// <summary>Configuration of the network.</summary>
    internal ITransformerConfig Network { get; }

    /// <summary>Identifies the network, and the LoRA with its frozen weights.</summary>
    internal string Identity { get; }

    /// <summary>The updated weights.</summary>
    internal TrainingPart Part { get; }

    /// <summary>The copies of the network.</summary>
    internal Workers<PyramidTransformer> Workers { get; }

    /// <summary>Validates that a LoRA fits a network, without weights.</summary>
    /// <exception cref="CheckpointException">The LoRA is invalid, or a target matches no layer.</exception>
    internal static void Check(ITransformerConfig network, LoraConfig lora)
    {
        using var declared = network.Build();
        LoraAdapters.Layers(declared, lora);
    }

    /// <summary>Writes the EMA of the LoRA, or of the whole network.</summary>
    /// <param name="path">Safetensors file; replaced when the new one is complete.</param>
    internal void Write(string path)
    {
        using var scope = new TensorScope();
        if (lora is null)
            SafetensorsWriter.Write(path, [.. Part.Averaged, .. tables.Named]);
        else
            LoraFile.Write(path, Part.Averaged, lora);
    }

    /// <summary>
    /// Writes what pipelines take in place of a checkpoint's transformer: the folder <c>diffusion_transformer</c> with the EMA of the whole network, and the settings
    /// beside it.
    /// </summary>
    /// <param name="run">Folder of the run.</param>
    /// <param name="config">Text of the network's <c>config.json</c>.</param>
    /// <param name="settings">Settings of the pipelines that use it.</param>
    internal void Publish(RunFolder run, string config, PipelineSettings settings)
    {
        var folder = run.File(CheckpointNames.Transformer);
        Directory.CreateDirectory(folder);
        var file = Path.Combine(folder, ComponentFolder.ConfigName);
        // A pipeline may be reading it.
        if (!File.Exists(file) || File.ReadAllText(file) != config)
            File.WriteAllText(file, config);
        settings.Write(run.File(PipelineSettings.FileName));
        Write(Path.Combine(folder, WeightsName));
    }

    /// <summary>Name of the file of weights in the folder of <see cref="Publish"/>.</summary>
    internal const string WeightsName = "diffusion_pytorch_model.safetensors";

    /// <summary>Writes a contact sheet of samples from the EMA.</summary>
    /// <param name="samples">The samples to generate; null generates none.</param>
    /// <param name="path">PNG file.</param>
    /// <param name="cancellationToken">Cancels the operation.</param>
    /// <returns>Whether a sheet was written.</returns>
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

    /// <summary>Another transformer of the same network, device and type, which is not trained; the caller disposes it.</summary>
    /// <param name="weights">Its weights.</param>
    internal PyramidTransformer Copy(StateSource weights)
    {
        var copy = Declare();
        copy.Load(weights, config.ComputeType, device);
        return copy;
    }

    private PyramidTransformer Declare()
    {
        var model = Network.Build();
        model.CheckpointRatio = config.CheckpointRatio;
        return model;
    }

    // Creates the network of another worker.
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

/// <summary>Transformers with frozen weights and a trained LoRA.</summary>
internal static class AdaptedTransformer
{
    private const long FingerprintElements = 16;

    /// <summary>Freezes a loaded transformer and adds the LoRA's matrices, drawn from the seed.</summary>
    internal static void Attach(PyramidTransformer model, LoraConfig lora, long seed)
    {
        using var generator = new RandomGenerator((ulong)seed);
        LoraAdapters.Attach(model, lora, generator);
    }

    /// <summary>Shares the frozen weights with the transformer of another worker, which gets LoRA matrices of its own.</summary>
    /// <param name="original">Transformer of the first worker, with the LoRA attached.</param>
    /// <param name="another">Transformer of the other worker, without weights.</param>
    /// <param name="lora">The LoRA.</param>
    internal static void Share(PyramidTransformer original, PyramidTransformer another, LoraConfig lora)
    {
        var weights = original.NamedParameters().ToDictionary(p => p.Key, p => p.Parameter);
        foreach (var (key, parameter) in another.NamedParameters())
            parameter.Value = weights[key].Value.Detach();
        Attach(another, lora, 0);
    }

    /// <summary>Identifies a LoRA and its frozen weights; hashes a few elements of each weight.</summary>
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
