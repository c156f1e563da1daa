using PyramidFlow.Media;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Tests.Loop;

/// <summary>Learns to halve numbers; what a batch's inputs are multiplied with can be set, to bring up spikes and worse.</summary>
internal sealed class ToyTraining : ITraining, IDisposable
{
    private readonly Linear linear;
    private readonly RunFolder folder;
    private readonly int workers;

    public ToyTraining(ToyConfig config, RunFolder folder, int inputs = 4, ProcessGroup? group = null)
    {
        this.folder = folder;
        workers = config.Workers;
        using var generator = new RandomGenerator((ulong)config.Seed);
        linear = new Linear(inputs, inputs);
        linear.Initialize(generator);
        Parts = [new TrainingPart("", config, new PartOptions { Group = group }, ("", linear))];
    }

    public string Identity => "toy";

    public IReadOnlyList<TrainingPart> Parts { get; }

    public TrainingData? Data { get; init; }

    /// <summary>Number of items that are held out.</summary>
    public int HeldOutCount { get; init; }

    /// <summary>The loss of all held-out items in place of that of the weights, or null.</summary>
    public Func<double>? HeldOutLoss { get; init; }

    public bool IsBestKept { get; init; } = true;

    public HeldOutItems? HeldOut => HeldOutCount == 0 ? null : new HeldOutItems
    {
        Count = HeldOutCount, Identity = $"{HeldOutCount} of toy", Stages = [(0, 1), (2, 3)], IsBestKept = IsBestKept,
        Losses = (item, rows) => item == Unreadable ? null : [.. rows.Select(row => new[] { Loss(row), 2 * Loss(row) })],
    };

    /// <summary>A held-out item that cannot be read.</summary>
    public int Unreadable { get; init; } = -1;

    public Func<MicroBatch, double> Factor { get; init; } = _ => 1;

    public Action<MicroBatch> Begin { get; init; } = _ => { };

    public Action<string> Sampling { get; init; } = _ => { };

    public float[] Weights
    {
        get
        {
            using var scope = new TensorScope();
            return Parts[0].Parameters.Computed.To(ElementType.Float32).ToArray<float>();
        }
    }

    public BatchLosses Backward(MicroBatch batch)
    {
        Begin(batch);
        return BatchLosses.Mean([.. Enumerable.Range(0, workers).Select(worker =>
        {
            using var scope = new TensorScope();
            var x = Draw(batch, worker);
            var error = linear.Forward(x.To(linear.Weight.Value.Type)).To(ElementType.Float32) - (x * 0.5);
            var loss = (error * error).Mean();
            (loss * (batch.Scale / workers)).Backward();
            return new BatchLosses(loss.Item(), [("twice", 2 * loss.Item())], x.Size(0));
        })]);
    }

    public IEnumerable<(string Key, Tensor Tensor)> Inputs(MicroBatch batch) => [("x", Draw(batch, 0))];

    public IReadOnlyList<(string Name, double Value)> Publish()
    {
        using var scope = new TensorScope();
        SafetensorsWriter.Write(folder.File("toy.safetensors"), Parts[0].Averaged);
        return [("quality", 1)];
    }

    public void PublishBest(RunFolder best)
    {
        using var scope = new TensorScope();
        SafetensorsWriter.Write(best.File("toy.safetensors"), Parts[0].Averaged);
    }

    public bool Sample(string path, CancellationToken cancellationToken)
    {
        Sampling(path);
        cancellationToken.ThrowIfCancellationRequested();
        PngWriter.Write(path, new RgbImage(2, 1, new byte[6]));
        return true;
    }

    public void Dispose()
    {
        Parts[0].Dispose();
        linear.Dispose();
    }

    private double Loss(int row)
    {
        if (HeldOutLoss is not null)
            return HeldOutLoss();
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var generator = new RandomGenerator((ulong)row);
        var x = Tensor.Randn([1, linear.Weight.Shape[1]], generator);
        var error = linear.Forward(x.To(linear.Weight.Value.Type)).To(ElementType.Float32) - (x * 0.5);
        return (error * error).Mean().Item();
    }

    private Tensor Draw(MicroBatch batch, int worker)
    {
        using var scope = new TensorScope();
        using var draws = batch.Draws(worker, workers);
        return scope.Keep(Tensor.Randn([8, linear.Weight.Shape[1]], draws) * Factor(batch));
    }
}

internal sealed record ToyConfig : LoopConfig
{
    public ToyConfig() => (Steps, LearningRate, CheckpointEvery, LogEvery) = (12, 0.01, 4, 3);

    public TrainingException? Fault => LoopFault("toy.json");
}
