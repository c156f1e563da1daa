using System.Globalization;
using PyramidFlow.Hub.Conversion;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Transformers;

/// <summary>Golden cases of transformers of either family.</summary>
internal static class TransformerCase
{
    internal static AttentionSettings SmallBlocks { get; } = new() { WholeUpTo = 0, QueryBlock = 7 };

    /// <summary>Causal cases of one stage with a history.</summary>
    internal static TheoryData<string> WithPrefix(string kind)
    {
        var names = new TheoryData<string>();
        foreach (var row in Goldens.Names(kind))
        {
            using var golden = Goldens.Open(kind, row.Data);
            if (golden.Config.GetProperty("use_temporal_causal").GetBoolean() && golden.Has("in/sample.0.1") && !golden.Has("in/sample.1.0"))
                names.Add(row.Data);
        }

        return names;
    }

    internal static PyramidTransformer Declare(GoldenCase golden) =>
        TransformerConfigs.Parse(golden.Config.GetRawText(), golden.Manifest.GetProperty("name").GetString()!).Build();

    internal static void CheckForward(string kind, string name, AttentionSettings? attention = null)
    {
        using var golden = Goldens.Open(kind, name);
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var model = Model(golden);
        var velocities = Forward(golden, model, attention);
        for (var stage = 0; stage < velocities.Length; stage++)
            golden.AssertClose($"out/pred.{stage}", velocities[stage]);
    }

    internal static void CheckHalf(string kind, string name)
    {
        using var golden = Goldens.Open(kind, name);
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var model = Model(golden, ElementType.BFloat16);
        var velocities = Forward(golden, model);
        var allowed = golden.Manifest.GetProperty("tolerance").GetProperty("mean_abs").GetDouble();
        for (var stage = 0; stage < velocities.Length; stage++)
        {
            Assert.Equal(ElementType.BFloat16, velocities[stage].Type);
            var expected = golden.Tensor($"out/pred.{stage}").To(ElementType.Float32);
            var mean = (velocities[stage].To(ElementType.Float32) - expected).Abs().Mean().Item();
            var message = string.Create(CultureInfo.InvariantCulture, $"mean difference {mean:G4}, allowed {allowed:G4}");
            TestContext.Current.TestOutputHelper?.WriteLine(message);
            Assert.True(mean <= allowed, message);
            golden.AssertClose($"out/pred.{stage}", velocities[stage]);
        }
    }

    /// <summary>With the matrices of the blocks rounded to int8: how far the velocities are from the reference's.</summary>
    internal static void CheckInt8(string kind, string name)
    {
        const double allowed = 0.05;
        using var golden = Goldens.Open(kind, name);
        using var folder = new TemporaryFolder();
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using (var state = golden.State())
            SafetensorsWriter.Write(folder.File("plain.safetensors"), state.Keys.Select(key => (key, state.Read(key))));
        var reports = new List<string>();
        CheckpointConversion.Convert(folder.File("plain.safetensors"), folder.File("int8"), new ConversionOptions { Int8 = true, Report = reports.Add },
            cancellationToken: TestContext.Current.CancellationToken);
        using var rounded = WeightsFile.Open(folder.File("int8"));
        using var model = Declare(golden);
        model.Load(rounded, device: TestDevice.Current);
        var velocities = Forward(golden, model);
        for (var stage = 0; stage < velocities.Length; stage++)
        {
            var expected = golden.Tensor($"out/pred.{stage}").To(ElementType.Float32);
            var error = (velocities[stage] - expected).Norm().Item() / expected.Norm().Item();
            var message = string.Create(CultureInfo.InvariantCulture, $"stage {stage}: relative error {error:G3}, allowed {allowed}; {string.Join("; ", reports)}");
            TestContext.Current.TestOutputHelper?.WriteLine(message);
            Assert.True(error is > 0 and <= allowed, message);
        }
    }

    /// <summary>The unit pass against the joint pass, at several timesteps that ran ahead together.</summary>
    internal static void CheckPrefix(string kind, string name)
    {
        float[] timesteps = [990, 512.5f, 3];
        foreach (var attention in new[] { new AttentionSettings(), SmallBlocks })
        {
            using var golden = Goldens.Open(kind, name);
            using var scope = new TensorScope();
            using var noGrad = NoGrad.Begin();
            using var model = Model(golden);
            var (clips, text) = (Stages(golden)[0], Text(golden));
            using var prefix = model.ComputePrefix(clips[..^1], ClipSize.Of(clips[^1]), text, Tensor.From(timesteps).There(), attention);
            for (var i = 0; i < timesteps.Length; i++)
            {
                var joint = model.Forward([clips], text, Tensor.Full([text.Mask.Rows], timesteps[i]).There(), attention: attention)[0];
                GoldenTensors.AssertClose(joint, model.ForwardUnit(clips[^1], i, prefix), 1e-5, 1e-5, $"timestep {timesteps[i]}");
            }
        }
    }

    /// <summary>The unit pass against the reference, one timestep ahead for each row's own.</summary>
    internal static void CheckUnit(string kind, string name)
    {
        using var golden = Goldens.Open(kind, name);
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var model = Model(golden);
        var (clips, text, timesteps) = (Stages(golden)[0], Text(golden), golden.Tensor("in/timestep_ratio").ToArray<float>());
        var rows = new List<Tensor>();
        for (var row = 0; row < timesteps.Length; row++)
        {
            using var prefix = model.ComputePrefix(clips[..^1], ClipSize.Of(clips[^1]), text, Tensor.From([timesteps[row]]).There());
            rows.Add(model.ForwardUnit(clips[^1], 0, prefix).Narrow(0, row, 1));
        }

        golden.AssertClose("out/pred.0", Tensor.Cat([.. rows], 0));
    }

    private static PyramidTransformer Model(GoldenCase golden, ElementType? type = null)
    {
        var model = Declare(golden);
        using var state = golden.State();
        model.Load(state, type, TestDevice.Current);
        return model;
    }

    private static Tensor[][] Stages(GoldenCase golden)
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

    private static TextCondition Text(GoldenCase golden) => new(golden.Tensor("in/encoder_hidden_states"),
        golden.Tensor("in/encoder_attention_mask"), golden.Tensor("in/pooled_projections"));

    private static Tensor[] Forward(GoldenCase golden, PyramidTransformer model, AttentionSettings? attention = null) =>
        model.Forward(Stages(golden), Text(golden), golden.Tensor("in/timestep_ratio"), attention: attention);
}
