using PyramidFlow.Torch;
using PyramidFlow.Training;

namespace PyramidFlow.Sprites;

/// <summary>
/// Writes a <see cref="LinearAutoencoder"/> into a causal video VAE, so that the network computes the same maps. The maps go into the aligned
/// taps of the stride-2 and upsampling convolutions; residual branches and attention output zero. The signal passes norm and SiLU as pairs
/// (+u, -u), since silu(u) - silu(-u) = u, next to constant channels so large that they determine the scale of the norm.
/// </summary>
internal sealed class LinearStart
{
    // The frozen encoder allows large constants; in the decoder they would suppress the gradients.
    private const double EncoderConstant = 32;
    private const double DecoderConstant = 12;
    private const double InitialLogVariance = -6;

    private readonly Dictionary<string, Parameter> parameters;
    private readonly LinearAutoencoder linear;
    private readonly long groups;

    private LinearStart(Module vae, LinearAutoencoder linear, long groups)
    {
        parameters = vae.NamedParameters().ToDictionary(p => p.Key, p => p.Parameter);
        this.linear = linear;
        this.groups = groups;
    }

    /// <summary>Overwrites the weights of an initialised VAE.</summary>
    /// <param name="vae">Three levels that halve the size and one that keeps it; float32 weights on the CPU.</param>
    /// <param name="linear">The maps, with the same widths.</param>
    /// <param name="groups">Number of groups of the VAE's norms.</param>
    public static void Write(Module vae, LinearAutoencoder linear, long groups)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var start = new LinearStart(vae, linear, groups);
        start.SilenceBranches();
        start.WriteEncoder();
        start.WriteDecoder();
    }

    private void SilenceBranches()
    {
        foreach (var (key, parameter) in parameters)
        {
            if (key.Contains(".conv2.", StringComparison.Ordinal) || key.Contains(".to_out.", StringComparison.Ordinal))
                parameter.Value.Zero();
            if (key.Contains(".conv_shortcut.", StringComparison.Ordinal))
                WriteCopies(key);
        }
    }

    // A shortcut to more channels repeats the signal; to fewer channels it drops the repetitions.
    private void WriteCopies(string key)
    {
        if (key.EndsWith("bias", StringComparison.Ordinal))
        {
            parameters[key].Value.Zero();
            return;
        }

        var weight = parameters[key].Value.Zero();
        for (long o = 0; o < weight.Size(0); o++)
            weight.Select(0, o).Select(0, o % weight.Size(1)).Fill(1);
    }

    private void WriteEncoder()
    {
        var (weight, _) = Convolution("encoder.conv_in.conv");
        for (long o = 0; o < weight.Size(0); o++)
            Tap(weight, 2, 1, 1).Select(0, o).Select(0, o % 3).Fill(1);
        for (var i = 0; i < LinearAutoencoder.Levels; i++)
        {
            var level = linear.AllLevels[i];
            var inputs = level.Space.Shape[0] / 4;
            var (space, _) = Convolution($"encoder.down_blocks.{i}.downsamplers.0.conv.conv");
            for (var block = 0; block < 4; block++)
            {
                var map = level.Space.Value.Narrow(0, block * inputs, inputs);                     // [i, m]
                WriteRepeated(Tap(space, 2, 1 + (block / 2), 1 + (block % 2)), map);
            }

            var (time, bias) = Convolution($"encoder.down_blocks.{i}.temporal_downsamplers.0.conv.conv");
            if (i < LinearAutoencoder.Levels - 1)
            {
                WriteRepeated(Tap(time, 1, 1, 1), level.First);
                WriteRepeated(Tap(time, 2, 1, 1), level.Second);
            }
            else
            {
                // Centred before the norm: a large mean would change its scale.
                WritePaired(Tap(time, 1, 1, 1), bias, level.First, linear.LatentMean, EncoderConstant);
                WritePaired(Tap(time, 2, 1, 1), bias, level.Second, linear.LatentMean, EncoderConstant);
            }
        }

        var latent = linear.LatentMean.Value.ElementCount;
        WriteReadOut("encoder", latent, EncoderConstant);
        var (_, logVariance) = Convolution("encoder.conv_out.conv", keep: true);
        logVariance.Narrow(0, latent, latent).Fill(InitialLogVariance);
        WriteIdentity("quant_conv");
        WriteIdentity("post_quant_conv").CopyFrom(linear.LatentMean);
    }

    private void WriteDecoder()
    {
        var (weight, _) = Convolution("decoder.conv_in.conv");
        WriteRepeated(Tap(weight, 2, 1, 1), Tensor.Eye(linear.LatentMean.Value.ElementCount));
        for (var i = 0; i < LinearAutoencoder.Levels; i++)
        {
            var level = linear.AllLevels[LinearAutoencoder.Levels - 1 - i];
            var outputs = level.UpFirst.Bias.Shape[0] / 4;
            var (space, spaceBias) = Convolution($"decoder.up_blocks.{i}.upsamplers.0.conv.conv");
            for (var block = 0; block < 4; block++)
            {
                var part = new[] { level.UpFirst, level.UpSecond };
                var maps = part.Select(p => p.Weight.Value.Narrow(1, block * outputs, outputs)).ToArray();
                var map = Tensor.Cat(maps, 1);                                                     // [c, 2 * outputs]
                var bias = Tensor.Cat([.. part.Select(p => p.Bias.Value.Narrow(0, block * outputs, outputs))], 0);
                WriteRepeated(Every(Tap(space, 2, 1, 1), block, 4), map);
                Repeat(Every(spaceBias, block, 4), bias);
            }

            // The channels of both frames are adjacent here; the temporal convolution separates them.
            var (time, _) = Convolution($"decoder.up_blocks.{i}.temporal_upsamplers.0.conv.conv");
            for (var frame = 0; frame < 2; frame++)
            {
                var rows = Every(Tap(time, 2, 1, 1), frame, 2);                                    // [c, c]
                for (long o = 0; o < rows.Size(0); o++)
                    rows.Select(0, o).Narrow(0, (frame * outputs) + (o % outputs), 1).Fill(1);
            }
        }

        var (shortcut, constant) = Convolution("decoder.up_blocks.3.resnets.0.conv_shortcut.conv");
        WritePaired(Tap(shortcut, 0, 0, 0), constant, Tensor.Eye(3), Tensor.Zeros([3]), DecoderConstant);
        WriteReadOut("decoder", 3, DecoderConstant);
    }

    // Norm scales restore the size of the pairs; the last convolution computes silu(u) - silu(-u) = u.
    private void WriteReadOut(string part, long signals, double constant)
    {
        var norm = parameters[$"{part}.conv_norm_out.weight"].Value;
        parameters[$"{part}.conv_norm_out.bias"].Value.Zero();
        var channels = norm.ElementCount;
        var size = channels / groups;
        for (long g = 0; g < groups; g++)
        {
            var pairs = Enumerable.Range(0, (int)signals).Count(s => s % groups == g);
            var energy = ((2 * pairs) + ((size - (2 * pairs)) * constant * constant)) / size;
            norm.Narrow(0, g * size, size).Fill(Math.Sqrt(energy));
        }

        var (weight, _) = Convolution($"{part}.conv_out.conv");
        var tap = Tap(weight, 2, 1, 1);
        for (long s = 0; s < signals; s++)
        {
            var at = PairPlace(s, size);
            tap.Select(0, s).Narrow(0, at, 1).Fill(1);
            tap.Select(0, s).Narrow(0, at + 1, 1).Fill(-1);
        }
    }

    // Signal s becomes channels +u, -u of group s mod groups; the other channels of each group are constants.
    private void WritePaired(Tensor tap, Tensor bias, Tensor map, Tensor mean, double constant)
    {
        var signals = map.Size(1);
        var size = bias.ElementCount / groups;
        if (size < 2 * ((signals + groups - 1) / groups) + 2)
            throw TrainingFault.ChannelsTooFew(bias.ElementCount, groups, signals);
        for (long c = 0; c < bias.ElementCount; c++)
            bias.Narrow(0, c, 1).Fill(c % 2 == 0 ? constant : -constant);
        for (long s = 0; s < signals; s++)
        {
            var at = PairPlace(s, size);
            bias.Narrow(0, at, 1).CopyFrom(-mean.Narrow(0, s, 1));
            bias.Narrow(0, at + 1, 1).CopyFrom(mean.Narrow(0, s, 1));
            tap.Select(0, at).Narrow(0, 0, map.Size(0)).CopyFrom(map.Select(1, s));
            tap.Select(0, at + 1).Narrow(0, 0, map.Size(0)).CopyFrom(-map.Select(1, s));
        }
    }

    private long PairPlace(long signal, long groupSize) => (signal % groups * groupSize) + (signal / groups * 2);

    private Tensor WriteIdentity(string name)
    {
        var (weight, bias) = Convolution(name + ".conv");
        Tap(weight, 0, 0, 0).CopyFrom(Tensor.Eye(weight.Size(0)));
        return bias;
    }

    // Zeroes a convolution and returns its weight and bias.
    private (Tensor Weight, Tensor Bias) Convolution(string key, bool keep = false)
    {
        var (weight, bias) = (parameters[key + ".weight"].Value, parameters[key + ".bias"].Value);
        if (!keep)
        {
            weight.Zero();
            bias.Zero();
        }

        return (weight, bias);
    }

    private static Tensor Tap(Tensor weight, int t, int y, int x) => weight.Select(4, x).Select(3, y).Select(2, t);

    private static Tensor Every(Tensor rows, int start, int step) => rows.Slice(0, start, rows.Size(0), step);

    // Repeats the map's outputs until all rows of the tap are written; later layers read only the first copy.
    private static void WriteRepeated(Tensor tap, Tensor map)
    {
        for (long o = 0; o < tap.Size(0); o++)
            tap.Select(0, o).Narrow(0, 0, map.Size(0)).CopyFrom(map.Select(1, o % map.Size(1)));
    }

    private static void Repeat(Tensor target, Tensor values)
    {
        for (long o = 0; o < target.ElementCount; o++)
            target.Narrow(0, o, 1).CopyFrom(values.Narrow(0, o % values.ElementCount, 1));
    }
}
