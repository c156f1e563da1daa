using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Cli.Benchmarks;

/// <summary>The text encoders on a prompt and what guidance steers away from, both as long as they can be.</summary>
internal sealed class TextBenchmark(BenchmarkOptions options, TextToMeasure text, MachineRates rates, RowWriter writer)
{
    private const int Rows = 2;

    // What the weights may take of the memory that is free.
    private const double Room = 0.7;

    internal void Run(Action<string> progress, CancellationToken cancellationToken)
    {
        using var noGrad = NoGrad.Begin();
        foreach (var clip in text.Clips)
        {
            var model = new ClipTextModel(clip);
            Measure(model, ids => model.Forward(ids), $"CLIP {clip.HiddenSize} wide", clip.VocabSize, clip.MaxPositionEmbeddings, tokens => TextFlops.Clip(clip, Rows, tokens));
        }

        var t5 = text.T5 with { NumLayers = text.Blocks ?? Fitting() };
        var encoder = new T5Encoder(t5);
        var cut = t5.NumLayers == text.T5.NumLayers ? "" : $", only {t5.NumLayers} of {text.T5.NumLayers} blocks";
        Measure(encoder, ids => encoder.Forward(ids), $"T5 {t5.DModel} wide{cut}", t5.VocabSize, PromptEncoder.MaxTokens, tokens => TextFlops.T5(t5, Rows, tokens));

        void Measure(Module network, Action<Tensor> forward, string what, long vocabulary, int tokens, Func<long, long> flops)
        {
            using var scope = new TensorScope();
            using var generator = new RandomGenerator(4);
            using var owned = network;
            progress($"filling {network.ParameterCount()} weights of {what}");
            RandomWeights.Fill(network, writer.Type, options.Device);
            var ids = (Tensor.Rand([Rows, tokens], generator) * vocabulary).Floor().To(ElementType.Int64).To(options.Device);
            progress("one pass to warm up");
            Timing.Once(options.Device, () => forward(ids));
            writer.EndGroup();
            var seconds = Timing.Repeated(options.Device, options.Runs, () => forward(ids), cancellationToken);
            writer.Add($"text encoder {what}, {Rows} x {tokens} tokens", Timing.Median(seconds), flops(tokens), rates.Gemm(writer.Type), kind: "text encoder");
        }
    }

    // All blocks, or a half, a quarter, ...: a number that is often the same makes runs comparable.
    private int Fitting()
    {
        var blocks = text.T5.NumLayers;
        if (options.Device.Type != DeviceType.Cpu)
            return blocks;
        var free = MachineMemory.Available();
        while (blocks > 1 && Bytes(blocks) > Room * free)
            blocks /= 2;
        return blocks;
    }

    private double Bytes(int blocks)
    {
        using var declared = new T5Encoder(text.T5 with { NumLayers = blocks });
        return (double)declared.ParameterCount() * (writer.Type == ElementType.BFloat16 ? 2 : 4);
    }
}
