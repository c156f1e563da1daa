using System.Text.Json;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Vae;

[Trait("golden", "vae")]
public sealed class CausalLayerGoldenTests
{
    public static TheoryData<string> Convolutions => Goldens.Names("causal_conv3d");

    public static TheoryData<string> Norms => Goldens.Names("causal_group_norm");

    public static TheoryData<string> Resnets => Goldens.Names("causal_resnet");

    public static TheoryData<string> MidBlocks => Goldens.Names("causal_mid_block");

    public static TheoryData<string> Downsamples => Goldens.Names("causal_downsample");

    public static TheoryData<string> TemporalDownsamples => Goldens.Names("causal_temporal_downsample");

    public static TheoryData<string> Upsamples => Goldens.Names("causal_upsample");

    public static TheoryData<string> TemporalUpsamples => Goldens.Names("causal_temporal_upsample");

    public static TheoryData<string> DownBlocks => Goldens.Names("down_encoder_block_causal3d");

    public static TheoryData<string> UpBlocks => Goldens.Names("up_decoder_block_causal3d");

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Convolutions))]
    public void Convolution(string name)
    {
        using var scope = new TensorScope();
        using var golden = Goldens.Open("causal_conv3d", name);
        var kernel = golden.Config.Triple("kernel_size");
        var stride = golden.Config.GetProperty("stride").ValueKind == JsonValueKind.Array
            ? golden.Config.Triple("stride")
            : [golden.Config.Integer("stride", 1), 1, 1];
        using var conv = golden.Loaded(new CausalConv3d(golden.Config.Integer("in_channels", 0), golden.Config.Integer("out_channels", 0),
            kernel, stride, golden.Config.Flag("bias", true)));
        AssertChunks(golden, conv.Forward, (cache, i) =>
        {
            if (cache.Find(conv) is { } kept)
                AssertKept(golden, $"out/cache_after.{i}", kept, kernel);
        });
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Norms))]
    public void Norm_per_frame(string name)
    {
        using var scope = new TensorScope();
        using var golden = Goldens.Open("causal_group_norm", name);
        using var norm = golden.Loaded(new CausalGroupNorm(golden.Config.Integer("num_groups", 0),
            golden.Config.Integer("num_channels", 0), golden.Config.Number("eps", 1e-5)));
        golden.AssertClose("out/y", norm.Forward(golden.Tensor("in/x")));
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Resnets))]
    public void Residual_block(string name)
    {
        using var golden = Goldens.Open("causal_resnet", name);
        var (config, inputs) = (golden.Config, golden.Config.Integer("in_channels", 0));
        var settings = new ResnetSettings(config.Integer("groups", 32), config.Number("eps", 1e-6), config.Text("non_linearity", "swish"));
        using var block = golden.Loaded(new CausalResnetBlock(inputs, config.Integer("out_channels", inputs), settings));
        AssertChunks(golden, block.Forward);
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(MidBlocks))]
    public void Mid_block(string name)
    {
        using var golden = Goldens.Open("causal_mid_block", name);
        var config = golden.Config;
        using var block = golden.Loaded(new CausalMidBlock(config.Integer("in_channels", 0), Settings(config),
            config.Integer("attention_head_dim", 1), config.Flag("add_attention", true), (int)config.Integer("num_layers", 1)));
        AssertChunks(golden, block.Forward);
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Downsamples))]
    public void Spatial_downsampling(string name)
    {
        using var golden = Goldens.Open("causal_downsample", name);
        var (inputs, outputs) = Channels(golden.Config);
        using var layer = golden.Loaded(CausalDownsample.Spatial(inputs, outputs));
        AssertChunks(golden, layer.Forward);
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(TemporalDownsamples))]
    public void Temporal_downsampling(string name)
    {
        using var golden = Goldens.Open("causal_temporal_downsample", name);
        var (inputs, outputs) = Channels(golden.Config);
        using var layer = golden.Loaded(CausalDownsample.Temporal(inputs, outputs));
        AssertChunks(golden, layer.Forward);
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Upsamples))]
    public void Spatial_upsampling(string name)
    {
        using var golden = Goldens.Open("causal_upsample", name);
        var (inputs, outputs) = Channels(golden.Config);
        using var layer = golden.Loaded(new CausalUpsample(inputs, outputs));
        AssertChunks(golden, layer.Forward);
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(TemporalUpsamples))]
    public void Temporal_upsampling(string name)
    {
        using var golden = Goldens.Open("causal_temporal_upsample", name);
        var (inputs, outputs) = Channels(golden.Config);
        using var layer = golden.Loaded(new CausalTemporalUpsample(inputs, outputs));
        AssertChunks(golden, layer.Forward);
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(DownBlocks))]
    public void Down_block(string name)
    {
        using var golden = Goldens.Open("down_encoder_block_causal3d", name);
        var config = golden.Config;
        using var block = golden.Loaded(CausalLevel.Down(config.Integer("in_channels", 0), config.Integer("out_channels", 0),
            (int)config.Integer("num_layers", 1), Settings(config), config.Flag("add_spatial_downsample", true), config.Flag("add_temporal_downsample", false)));
        AssertChunks(golden, block.Forward);
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(UpBlocks))]
    public void Up_block(string name)
    {
        using var golden = Goldens.Open("up_decoder_block_causal3d", name);
        var config = golden.Config;
        using var block = golden.Loaded(CausalLevel.Up(config.Integer("in_channels", 0), config.Integer("out_channels", 0),
            (int)config.Integer("num_layers", 1), Settings(config), config.Flag("add_spatial_upsample", true), config.Flag("add_temporal_upsample", false)));
        AssertChunks(golden, block.Forward);
    }

    private static (long Inputs, long Outputs) Channels(JsonElement config)
    {
        var inputs = config.Integer("channels", 0);
        return (inputs, config.Integer("out_channels", inputs));
    }

    private static ResnetSettings Settings(JsonElement config) =>
        new(config.Integer("resnet_groups", 32), config.Number("resnet_eps", 1e-6), config.Text("resnet_act_fn", "swish"));

    // Chunk by chunk through one cache, then all frames in one call.
    private static void AssertChunks(GoldenCase golden, Func<Tensor, CausalPass, Tensor> forward, Action<CausalCache, int>? after = null)
    {
        using var scope = new TensorScope();
        using var cache = new CausalCache();
        var chunks = new List<Tensor>();
        for (var i = 0; golden.Has($"in/chunk.{i}"); i++)
        {
            chunks.Add(golden.Tensor($"in/chunk.{i}"));
            golden.AssertClose($"out/chunk.{i}", forward(chunks[i], new CausalPass(i == 0, cache)));
            after?.Invoke(cache, i);
        }

        Assert.NotEmpty(chunks);
        var whole = Tensor.Cat([.. chunks], 2);
        golden.AssertClose("out/full_no_chunk", forward(whole, CausalPass.Whole));
        if (golden.Has("out/full_no_chunk_not_init"))
            golden.AssertClose("out/full_no_chunk_not_init", forward(whole, new CausalPass(IsStart: false)));
    }

    // The golden holds two frames with spatial padding; ours only those that are needed again, without it.
    private static void AssertKept(GoldenCase golden, string name, Tensor kept, long[] kernel)
    {
        var expected = golden.Tensor(name);
        var padded = kept.Pad([kernel[2] / 2, kernel[2] / 2, kernel[1] / 2, kernel[1] / 2, 0, 0]);
        var frames = kept.Size(2);
        GoldenTensors.AssertClose(expected.Narrow(2, expected.Size(2) - frames, frames), padded, golden.Atol, golden.Rtol, name);
    }
}
