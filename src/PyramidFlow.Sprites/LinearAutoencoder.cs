using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Sprites;

/// <summary>
/// Linear version of the causal video VAE: at each of three levels, 2x2 pixel blocks and then pairs of frames are mapped linearly to fewer
/// channels, and back. It trains in a minute, while the whole network would take hours from random weights. <see cref="LinearStart"/> writes
/// its maps into the network.
/// </summary>
/// <remarks>Channels last: [b, t, h, w, c]. The first frame has no partner; it uses only the maps of a pair's second frame, as in causal convolutions.</remarks>
internal sealed class LinearAutoencoder : Module
{
    /// <summary>Number of levels; each halves height, width and time.</summary>
    public const int Levels = 3;

    private readonly Level[] levels;
    private readonly Parameter latentMean;

    /// <summary>Declares the maps.</summary>
    /// <param name="widths">Channels of the network at its first three levels.</param>
    /// <param name="latent">Number of latent channels.</param>
    public LinearAutoencoder(IReadOnlyList<long> widths, long latent)
    {
        levels = new Level[Levels];
        for (var i = 0; i < Levels; i++)
        {
            var inputs = i == 0 ? 3 : widths[i - 1];
            levels[i] = new Level(inputs, Math.Min(4 * inputs, widths[i]), i == Levels - 1 ? latent : widths[i]);
        }

        latentMean = new Parameter([latent], Initializers.Zeros) { Trainable = false };
    }

    internal IReadOnlyList<Level> AllLevels => levels;

    /// <summary>Subtracted from the latents, [c].</summary>
    internal Parameter LatentMean => latentMean;

    /// <summary>Video [b, 1 + 8n, h, w, 3] in [-1, 1] to latents [b, 1 + n, h/8, w/8, c].</summary>
    public Tensor Encode(Tensor video)
    {
        foreach (var level in levels)
            video = level.Encode(video);
        return video - latentMean;
    }

    /// <summary>Decodes latents to video.</summary>
    public Tensor Decode(Tensor latents)
    {
        latents += latentMean;
        foreach (var level in levels.Reverse())
            latents = level.Decode(latents);
        return latents;
    }

    /// <summary>Initialises the maps from principal components: the second frame of a pair is kept, the first is coded as its difference to the second.</summary>
    /// <param name="video">A sample, [b, 1 + 8n, h, w, 3] in [-1, 1].</param>
    public void InitializeFrom(Tensor video)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        foreach (var level in levels)
        {
            level.InitializeFrom(video);
            video = level.Encode(video);
        }
    }

    /// <summary>
    /// Rotates the latent channels to principal components of the decoded picture, centres them, and divides each by a power of its root mean
    /// square: 1 whitens the channels, 0 keeps their sizes.
    /// </summary>
    /// <param name="video">A sample, [b, 1 + 8n, h, w, 3] in [-1, 1].</param>
    /// <param name="power">0 to 1.</param>
    public void NormalizeLatents(Tensor video, double power)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var last = levels[^1];
        var latents = Encode(video).Flatten(0, 3);                                                 // [n, c]
        var mean = latents.Mean([0]);
        var centred = latents - mean;
        var covariance = centred.Transpose(0, 1).Matmul(centred) / centred.Size(0);
        var (first, second) = (last.UpFirst.Weight.Value, last.UpSecond.Weight.Value);
        var picture = first.Matmul(first.Transpose(0, 1)) + second.Matmul(second.Transpose(0, 1)); // [c, c]

        // With picture = L L^T, the norm of y = L^T z is that of the picture decoded from z.
        var lower = picture.Cholesky();
        var (values, vectors) = lower.Transpose(0, 1).Matmul(covariance).Matmul(lower).Eigh();
        var size = values.ClampMin(1e-10).Sqrt();
        var whole = (size * size).Mean().Sqrt();
        var scale = (size / whole).Pow(power) * whole;                                             // [c]
        var map = lower.Matmul(vectors) / scale;                                                   // z' = z map
        var back = map.Inverse();
        latentMean.Value = (mean + latentMean).Unsqueeze(0).Matmul(map).Squeeze(0);
        foreach (var up in new[] { last.First, last.Second })
            up.Value.CopyFrom(up.Value.Matmul(map));
        foreach (var down in new[] { last.UpFirst.Weight, last.UpSecond.Weight })
            down.Value.CopyFrom(back.Matmul(down));
    }

    /// <summary>A level: halves height, width and time.</summary>
    internal sealed class Level : Module
    {
        private readonly Parameter space;
        private readonly Parameter first;
        private readonly Parameter second;
        private readonly Parameter upFirst;
        private readonly Parameter upSecond;
        private readonly Parameter biasFirst;
        private readonly Parameter biasSecond;
        private readonly long inputs;
        private readonly long outputs;

        internal Level(long inputs, long middle, long outputs)
        {
            this.inputs = inputs;
            this.outputs = outputs;
            space = new Parameter([4 * inputs, middle], Initializers.Normal(0.1));
            first = new Parameter([middle, outputs], Initializers.Normal(0.1));
            second = new Parameter([middle, outputs], Initializers.Normal(0.1));
            upFirst = new Parameter([outputs, 4 * inputs], Initializers.Normal(0.1));
            upSecond = new Parameter([outputs, 4 * inputs], Initializers.Normal(0.1));
            biasFirst = new Parameter([4 * inputs], Initializers.Zeros);
            biasSecond = new Parameter([4 * inputs], Initializers.Zeros);
        }

        /// <summary>Blocks of 2x2 pixels (row, column, channel) to middle channels.</summary>
        internal Parameter Space => space;

        /// <summary>First frame of a pair to output channels.</summary>
        internal Parameter First => first;

        /// <summary>Second frame of a pair, or the first frame of the video, to output channels.</summary>
        internal Parameter Second => second;

        /// <summary>Output channels to the blocks of a pair's first frame, and its bias.</summary>
        internal (Parameter Weight, Parameter Bias) UpFirst => (upFirst, biasFirst);

        /// <summary>Output channels to the blocks of a pair's second frame, and its bias.</summary>
        internal (Parameter Weight, Parameter Bias) UpSecond => (upSecond, biasSecond);

        internal Tensor Encode(Tensor x)
        {
            var (start, a, b) = Pairs(Blocks(x).Matmul(space));                                  // [b, n, h/2, w/2, m]
            return Tensor.Cat([start.Matmul(second), a.Matmul(first) + b.Matmul(second)], 1);    // [b, 1 + n, h/2, w/2, c]
        }

        internal Tensor Decode(Tensor z)
        {
            var shape = z.Shape;                                                                  // [b, 1 + n, h, w, c]
            var later = z.Narrow(1, 1, shape[1] - 1);
            var a = later.Matmul(upFirst) + biasFirst;                                            // [b, n, h, w, 4i]
            var b = z.Matmul(upSecond) + biasSecond;                                              // [b, 1 + n, h, w, 4i]
            var pairs = Tensor.Stack([a, b.Narrow(1, 1, shape[1] - 1)], 2).Flatten(1, 2);         // [b, 2n, h, w, 4i]
            var blocks = Tensor.Cat([b.Narrow(1, 0, 1), pairs], 1);                               // [b, 1 + 2n, h, w, 4i]
            return blocks.Reshape(shape[0], -1, shape[2], shape[3], 2, 2, inputs)
                .Permute(0, 1, 2, 4, 3, 5, 6).Reshape(shape[0], -1, 2 * shape[2], 2 * shape[3], inputs);
        }

        internal void InitializeFrom(Tensor x)
        {
            using var scope = new TensorScope();
            var blocks = Blocks(x);
            var middle = space.Shape[1];
            var (_, spaceBasis) = PrincipalComponents(blocks, middle);                            // [4i, m]
            space.Value.CopyFrom(spaceBasis);
            var (_, a, b) = Pairs(blocks.Matmul(spaceBasis));
            var (stillEnergy, still) = PrincipalComponents(b, middle);
            var (changeEnergy, change) = PrincipalComponents(a - b, middle);

            // Components of the picture and of its change are ranked by energy for the output channels.
            var ranked = stillEnergy.Select((e, i) => (Energy: e, Change: false, Index: i))
                .Concat(changeEnergy.Select((e, i) => (Energy: e, Change: true, Index: i)))
                .OrderByDescending(c => c.Energy).Take((int)outputs).ToList();
            first.Value.Zero();
            second.Value.Zero();
            upFirst.Value.Zero();
            upSecond.Value.Zero();
            for (var i = 0; i < ranked.Count; i++)
            {
                var component = (ranked[i].Change ? change : still).Select(1, ranked[i].Index);   // [m]
                var back = spaceBasis.Matmul(component);                                          // [4i]
                second.Value.Select(1, i).CopyFrom(ranked[i].Change ? -component : component);
                upFirst.Value.Select(0, i).CopyFrom(back);
                if (ranked[i].Change)
                    first.Value.Select(1, i).CopyFrom(component);
                else
                    upSecond.Value.Select(0, i).CopyFrom(back);
            }
        }

        private static Tensor Blocks(Tensor x)
        {
            var s = x.Shape;                                                                      // [b, t, h, w, c]
            return x.Reshape(s[0], s[1], s[2] / 2, 2, s[3] / 2, 2, s[4])
                .Permute(0, 1, 2, 4, 3, 5, 6).Reshape(s[0], s[1], s[2] / 2, s[3] / 2, 4 * s[4]);
        }

        private static (Tensor Start, Tensor First, Tensor Second) Pairs(Tensor x)
        {
            var frames = x.Size(1);
            return (x.Narrow(1, 0, 1), x.Slice(1, 1, frames, 2), x.Slice(1, 2, frames, 2));
        }

        private static (double[] Energy, Tensor Basis) PrincipalComponents(Tensor x, long count)
        {
            var rows = x.Reshape(-1, x.Size(-1));
            var (values, vectors) = (rows.Transpose(0, 1).Matmul(rows) / rows.Size(0)).Eigh();
            var total = vectors.Size(1);
            var energy = values.Flip(0).Narrow(0, 0, count).To(ElementType.Float64).ToArray<double>();
            return (energy, vectors.Narrow(1, total - count, count).Flip(1));
        }
    }
}

/// <summary>Fits a <see cref="LinearAutoencoder"/> to clips of the sprites world.</summary>
internal static class LinearStartFit
{
    /// <summary>Name of the file of the maps in a run folder.</summary>
    public const string FileName = "linear.safetensors";

    private const int SampleClips = 12;
    private const int ClipsPerStep = 2;

    /// <summary>Reads the maps of a run, or fits and writes them if they are missing.</summary>
    public static LinearAutoencoder OpenOrFit(string path, SpriteVaeConfig config, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken)
    {
        if (!File.Exists(path))
        {
            using var fitted = Fit(config, progress, cancellationToken);
            using var scope = new TensorScope();
            SafetensorsWriter.Write(path, fitted.NamedParameters().Select(p => (p.Key, p.Parameter.Value)));
        }

        var linear = Declare(config);
        using var source = SafetensorsFile.Open(path);
        linear.Load(source);
        return linear;
    }

    /// <summary>Initialises from principal components, then optimises all maps by gradient descent.</summary>
    /// <param name="config">Seed, frames, steps, learning rate and widths.</param>
    /// <param name="progress">Reports progress every 20 steps; null reports nothing.</param>
    /// <param name="cancellationToken">Checked before every step.</param>
    public static LinearAutoencoder Fit(SpriteVaeConfig config, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken)
    {
        var linear = Declare(config);
        using var generator = new RandomGenerator((ulong)config.Seed);
        linear.Initialize(generator);
        using (var scope = new TensorScope())
            linear.InitializeFrom(Clips(config, 0, SampleClips));

        using var parameters = new FlatParameters(("", linear));
        using var optimizer = new AdamW(parameters, new AdamWOptions { WeightDecay = 0, Beta2 = 0.99 });
        var rate = new LearningRate(config.LinearLearningRate, 10, config.LinearSteps, LearningRateShape.Cosine);
        for (var step = 0; step < config.LinearSteps; step++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = new TensorScope();
            var video = Clips(config, SampleClips + (step * ClipsPerStep), ClipsPerStep);
            var error = linear.Decode(linear.Encode(video)) - video;
            var loss = (error * error).Mean();
            loss.Backward();
            parameters.ClipGradients(config.ClipNorm);
            optimizer.Step(rate.At(step));
            parameters.ZeroGradients();
            if (step % 20 == 19)
                progress?.Report(new TrainingProgress(step + 1, config.LinearSteps, loss.Item(), 0, "linear start"));
        }

        Unflatten(linear);
        using (var scope = new TensorScope())
            linear.NormalizeLatents(Clips(config, 0, SampleClips), config.WhiteningPower);
        return linear;
    }

    internal static LinearAutoencoder Declare(SpriteVaeConfig config) =>
        new([.. config.Vae.EncoderBlockOutChannels.Take(LinearAutoencoder.Levels).Select(c => (long)c)], config.Vae.EncoderOutChannels);

    private static Tensor Clips(SpriteVaeConfig config, long first, int count)
    {
        var clips = new Tensor[count];
        for (var i = 0; i < count; i++)
            clips[i] = SpriteClips.RenderChannelsLast(SpriteWorld.Scene(config.Seed, first + i), config.Frames);
        return Tensor.Cat(clips, 0);
    }

    // The flat parameter vector is disposed after fitting, so the maps need memory of their own.
    private static void Unflatten(LinearAutoencoder linear)
    {
        using var noGrad = NoGrad.Begin();
        foreach (var (_, parameter) in linear.NamedParameters())
        {
            using var scope = new TensorScope();
            parameter.Value = parameter.Value.Detach().Clone();
        }
    }
}
