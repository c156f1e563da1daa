using PyramidFlow.Torch;
using PyramidFlow.Vae;

namespace PyramidFlow.Benchmarks;

/// <summary>The VAE on one frame, both ways, and decoding the first two latent frames of a video.</summary>
internal sealed class VaeBenchmark(BenchmarkOptions options, CausalVideoVaeConfig config, MachineRates rates, RowWriter writer)
{
    internal void Run(Action<string> progress, CancellationToken cancel)
    {
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(3);
        using var scope = new TensorScope();
        using var vae = new CausalVideoVae(config);
        progress($"filling {vae.ParameterCount()} weights of the VAE");
        RandomWeights.Fill(vae, options.Type, options.Device);

        var (width, height) = options.VaeSize;
        var (columns, rows) = (width / config.SpatialScale, height / config.SpatialScale);
        var pixels = Tensor.Randn([1, config.EncoderInChannels, 1, height, width], generator).To(options.Type).To(options.Device);
        var latents = Tensor.Randn([1, config.EncoderOutChannels, 2, rows, columns], generator).To(options.Type).To(options.Device);
        var first = latents.Narrow(2, 0, 1);
        progress("one frame each way to warm up");
        var frames = 1 + config.TemporalScale;
        if (options.VaeTiles is { } tiles)
        {
            var side = tiles.Size / config.SpatialScale;
            Timing.Once(options.Device, () => vae.Decode(first.Narrow(3, 0, Math.Min(side, rows)).Narrow(4, 0, Math.Min(side, columns))));
            Add($"decode {frames} frames tile by tile ({tiles.Size})", () => vae.DecodeTileByTile([first, latents.Narrow(2, 1, 1)], tiles, (done, count) => Begin(done, count)),
                VaeFlops.Decode(config, 2, rows, columns));
            return;
        }

        Timing.Once(options.Device, () => vae.Encode(pixels));
        Timing.Once(options.Device, () => vae.Decode(first));
        Add("encode 1 frame", () => vae.Encode(pixels), VaeFlops.Encode(config, 1, height, width));
        Add("decode 1 frame", () => vae.Decode(first), VaeFlops.Decode(config, 1, rows, columns));
        Add($"decode {frames} frames", () => vae.Decode(latents), VaeFlops.Decode(config, 2, rows, columns));

        void Begin(int done, int count)
        {
            cancel.ThrowIfCancellationRequested();
            progress($"tile {done + 1} of {count}, {TorchRuntime.PeakMemory(options.Device) / 1e6:0} MB at most");
        }

        void Add(string what, Action work, long flops)
        {
            var seconds = new List<double>();
            for (var run = 0; run < options.Runs; run++)
            {
                cancel.ThrowIfCancellationRequested();
                seconds.Add(Timing.Once(options.Device, work));
            }

            writer.Add($"VAE {what}, {width}x{height}", Timing.Median(seconds), flops, rates.Conv(options.Type));
        }
    }
}
