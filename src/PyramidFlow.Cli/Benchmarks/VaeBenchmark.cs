using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Cli.Benchmarks;

/// <summary>
/// The VAE both ways on videos of rising length. A single frame is decoded in the plain form too, through the taps that meet only
/// zeros; both forms run in turns and count the operations that the pixels need.
/// </summary>
internal sealed class VaeBenchmark(BenchmarkOptions options, CausalVideoVaeConfig config, MachineRates rates, RowWriter writer)
{
    private const string Decode = "VAE decode";

    internal void Run(Action<string> progress, CancellationToken cancellationToken)
    {
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(3);
        using var scope = new TensorScope();
        using var vae = new CausalVideoVae(config);
        progress($"filling {vae.ParameterCount()} weights of the VAE");
        RandomWeights.Fill(vae, writer.Type, options.Device);

        var (width, height) = options.VaeSize;
        var (columns, rows) = (width / config.SpatialScale, height / config.SpatialScale);
        if (options.VaeTiles is { } tiles)
        {
            TileByTile(tiles);
            return;
        }

        progress("one frame each way to warm up");
        Timing.Once(options.Device, () => vae.Encode(Pixels(1)));
        Timing.Once(options.Device, () => vae.Decode(Latents(1)));
        foreach (var length in options.VaeLatentFrames)
        {
            var frames = 1 + ((length - 1) * config.TemporalScale);
            using var inner = new TensorScope();
            var (pixels, latents) = (Pixels(frames), Latents(length));
            var name = frames == 1 ? "1 frame" : $"{frames} frames";
            Add($"encode {name}", Repeated(() => vae.Encode(pixels)), VaeFlops.Encode(config, frames, height, width), "VAE encode");
            if (frames == 1)
                SingleFrame(latents);
            else
                Add($"decode {name}", Repeated(() => vae.Decode(latents)), VaeFlops.Decode(config, length, rows, columns), Decode);
        }

        Tensor Pixels(long frames) => Tensor.Randn([1, config.EncoderInChannels, frames, height, width], generator).To(writer.Type).To(options.Device);

        Tensor Latents(long frames) => Tensor.Randn([1, config.EncoderOutChannels, frames, rows, columns], generator).To(writer.Type).To(options.Device);

        List<double> Repeated(Action work)
        {
            writer.EndGroup();
            return Timing.Repeated(options.Device, options.Runs, work, cancellationToken);
        }

        void SingleFrame(Tensor latents)
        {
            var (plain, saved) = (new List<double>(), new List<double>());
            Plain();
            writer.EndGroup();
            for (var run = 0; run < options.Runs; run++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                saved.Add(Timing.Once(options.Device, () => vae.Decode(latents)));
                plain.Add(Plain());
            }

            var flops = VaeFlops.Decode(config, 1, rows, columns);
            Add("decode 1 frame", saved, flops, Decode);
            Add("decode 1 frame with zero taps", plain, flops);

            double Plain()
            {
                vae.ComputesZeroTaps = true;
                try
                {
                    return Timing.Once(options.Device, () => vae.Decode(latents));
                }
                finally
                {
                    vae.ComputesZeroTaps = false;
                }
            }
        }

        void TileByTile(TileOptions cut)
        {
            var (latents, side) = (Latents(2), cut.Size / config.SpatialScale);
            var first = latents.Narrow(2, 0, 1);
            progress("one tile to warm up");
            Timing.Once(options.Device, () => vae.Decode(first.Narrow(3, 0, Math.Min(side, rows)).Narrow(4, 0, Math.Min(side, columns))));
            Add($"decode {1 + config.TemporalScale} frames tile by tile ({cut.Size})",
                Repeated(() => vae.DecodeTileByTile([first, latents.Narrow(2, 1, 1)], cut, Begin)), VaeFlops.Decode(config, 2, rows, columns));
        }

        void Begin(int done, int count)
        {
            cancellationToken.ThrowIfCancellationRequested();
            progress($"tile {done + 1} of {count}, {TorchRuntime.PeakMemory(options.Device) / 1e6:0} MB at most");
        }

        void Add(string what, List<double> seconds, long flops, string? kind = null) =>
            writer.Add($"VAE {what}, {width}x{height}", Timing.Median(seconds), flops, rates.Conv(writer.Type), kind: kind);
    }
}
