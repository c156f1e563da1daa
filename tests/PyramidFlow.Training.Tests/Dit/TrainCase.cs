using System.Text;
using System.Text.Json;
using PyramidFlow.Models;
using PyramidFlow.Scheduling;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Objectives;
using PyramidFlow.Training.Tests.Loop;

namespace PyramidFlow.Training.Tests.Dit;

/// <summary>What a golden case of kind <c>train_forward</c> trains, and how.</summary>
internal sealed class TrainCase(GoldenCase golden)
{
    internal RecordedDraws Draws { get; } = new(golden);

    internal PyramidFlowScheduler Scheduler { get; } = MakeScheduler(golden.Config.GetProperty("scheduler"));

    internal int Stages => golden.Config.GetProperty("stages").GetArrayLength();

    internal ObjectiveOptions Options => new()
    {
        SampleRatios = [.. golden.Config.GetProperty("sample_ratios").EnumerateArray().Select(r => r.GetInt32())],
        FramesPerUnit = Integer("frame_per_unit"),
        CorruptRatio = golden.Config.GetProperty("corrupt_ratio").GetDouble(),
    };

    internal bool IsAutoregressive => golden.Manifest.GetProperty("call").GetProperty("use_temporal_pyramid").GetBoolean();

    internal PyramidTransformer Model()
    {
        var model = TransformerConfigs.Parse(golden.Config.GetProperty("dit").GetRawText(), "golden dit").Build();
        using var state = golden.State();
        model.Load(state, ElementType.Float32);
        return model;
    }

    // As the reference: text is dropped first, then come the draws of the encoder, then those of the objective.
    internal TextCondition Text()
    {
        var text = new TextCondition(golden.Tensor("in/prompt_embeds"), golden.Tensor("in/prompt_attention_mask"), golden.Tensor("in/pooled_prompt_embeds"));
        var nothing = new TextCondition(golden.Tensor("in/null_prompt_embed").Unsqueeze(0),
            golden.Tensor("in/null_prompt_attention_mask").Unsqueeze(0), golden.Tensor("in/null_pooled_prompt_embed").Unsqueeze(0));
        return text.Replace(TextDrop.Choose(text.Mask.Rows, golden.Config.GetProperty("cfg_rate").GetDouble(), Draws), nothing);
    }

    internal Tensor Latents()
    {
        var video = golden.Tensor("in/video");
        if (video.Dim == 4)
            video = video.Unsqueeze(2);
        var normalization = new LatentNormalization(
            Number("vae_shift_factor"), Number("vae_scale_factor"), Number("vae_video_shift_factor"), Number("vae_video_scale_factor"));
        var before = video.Contiguous().ToArray<float>();
        using var vae = Vae();
        var latents = vae is null
            ? Generation.LatentScaling.Normalize(normalization, video, isStart: true)
            : LatentEncoding.Encode(vae, normalization, video, Draws);
        Assert.Equal(before, video.Contiguous().ToArray<float>());
        return latents;
    }

    internal IReadOnlyList<int>? Units(Tensor latents)
    {
        if (!IsAutoregressive)
            return null;
        var lengths = new StageLengths
        {
            MaxTemporalLength = Integer("max_temporal_length"), FramesPerUnit = Integer("frame_per_unit"),
            SyncGroup = Integer("video_sync_group"), AsReleased = true,
        };
        return lengths.At(Integer("accumulate_steps_before"), Stages, Integer("rank"), available: lengths.UnitsOf(latents.Size(2)));
    }

    private static PyramidFlowScheduler MakeScheduler(JsonElement config) => new(new FlowOptions
    {
        NumTrainTimesteps = config.GetProperty("num_train_timesteps").GetInt32(),
        Shift = config.GetProperty("shift").GetDouble(),
        Stages = config.GetProperty("stages").GetInt32(),
        StageRange = [.. config.GetProperty("stage_range").EnumerateArray().Select(r => r.GetDouble())],
        Gamma = config.GetProperty("gamma").GetDouble(),
    });

    private CausalVideoVae? Vae()
    {
        if (!golden.Config.TryGetProperty("vae", out var config) || config.ValueKind == JsonValueKind.Null)
            return null;
        var vae = new CausalVideoVae(CausalVideoVaeConfig.Parse(Encoding.UTF8.GetBytes(config.GetRawText()), "golden vae"));
        using var state = golden.State("vae_weights_file");
        vae.Load(state);
        return vae;
    }

    private int Integer(string name) => golden.Config.GetProperty(name).GetInt32();

    private double Number(string name) => golden.Config.GetProperty(name).GetDouble();
}
