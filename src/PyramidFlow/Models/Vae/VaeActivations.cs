using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Size of a batch of clips: of pixels, or of features of a level.</summary>
/// <param name="Rows">Clips.</param>
/// <param name="Frames">Frames of each.</param>
/// <param name="Height">Rows of a frame.</param>
/// <param name="Width">Columns of a frame.</param>
internal readonly record struct ClipBatchSize(long Rows, long Frames, long Height, long Width)
{
    /// <summary>Positions of all clips, which each channel has a number for.</summary>
    internal long Positions => Rows * Frames * Height * Width;

    /// <summary>Frames of all clips.</summary>
    internal long Pictures => Rows * Frames;
}

/// <summary>Memory of the features of a <see cref="CausalVideoVae"/> in training, or of its encoder in a frozen one.</summary>
/// <param name="Vae">Sizes of the network.</param>
/// <param name="Type">Element type of everything but the convolutions.</param>
/// <param name="Convolutions">Element type of the convolutions.</param>
/// <param name="Device">Where it works.</param>
/// <param name="Recomputes">Whether residual blocks keep only their input for backward.</param>
/// <param name="HasWindows">Whether the clips go through in windows, for which every convolution keeps its last frames. The first window is the longest.</param>
internal sealed record VaeActivations(CausalVideoVaeConfig Vae, ElementType Type, ElementType Convolutions, DeviceType Device, bool Recomputes = false, bool HasWindows = false)
{
    // Frames that a causal convolution of three taps has in front.
    private const int Before = 2;

    // Copies of its largest features that a convolution's backward works on: gradients of its output and of its padded input, and those of norm and activation before it.
    private const int Gradients = 4;

    /// <summary>Most bytes of encoding without gradients, without pixels and weights.</summary>
    /// <param name="clips">Pixels of the clips, or of the longest window.</param>
    internal long Encoding(ClipBatchSize clips)
    {
        var walk = new Walk(this, isTrained: false);
        walk.Encode(clips);
        return HasWindows ? Math.Max(walk.Peak, (this with { HasWindows = false }).Encoding(Later(clips)) + walk.Remembered) : walk.Peak;
    }

    /// <summary>Most bytes of forward and backward, without pixels and weights.</summary>
    /// <param name="clips">Pixels of the clips, or of the longest window.</param>
    /// <param name="trainsEncoder">Whether the encoder is trained.</param>
    /// <param name="loss">Bytes of the loss between forward and backward.</param>
    internal long Training(ClipBatchSize clips, bool trainsEncoder, long loss)
    {
        var encoder = new Walk(this, trainsEncoder);
        var latents = encoder.Encode(clips);
        var decoder = new Walk(this, isTrained: true);
        decoder.Decode(latents);
        var held = encoder.Held + decoder.Held;
        var backward = Math.Max(decoder.Backward(encoder.Held), encoder.Backward(0));
        return Math.Max(Math.Max(encoder.Peak, encoder.Held + decoder.Peak), Math.Max(held + loss, backward)) + encoder.Remembered + decoder.Remembered;
    }

    // The first window has one frame more than the later ones, and finds nothing of an earlier one.
    private static ClipBatchSize Later(ClipBatchSize clips) => clips with { Frames = Math.Max(1, clips.Frames - 1) };

    // One way through the layers of encoder or decoder.
    private sealed class Walk(VaeActivations how, bool isTrained)
    {
        private readonly List<(long Kept, long Work)> layers = [];
        // Results stay until the end of their level, and results of levels until the end of the network.
        private long network, level, inputs;

        public long Peak { get; private set; }

        // What backward needs.
        public long Held { get; private set; }

        // Frames that convolutions keep for the next window.
        public long Remembered { get; private set; }

        public ClipBatchSize Encode(ClipBatchSize size)
        {
            var (vae, channels) = (how.Vae, (long)how.Vae.EncoderBlockOutChannels[0]);
            Convolution(size, vae.EncoderInChannels, channels, size);
            End();
            for (var i = 0; i < vae.EncoderBlockOutChannels.Count; i++)
            {
                channels = Residuals(size, channels, vae.EncoderBlockOutChannels[i], vae.EncoderLayersPerBlock[i]);
                if (vae.EncoderSpatialDownSample[i])
                    size = Convolution(size, channels, channels, size with { Height = (size.Height + 1) / 2, Width = (size.Width + 1) / 2 });
                if (vae.EncoderTemporalDownSample[i])
                    size = Convolution(size, channels, channels, size with { Frames = ((size.Frames - 1) / 2) + 1 });
                End();
            }

            Middle(size, channels);
            NormedConvolution(size, channels, 2 * vae.EncoderOutChannels);
            network = 0;
            return size;
        }

        public void Decode(ClipBatchSize size)
        {
            var vae = how.Vae;
            int[] widths = [.. vae.DecoderBlockOutChannels.Reverse()];
            long channels = widths[0];
            Convolution(size, vae.EncoderOutChannels, channels, size);
            End();
            Middle(size, channels);
            for (var i = 0; i < widths.Length; i++)
            {
                channels = Residuals(size, channels, widths[i], vae.DecoderLayersPerBlock[i]);
                if (vae.DecoderSpatialUpSample[i])
                    size = Upsample(size, channels, size with { Height = 2 * size.Height, Width = 2 * size.Width });
                if (vae.DecoderTemporalUpSample[i])
                    size = Upsample(size, channels, size with { Frames = (2 * size.Frames) - 1 });
                End();
            }

            NormedConvolution(size, channels, vae.DecoderOutChannels);
            network = 0;
        }

        // The most while backward frees what it has used, last layer first.
        public long Backward(long others)
        {
            var (held, most) = (Held, 0L);
            foreach (var (kept, work) in layers.AsEnumerable().Reverse())
            {
                most = Math.Max(most, others + held + work);
                held -= kept;
            }

            return most;
        }

        private void End()
        {
            (network, level) = (network + Last, 0);
            Held += inputs;
            inputs = 0;
        }

        private long Last { get; set; }

        private long Features(ClipBatchSize size, long channels) => AllocatedBytes.Of(size.Positions * channels * how.Type.Size(), how.Device);

        // A layer: what backward needs, what lives until its end beside it, its result, and where only its input is kept, that.
        private void Add(long saved, long scratch, long result, long? input = null, long gradients = 0)
        {
            if (!isTrained)
                (saved, scratch, input) = (0, saved + scratch, null);
            Peak = Math.Max(Peak, Held + inputs + network + level + saved + scratch + result);
            if (input is { } only)
            {
                // It is the result of the layer before, which is counted until the level ends.
                inputs += only;
                layers.Add((only, saved + scratch + result + gradients));
            }
            else
            {
                Held += saved;
                layers.Add((saved, gradients));
            }

            (level, Last) = (level + result, result);
        }

        private ClipBatchSize Convolution(ClipBatchSize size, long inputs, long outputs, ClipBatchSize to)
        {
            var (saved, scratch) = OfConvolution(size, inputs, outputs, to, taps: 3);
            Add(saved, scratch, Features(to, outputs), null, Gradients * Math.Max(Features(size, inputs), Features(to, outputs)));
            return to;
        }

        // A convolution to as many times the channels, which then become positions.
        private ClipBatchSize Upsample(ClipBatchSize size, long channels, ClipBatchSize to)
        {
            var times = to.Height > size.Height ? 4 : 2;
            var (saved, scratch) = OfConvolution(size, channels, times * channels, size, taps: 3);
            Add(saved, scratch + Features(size, times * channels), Features(to, channels), null, Gradients * Features(to, channels));
            return to;
        }

        private void NormedConvolution(ClipBatchSize size, long inputs, long outputs)
        {
            var (saved, scratch) = OfHalf(size, inputs, outputs);
            Add(saved, scratch, Features(size, outputs), null, Gradients * Features(size, inputs));
            End();
        }

        private long Residuals(ClipBatchSize size, long inputs, long outputs, int layerCount)
        {
            for (var i = 0; i < layerCount; i++, inputs = outputs)
            {
                var (first, second) = (OfHalf(size, inputs, outputs), OfHalf(size, outputs, outputs));
                var shortcut = inputs == outputs ? (Saved: 0L, Scratch: 0L) : OfConvolution(size, inputs, outputs, size, taps: 1);
                var result = Features(size, outputs);
                Add(first.Saved + second.Saved + shortcut.Saved, result + Math.Max(second.Scratch, result + (inputs == outputs ? 0 : result)), result,
                    how.Recomputes ? Features(size, inputs) : null, Gradients * Math.Max(Features(size, inputs), result));
            }

            return outputs;
        }

        private void Middle(ClipBatchSize size, long channels)
        {
            Residuals(size, channels, channels, 1);
            // Attention of each frame keeps its frames, the input of each projection, queries, keys and values, and their result.
            var one = Features(size, channels);
            Add(8 * one, 5 * one, one, null, Gradients * one);
            Residuals(size, channels, channels, 1);
            End();
        }

        // Norm, activation and convolution. The norm copies frames that lie apart, and the convolution pads what the activation gives.
        private (long Saved, long Scratch) OfHalf(ClipBatchSize size, long inputs, long outputs)
        {
            var one = Features(size, inputs);
            var (saved, scratch) = OfConvolution(size, inputs, outputs, size, taps: 3);
            return isTrained
                ? ((2 * one) + saved, one + scratch + Features(size, outputs))
                : (0, one + saved + scratch + Features(size, outputs));
        }

        private (long Saved, long Scratch) OfConvolution(ClipBatchSize size, long inputs, long outputs, ClipBatchSize to, int taps)
        {
            var isNarrow = how.Convolutions != how.Type;
            var isFirst = size.Frames == 1;
            var padded = taps == 1 || isFirst ? size : size with { Frames = size.Frames + Before };
            var weights = inputs * outputs * (taps == 1 ? 1 : 27);
            var saved = Narrow(padded.Positions * inputs) + (isNarrow ? Narrow(weights) : 0);
            var scratch = isNarrow ? (padded == size ? 0 : Narrow(size.Positions * inputs)) + Narrow(to.Positions * outputs) : 0;
            if (how.HasWindows && taps > 1)
                Remembered += Narrow(size.Rows * Before * size.Height * size.Width * inputs);
            // Small clips are convolved frame by frame with the frames of all taps as channels.
            if (how.Device == DeviceType.Cpu && how.Convolutions == ElementType.Float32 && size.Rows == 1 && !isFirst && taps > 1 && inputs * padded.Frames * size.Height <= SlowKernelSize)
            {
                var seen = Narrow(to.Frames * size.Rows * size.Height * size.Width * inputs * taps);
                (saved, scratch) = (seen + Narrow(weights), scratch + saved + seen);
            }

            return (saved, scratch);
        }

        private long Narrow(long numbers) => AllocatedBytes.Of(numbers * how.Convolutions.Size(), how.Device);
    }

    // As in CausalConv3d.
    private const long SlowKernelSize = 20480;
}
