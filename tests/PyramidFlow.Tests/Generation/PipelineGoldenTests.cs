using System.Text;
using System.Text.Json;
using PyramidFlow.Generation;
using PyramidFlow.Scheduling;
using PyramidFlow.Testing;
using PyramidFlow.Tests.Models.Vae;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Generation;

[Trait("golden", "pipeline")]
public class PipelineGoldenTests
{
    public static TheoryData<string> Generated => Goldens.Names("pipeline_generate");

    public static TheoryData<string> FromImage => Goldens.Names("pipeline_i2v");

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Generated))]
    public void Text_to_video_gives_the_reference_latents_and_frames(string name) => Check("pipeline_generate", name, new SamplerOptions());

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(FromImage))]
    public void Image_to_video_gives_the_reference_latents_and_frames(string name) => Check("pipeline_i2v", name, new SamplerOptions());

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Generated))]
    public void One_timestep_ahead_gives_the_same(string name) => Check("pipeline_generate", name, new SamplerOptions { PrefixBytes = 1 });

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Generated))]
    public void The_joint_pass_gives_the_same(string name) => Check("pipeline_generate", name, new SamplerOptions { UsePrefix = false });

    private static void Check(string kind, string name, SamplerOptions options)
    {
        using var golden = Goldens.Open(kind, name);
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var model = Model(golden);
        using var vae = Vae(golden);
        var (config, call) = (golden.Config, golden.Call());
        var normalization = Normalization(config);
        var noise = new RecordedNoise(golden);
        var image = golden.Has("in/image_hwc_u8") ? Image(golden, vae, normalization, noise) : null;
        var plan = Plan(config, call, fromImage: image is not null);
        var sampler = new PyramidSampler(model, Scheduler(config), options);
        var units = sampler.Clip(plan, Text(golden, plan), noise, image).ToList();
        var latents = Tensor.Cat([.. units], 2);
        Assert.True(noise.IsUsedUp);
        golden.AssertClose("out/latents", latents);
        CheckStages(golden, units, image is not null);
        CheckFrames(golden, units, vae, normalization);
        units.ForEach(unit => unit.Dispose());
    }

    private static void CheckStages(GoldenCase golden, List<Tensor> units, bool fromImage)
    {
        // Recorded units are the sampled ones.
        var sampled = fromImage ? units.Skip(1) : units;
        foreach (var (unit, latents) in sampled.Index())
        {
            var stages = golden.File.Entries.Keys.Where(k => k.StartsWith($"mid/unit{unit}.stage", StringComparison.Ordinal)).ToList();
            if (stages.Count > 0)
                golden.AssertClose($"mid/unit{unit}.stage{stages.Count - 1}", latents);
        }
    }

    private static void CheckFrames(GoldenCase golden, List<Tensor> units, CausalVideoVae vae, LatentNormalization normalization)
    {
        using var decoder = new UnitDecoder(vae, normalization, Tiles(golden.Call()));
        var decoded = Tensor.Cat([.. units.Select(unit => decoder.Decode(unit))], 2);                              // [b, 3, t, h, w]
        if (golden.Has("out/decoded"))
            golden.AssertClose("out/decoded", decoded);
        // The reference cuts fractions where we round, so that bytes may be one higher.
        var rounded = decoded.Unbind(0).SelectMany(FrameBytes.Of).ToArray();
        var expected = golden.Tensor("out/frames_u8").ToArray<byte>();
        Assert.Equal(expected.Length, rounded.Length);
        Assert.All(expected.Zip(rounded), pair => Assert.InRange(pair.Second - pair.First, 0, 1));
    }

    // Blended as the reference does it, whose tiles are smaller when it saves memory.
    private static TileOptions? Tiles(JsonElement call) => call.Flag("vae_tiling", false)
        ? new TileOptions(call.Flag("save_memory", true) ? 256 : 512, Blend: TileBlend.Sequential)
        : null;

    private static PyramidTransformer Model(GoldenCase golden)
    {
        var model = TransformerConfigs.Parse(golden.Config.GetProperty("dit").GetRawText(), "golden dit").Build();
        using var state = golden.State("dit_weights_file");
        model.Load(state, device: TestDevice.Current);
        return model;
    }

    private static CausalVideoVae Vae(GoldenCase golden)
    {
        var json = Encoding.UTF8.GetBytes(golden.Config.GetProperty("vae").GetRawText());
        var vae = new CausalVideoVae(CausalVideoVaeConfig.Parse(json, "golden vae"));
        using var state = golden.State("vae_weights_file");
        vae.Load(state, device: TestDevice.Current);
        return vae;
    }

    private static PyramidFlowScheduler Scheduler(JsonElement config)
    {
        var scheduler = config.GetProperty("scheduler");
        return new PyramidFlowScheduler(new FlowOptions
        {
            NumTrainTimesteps = scheduler.GetProperty("num_train_timesteps").GetInt32(),
            Shift = scheduler.GetProperty("shift").GetDouble(),
            Stages = scheduler.GetProperty("stages").GetInt32(),
            StageRange = [.. scheduler.GetProperty("stage_range").EnumerateArray().Select(r => r.GetDouble())],
            Gamma = scheduler.GetProperty("gamma").GetDouble(),
        });
    }

    private static LatentNormalization Normalization(JsonElement config) => new(
        config.GetProperty("vae_shift_factor").GetDouble(), config.GetProperty("vae_scale_factor").GetDouble(),
        config.GetProperty("vae_video_shift_factor").GetDouble(), config.GetProperty("vae_video_scale_factor").GetDouble());

    private static SamplingPlan Plan(JsonElement config, JsonElement call, bool fromImage)
    {
        var framesPerUnit = config.GetProperty("frame_per_unit").GetInt32();
        var stages = config.GetProperty("stages").GetArrayLength();
        var temp = call.GetProperty("temp").GetInt32();
        var units = fromImage ? temp / framesPerUnit : 1 + ((temp - 1) / framesPerUnit);
        var first = Steps(call, "num_inference_steps", stages, [.. Enumerable.Repeat(28, stages)]);
        var (scale, videoScale) = (call.Number("guidance_scale", 7), call.Number("video_guidance_scale", fromImage ? 4 : 7));
        var (alpha, least) = (call.Number("alpha", 0.5), call.Number("min_guidance_scale", 2));
        var linear = call.Flag("use_linear_guidance", false);
        return new SamplingPlan((int)call.Integer("height", 0) / 8, (int)call.Integer("width", 0) / 8, framesPerUnit,
            first, Steps(call, "video_num_inference_steps", stages, first), [.. Enumerable.Range(0, units).Select(Guidance)]);

        // The reference turns guidance on or off for the whole clip by the first scale.
        double? Guidance(int unit) => scale <= 0 ? null : linear ? Math.Max(scale - (alpha * unit), least) : unit == 0 ? scale : videoScale;
    }

    private static int[] Steps(JsonElement call, string name, int stages, int[] otherwise) =>
        !call.TryGetProperty(name, out var value) ? otherwise
        : value.ValueKind == JsonValueKind.Number ? [.. Enumerable.Repeat(value.GetInt32(), stages)]
        : [.. value.EnumerateArray().Select(v => v.GetInt32())];

    private static GuidedText Text(GoldenCase golden, SamplingPlan plan)
    {
        var (prompt, negative) = (Part("prompt"), Part("negative"));
        var parts = new[] { negative, prompt };
        return new GuidedText(
            new TextCondition(prompt.Embeds, prompt.Mask, prompt.Pooled),
            plan.Guidance.Any(scale => scale is not null)
                ? new TextCondition(Tensor.Cat([.. parts.Select(p => p.Embeds)], 0), Tensor.Cat([.. parts.Select(p => p.Mask)], 0), Tensor.Cat([.. parts.Select(p => p.Pooled)], 0))
                : null);

        (Tensor Embeds, Tensor Mask, Tensor Pooled) Part(string name) => (golden.Tensor($"in/{name}_embeds"),
            golden.Tensor(name == "prompt" ? "in/prompt_attention_mask" : "in/negative_attention_mask"), golden.Tensor($"in/{name}_pooled"));
    }

    private static Tensor Image(GoldenCase golden, CausalVideoVae vae, LatentNormalization normalization, RecordedNoise noise)
    {
        var image = golden.Tensor("in/image_hwc_u8");
        var pixels = FrameBytes.ToPixels(image.ToArray<byte>(), (int)image.Size(1), (int)image.Size(0));
        var posterior = vae.Encode(pixels.There());
        return normalization.Normalize(posterior.Sample(noise.Posterior(posterior.Mean.Shape)), isStart: true);
    }
}
