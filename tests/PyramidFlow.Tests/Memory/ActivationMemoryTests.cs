using System.Globalization;
using PyramidFlow.Generation;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Memory;

/// <summary>Estimates against what the allocator says was held at most.</summary>
public class ActivationMemoryTests
{
    private const double Allowed = 0.25;

    private static readonly PyramidFluxConfig Flux = new(InChannels: 16, NumLayers: 2, NumSingleLayers: 2, AttentionHeadDim: 32,
        NumAttentionHeads: 6, JointAttentionDim: 64, PooledProjectionDim: 64, AxesDimsRope: [8, 12, 12]);

    private static readonly PyramidMmditConfig Mmdit = new(InChannels: 4, NumLayers: 3, AttentionHeadDim: 32, NumAttentionHeads: 6,
        CaptionProjectionDim: 192, JointAttentionDim: 64, PooledProjectionDim: 64, SampleSize: 32, PosEmbedMaxSize: 48);

    public static TheoryData<string, ElementType, bool> Transformers => new(
        from family in new[] { "flux", "mmdit" }
        from type in new[] { ElementType.Float32, ElementType.BFloat16 }
        from usesPrefix in new[] { false, true }
        select (family, type, usesPrefix));

    [Theory]
    [MemberData(nameof(Transformers))]
    public void Transformer(string family, ElementType type, bool usesPrefix)
    {
        const int rows = 2, text = 24, steps = 4;
        ITransformerConfig config = family == "flux" ? Flux : Mmdit;
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(1);
        using var model = config.Build();
        model.Initialize(generator);
        model.To(type);
        var condition = new TextCondition(Tensor.Randn([rows, text, config.JointAttentionDim], generator, type), TextMask.OfLengths([text, text]),
            Tensor.Randn([rows, config.PooledProjectionDim], generator, type));
        Tensor[] history = usesPrefix ? [Clip(6, 16), Clip(1, 32)] : [];
        var noisy = Clip(1, 48);
        var shape = new SequenceShape(rows, text, [.. history.Select(ClipSize.Of), ClipSize.Of(noisy)], Causal: true);
        var options = new SamplerOptions();

        var held = Most(() =>
        {
            using var velocity = StageVelocity.Begin(model, history, ClipSize.Of(noisy), condition, [900, 600, 400, 200], options);
            velocity.At(noisy, 0);
        });
        Check(TransformerMemory.Stage(config, shape, steps, type, DeviceType.Cpu, options.Attention, usesPrefix ? options.PrefixBytes : null), held);

        Tensor Clip(long time, long side) => Tensor.Randn([rows, config.LatentChannels, time, side, side], generator, type);
    }

    [Theory]
    [InlineData(ElementType.Float32, 3, null, false)]
    [InlineData(ElementType.BFloat16, 3, null, false)]
    [InlineData(ElementType.Float32, 1, null, false)]
    [InlineData(ElementType.BFloat16, 1, null, false)]
    [InlineData(ElementType.Float32, 2, null, false)]
    [InlineData(ElementType.Float32, 3, 72, false)]
    [InlineData(ElementType.Float32, 3, 72, true)]
    [InlineData(ElementType.Float32, 2, 72, true)]
    [InlineData(ElementType.BFloat16, 3, 72, true)]
    public void Decoder(ElementType type, int frames, int? tile, bool byTile)
    {
        // Wide enough for the kernels that real sizes meet (CausalConv3d goes another way for small ones).
        const int side = 12;
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(1);
        var config = CausalVideoVaeConfig.Uniform([32, 64, 64, 64], 1, 3, latentChannels: 4, groups: 4);
        using var vae = new CausalVideoVae(config);
        vae.Initialize(generator);
        vae.To(type);
        var latents = Tensor.Randn([1, 4, frames, side, side], generator, type);
        var tiles = tile is { } size ? new TileOptions(size) : null;

        var pieces = latents.Chunk(frames, 2);
        var held = Most(() =>
        {
            if (byTile)
            {
                vae.DecodeTileByTile(pieces, tiles!);
                return;
            }

            using var stream = vae.DecodeStream(tiles);
            foreach (var (i, piece) in pieces.Index())
            {
                using var inner = new TensorScope();
                stream.Push(piece, isEnd: i == frames - 1);
            }
        });
        Check(DecoderMemory.Peak(config, new DecodedClip(side, side, First: 1, FramesPerUnit: 1, frames), new PipelineOptions().DecodeWindow, tiles, byTile, type), held);
    }

    private static long Most(Action work)
    {
        var before = TorchRuntime.CpuMemory.InUse;
        TorchRuntime.ResetPeak();
        using (new TensorScope())
            work();
        return TorchRuntime.CpuMemory.Peak - before;
    }

    private static void Check(long estimate, long held)
    {
        var message = string.Create(CultureInfo.InvariantCulture, $"estimated {estimate / 1e6:F2} MB, held {held / 1e6:F2} MB: {(double)estimate / held:F3}");
        TestContext.Current.TestOutputHelper?.WriteLine(message);
        Assert.True(Math.Abs(((double)estimate / held) - 1) <= Allowed, message);
    }
}
