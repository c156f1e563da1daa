using PyramidFlow.Models.Lora;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Lora;
using PyramidFlow.Training.Loop;
using PyramidFlow.Models;

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
    /// <param name="cancel">Stops it.</param>
    /// <returns>Whether there is one.</returns>
    internal bool Sample(TransformerSamples? samples, string path, CancellationToken cancel) => samples is not null && Part.WithAverage(() =>
    {
        samples.Write(path, Workers.Model, cancel);
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
