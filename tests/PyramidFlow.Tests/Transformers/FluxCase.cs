using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Transformers;

namespace PyramidFlow.Tests.Transformers;

/// <summary>The models and inputs of flux golden cases.</summary>
internal static class FluxCase
{
    internal static PyramidFlux Model(GoldenCase golden, ElementType? type = null, AttentionSettings? attention = null)
    {
        var config = PyramidFluxConfig.Parse(golden.Config.GetRawText(), golden.Manifest.GetProperty("name").GetString()!);
        var model = new PyramidFlux(config) { Attention = attention ?? new AttentionSettings() };
        model.Load(golden.State(), type);
        return model;
    }

    internal static Tensor[][] Stages(GoldenCase golden)
    {
        var stages = new List<Tensor[]>();
        while (golden.Has($"in/sample.{stages.Count}.0"))
        {
            var clips = new List<Tensor>();
            while (golden.Has($"in/sample.{stages.Count}.{clips.Count}"))
                clips.Add(golden.Tensor($"in/sample.{stages.Count}.{clips.Count}"));
            stages.Add([.. clips]);
        }

        return [.. stages];
    }

    internal static TextCondition Text(GoldenCase golden) => new(golden.Tensor("in/encoder_hidden_states"),
        golden.Tensor("in/encoder_attention_mask"), golden.Tensor("in/pooled_projections"));

    internal static Tensor[] Forward(GoldenCase golden, PyramidFlux model) =>
        model.Forward(Stages(golden), Text(golden), golden.Tensor("in/timestep_ratio"));
}
