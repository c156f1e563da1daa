using PyramidFlow.Torch;

namespace PyramidFlow.Vae;

/// <summary>
/// Causal video autoencoder: 1 + 8(n - 1) frames are n latent frames, each 8 times smaller in height and width, and no
/// frame depends on a later one, so a picture is a video of one frame and a video can be done piece by piece.
/// </summary>
public sealed class CausalVideoVae : Module
{
    private readonly CausalVaeEncoder encoder;
    private readonly CausalVaeDecoder decoder;
    private readonly CausalConv3d quantConv;
    private readonly CausalConv3d postQuantConv;

    /// <summary>Declares the network; it has no weights until it is loaded or initialised.</summary>
    public CausalVideoVae(CausalVideoVaeConfig config)
    {
        Config = config;
        encoder = new CausalVaeEncoder(config);
        decoder = new CausalVaeDecoder(config);
        quantConv = new CausalConv3d(2 * config.EncoderOutChannels, 2 * config.EncoderOutChannels, kernel: 1);
        postQuantConv = new CausalConv3d(config.EncoderOutChannels, config.EncoderOutChannels, kernel: 1);
    }

    /// <summary>Sizes of the network.</summary>
    public CausalVideoVaeConfig Config { get; }

    /// <summary>Encodes a whole video.</summary>
    /// <param name="x">Pixels in -1 to 1, [b, 3, 1 + 8n, 8h, 8w].</param>
    /// <returns>Latents, [b, c, 1 + n, h, w].</returns>
    public DiagonalGaussian Encode(Tensor x) => new(EncodeMoments(x, CausalPass.Whole));

    /// <summary>Decodes a whole video.</summary>
    /// <param name="z">Latents, [b, c, n, h, w].</param>
    /// <param name="isStart">Whether they begin a video; if not, the first latent frame too becomes 8 frames.</param>
    /// <returns>Pixels, about -1 to 1, [b, 3, 1 + 8(n - 1), 8h, 8w].</returns>
    public Tensor Decode(Tensor z, bool isStart = true) => DecodeFrames(z, new CausalPass(isStart));

    internal Tensor EncodeMoments(Tensor x, CausalPass pass)
    {
        using var scope = new TensorScope();
        return scope.Keep(quantConv.Forward(encoder.Forward(x, pass), pass));                             // [b, 2c, t', h', w']
    }

    internal Tensor DecodeFrames(Tensor z, CausalPass pass)
    {
        using var scope = new TensorScope();
        return scope.Keep(decoder.Forward(postQuantConv.Forward(z, pass), pass));                         // [b, 3, t, h, w]
    }
}
