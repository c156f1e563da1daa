using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// Causal video autoencoder: 1 + 8(n - 1) frames become n latent frames, 8 times smaller in height and width. No frame depends on
/// a later one, so a picture is a video of one frame, and a video can be encoded and decoded piece by piece.
/// </summary>
public sealed class CausalVideoVae : Module
{
    private readonly CausalVaeCoder encoder;
    private readonly CausalVaeCoder decoder;
    private readonly CausalConv3d quantConv;
    private readonly CausalConv3d postQuantConv;

    /// <summary>Declares the network; its weights are loaded or initialised later.</summary>
    public CausalVideoVae(CausalVideoVaeConfig config)
    {
        Config = config;
        encoder = CausalVaeCoder.Encoder(config);
        decoder = CausalVaeCoder.Decoder(config);
        quantConv = new CausalConv3d(2 * config.EncoderOutChannels, 2 * config.EncoderOutChannels, kernel: 1);
        postQuantConv = new CausalConv3d(config.EncoderOutChannels, config.EncoderOutChannels, kernel: 1);
    }

    /// <summary>Reads a VAE from its folder.</summary>
    /// <param name="component">The folder, such as <c>causal_video_vae</c> of a checkpoint.</param>
    /// <param name="type">Element type to hold the weights in.</param>
    /// <param name="device">Where to hold them; null is the CPU.</param>
    /// <exception cref="CheckpointException">The config or a weight is missing, damaged or of another network.</exception>
    public static CausalVideoVae Load(ComponentFolder component, ElementType type, Device? device = null)
    {
        var vae = new CausalVideoVae(CausalVideoVaeConfig.Read(component.ConfigFile));
        try
        {
            using var weights = component.OpenWeights();
            vae.Load(weights, type, device);
            return vae;
        }
        catch
        {
            vae.Dispose();
            throw;
        }
    }

    /// <summary>Weight of the last convolution of the decoder, [3, in, 3, 3, 3].</summary>
    public Parameter LastWeight => decoder.LastWeight;

    /// <summary>Sizes of the network.</summary>
    public CausalVideoVaeConfig Config { get; }

    /// <summary>
    /// Element type of the convolutions; null keeps the type of the weights, which all other layers always use. On processors with
    /// bfloat16 instructions, bfloat16 makes encoding, decoding and training twice as fast and costs about 0.04 dB.
    /// </summary>
    public ElementType? ConvolutionType { get; init; }

    /// <summary>
    /// Whether residual blocks use gradient checkpointing: they keep only their input for backward and are computed again there.
    /// Training takes about half the memory and a third more time.
    /// </summary>
    public bool UsesGradientCheckpointing { get; set; }

    /// <summary>
    /// Whether a single first frame is computed with all taps of the convolutions, even those that see only zeros, and with the half
    /// of temporal upsampling that is dropped. This plain form gives the same pixels with more work; benchmarks compare with it.
    /// </summary>
    internal bool ComputesZeroTaps { get; set; }

    /// <summary>Whether training changes the encoder. If not, transformers trained on its latents still fit.</summary>
    public bool TrainsEncoder
    {
        get => EncoderParameters.Any(parameter => parameter.Trainable);
        set
        {
            foreach (var parameter in EncoderParameters)
                parameter.Trainable = value;
        }
    }

    private IEnumerable<Parameter> EncoderParameters => ((Module[])[encoder, quantConv]).SelectMany(part => part.NamedParameters()).Select(p => p.Parameter);

    /// <summary>Encodes a video.</summary>
    /// <param name="x">Pixels in -1 to 1, [b, 3, 1 + 8n, 8h, 8w].</param>
    /// <param name="window">Frames at a time after the first, a multiple of 8. Takes less memory, gives the same latents, records no gradients;
    /// null encodes all frames in one call.</param>
    /// <param name="tiles">Tiles to divide the frames into; null works on whole frames.</param>
    /// <returns>Latents, [b, c, 1 + n, h, w].</returns>
    /// <exception cref="ArgumentException">The pixels have another shape, or the window is not a multiple of 8.</exception>
    public DiagonalGaussian Encode(Tensor x, int? window = null, TileOptions? tiles = null)
    {
        CheckChannels(x, Config.EncoderInChannels, "a video");
        if (window is { } frames)
        {
            if (frames < 1 || frames % Config.TemporalScale != 0)
                throw new ArgumentException($"a window of {frames} frames is not a multiple of {Config.TemporalScale}: use {NearestMultiple(frames)}", nameof(window));
            using var stream = EncodeStream(tiles);
            return new DiagonalGaussian(InPieces(stream, x, frames));
        }

        var tiling = Tiling.ForEncoding(tiles, x.Size(3), x.Size(4), Config.SpatialScale);
        return new DiagonalGaussian(tiling is null
            ? EncodeFrames(x, CausalPass.Whole)
            : tiling.Run(x, (tile, _) => EncodeFrames(tile, CausalPass.Whole)));
    }

    /// <summary>Decodes latents.</summary>
    /// <param name="z">Latents, [b, c, n, h, w].</param>
    /// <param name="window">Latent frames at a time after the first. Takes less memory, gives the same video, records no gradients; null decodes all in one call.</param>
    /// <param name="tiles">Tiles to divide the frames into; null works on whole frames.</param>
    /// <param name="isStart">Whether the latents begin a video; if not, the first latent frame becomes 8 frames like all others. Applies only without
    /// window and tiles.</param>
    /// <returns>Pixels, about -1 to 1, [b, 3, 1 + 8(n - 1), 8h, 8w].</returns>
    /// <exception cref="ArgumentException">The latents have another shape, or the window is less than 1.</exception>
    public Tensor Decode(Tensor z, int? window = null, TileOptions? tiles = null, bool isStart = true)
    {
        CheckChannels(z, Config.EncoderOutChannels, "a latent video");
        if (window is { } frames)
        {
            if (frames < 1)
                throw new ArgumentException($"a window of {frames} latent frames is less than 1", nameof(window));
            using var stream = DecodeStream(tiles);
            return InPieces(stream, z, frames);
        }

        var tiling = Tiling.ForDecoding(tiles, z.Size(3), z.Size(4), Config.SpatialScale);
        return tiling is null
            ? DecodeFrames(z, new CausalPass(isStart))
            : tiling.Run(z, (tile, _) => DecodeFrames(tile, CausalPass.Whole));
    }

    /// <summary>
    /// Decodes a video like a <see cref="DecodeStream"/> with tiles, but decodes all pieces of one tile before the next tile. The cache
    /// of previous frames then covers one tile instead of all. Gives the same frames, but none before all are decoded.
    /// </summary>
    /// <param name="pieces">Latents of consecutive pieces, [b, c, t, h, w] each.</param>
    /// <param name="tiles">Tiles with <see cref="TileBlend.Weighted"/>.</param>
    /// <param name="begin">Called before each tile with the number of tiles done and in total.</param>
    /// <param name="cancellationToken">Checked before each piece of a tile.</param>
    /// <returns>Frames of each piece, [b, 3, t', 8h, 8w], on the CPU.</returns>
    /// <exception cref="ArgumentException">The latents have another shape, or these tiles cannot be decoded one after another.</exception>
    public Tensor[] DecodeTileByTile(IReadOnlyList<Tensor> pieces, TileOptions tiles, Action<int, int>? begin = null, CancellationToken cancellationToken = default)
    {
        foreach (var piece in pieces)
            CheckChannels(piece, Config.EncoderOutChannels, "a latent video");
        if (!tiles.CanGoOneByOne)
            throw new ArgumentException("tiles that are blended the released code's way cannot be decoded one after another: use weighted ones", nameof(tiles));
        var tiling = Tiling.ForDecoding(tiles, pieces[0].Size(3), pieces[0].Size(4), Config.SpatialScale);
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        Tensor[] frames = tiling is null ? [.. Tile(pieces, 0).Select(part => part.To(Device.Cpu))] : tiling.Run(pieces, Tile, Device.Cpu);
        return [.. frames.Select(scope.Keep)];

        IEnumerable<Tensor> Tile(IEnumerable<Tensor> parts, int tile)
        {
            begin?.Invoke(tile, tiling?.Count ?? 1);
            using var stream = DecodeStream();
            foreach (var (i, part) in parts.Index())
            {
                cancellationToken.ThrowIfCancellationRequested();
                yield return stream.Push(part, isEnd: i == pieces.Count - 1);
            }
        }
    }

    /// <summary>
    /// Encodes a video piece by piece: push 1 + 8n frames first, then multiples of 8. Each push returns the moments of its latent
    /// frames, [b, 2c, n, h, w], for <see cref="DiagonalGaussian"/>.
    /// </summary>
    /// <param name="tiles">Tiles to divide the frames into; null works on whole frames.</param>
    /// <param name="isTraining">Whether gradients are recorded within each piece. Run the backward pass of a piece before the next push.</param>
    public VaeStream EncodeStream(TileOptions? tiles = null, bool isTraining = false) => new(
        EncodeFrames,
        (height, width) => Tiling.ForEncoding(tiles, height, width, Config.SpatialScale),
        (frames, isStart) =>
        {
            CheckChannels(frames, Config.EncoderInChannels, "a video");
            CheckPiece(frames.Size(2), isStart);
        },
        isTraining);

    /// <summary>
    /// Decodes a video piece by piece: push one or more latent frames. Each push returns their pixels; the first latent frame becomes
    /// 1 frame, every other 8.
    /// </summary>
    /// <param name="tiles">Tiles to divide the frames into; null works on whole frames.</param>
    /// <param name="isTraining">Whether gradients are recorded within each piece. Run the backward pass of a piece before the next push.</param>
    public VaeStream DecodeStream(TileOptions? tiles = null, bool isTraining = false) => SharedDecodeStream(tiles, isTraining, null);

    /// <summary>Decodes a video piece by piece, alone or together with other processes.</summary>
    /// <param name="tiles">Tiles to divide the frames into; null works on whole frames.</param>
    /// <param name="isTraining">Whether gradients are recorded within each piece.</param>
    /// <param name="shared">The processes that decode together; null is this one alone.</param>
    internal VaeStream SharedDecodeStream(TileOptions? tiles, bool isTraining, SharedDecoder? shared) => new(
        DecodeFrames,
        (height, width) => Tiling.ForDecoding(tiles, height, width, Config.SpatialScale),
        (frames, _) => CheckChannels(frames, Config.EncoderOutChannels, "a latent video"),
        isTraining)
    {
        Shared = shared,
        ResultShape = (z, isStart) => [z[0], Config.DecoderOutChannels, (z[2] * Config.TemporalScale) - (isStart ? Config.TemporalScale - 1 : 0), z[3] * Config.SpatialScale, z[4] * Config.SpatialScale],
    };

    // The first piece has one frame more than the others: the first frame of the video.
    private static Tensor InPieces(VaeStream stream, Tensor x, int window)
    {
        using var scope = new TensorScope();
        var (total, pieces) = (x.Size(2), new List<Tensor>());
        for (long start = 0, end = Math.Min(window + 1, total); start < total; (start, end) = (end, Math.Min(end + window, total)))
            pieces.Add(stream.Push(x.Narrow(2, start, end - start), isEnd: end == total));
        return scope.Keep(pieces.Count == 1 ? pieces[0] : Tensor.Cat([.. pieces], 2));
    }

    private static void CheckChannels(Tensor x, long channels, string what)
    {
        var shape = x.Shape;
        if (shape.Length != 5 || shape[1] != channels || shape.Any(size => size < 1))
            throw new ArgumentException($"{what} here is [batch, {channels}, frames, height, width], not [{string.Join(", ", shape)}]");
    }

    private Tensor EncodeFrames(Tensor x, CausalPass pass)
    {
        using var scope = new TensorScope();
        pass = WithSettings(pass);
        return scope.Keep(quantConv.Forward(encoder.Forward(x, pass), pass));                             // [b, 2c, t', h', w']
    }

    private Tensor DecodeFrames(Tensor z, CausalPass pass)
    {
        using var scope = new TensorScope();
        pass = WithSettings(pass);
        return scope.Keep(decoder.Forward(postQuantConv.Forward(z, pass), pass));                         // [b, 3, t, h, w]
    }

    private CausalPass WithSettings(CausalPass pass) =>
        pass with { ConvolutionType = ConvolutionType, UsesGradientCheckpointing = UsesGradientCheckpointing, ComputesZeroTaps = ComputesZeroTaps };

    private void CheckPiece(long frames, bool isStart)
    {
        var scale = Config.TemporalScale;
        if ((isStart ? frames - 1 : frames) % scale == 0)
            return;
        var fit = frames / scale * scale;
        throw new ArgumentException(isStart
            ? $"the video's first piece has {frames} frames, which is not 1 more than a multiple of {scale}: use {fit + 1}"
            : $"a piece has {frames} frames, which is not a multiple of {scale}: use {NearestMultiple(frames)}");
    }

    private long NearestMultiple(long frames) => Math.Max(1, frames / Config.TemporalScale) * Config.TemporalScale;
}
