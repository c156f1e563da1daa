using System.Globalization;
using System.Text.Json;
using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Tests.Optimizers;

[Trait("golden", "optim")]
public class OptimizerGoldenTests
{
    public static TheoryData<string> Schedules => Goldens.Names("lr_schedule");

    public static TheoryData<string> Steps => Goldens.Names("adamw_steps");

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Schedules))]
    public void Learning_rates_are_those_of_the_reference(string name)
    {
        using var golden = Goldens.Open("lr_schedule", name);
        using var scope = new TensorScope();
        foreach (var (i, schedule) in golden.Config.GetProperty("schedules").EnumerateArray().Index())
        {
            var rate = Rate(schedule);
            var expected = golden.Tensor($"out/schedule.{i}");
            Assert.Equal(expected.Size(0), rate.TotalSteps);
            golden.AssertClose($"out/schedule.{i}", Tensor.From(Enumerable.Range(0, (int)rate.TotalSteps).Select(s => rate.At(s)).ToArray()));
        }
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Steps))]
    public void Steps_norms_and_averages_are_those_of_the_reference(string name)
    {
        using var golden = Goldens.Open("adamw_steps", name);
        using var scope = new TensorScope();
        using var model = TransformerConfigs.Parse(golden.Config.GetProperty("dit").GetRawText(), "golden dit").Build();
        using (var state = golden.State())
            model.Load(state, ElementType.Float32);
        using var parameters = new FlatParameters(("", model));
        using var optimizer = new AdamW(parameters, Options(golden.Config.GetProperty("optimizer")));
        using var average = new ExponentialAverage(parameters);
        var (losses, norms) = (new List<float>(), new List<float>());
        foreach (var (step, rate) in golden.Config.GetProperty("lrs").EnumerateArray().Index())
        {
            losses.Add((float)Loss(golden, model, step));
            norms.Add((float)parameters.ClipGradients(golden.Config.GetProperty("clip_grad").GetDouble()));
            optimizer.Step(rate.GetDouble());
            parameters.ZeroGradients();
            average.Update(parameters, golden.Config.GetProperty("ema_decay").GetDouble());
        }

        golden.AssertClose("out/losses", Tensor.From(losses.ToArray()));
        golden.AssertClose("out/grad_norms", Tensor.From(norms.ToArray()));
        CheckWeights(golden, "out/final.", parameters.Named(parameters.Values));
        CheckWeights(golden, "out/ema.", parameters.Named(average.Values));
    }

    private static void CheckWeights(GoldenCase golden, string prefix, IEnumerable<(string Key, Tensor Tensor)> weights)
    {
        var known = weights.ToDictionary(w => w.Key, w => w.Tensor);
        foreach (var name in golden.File.Entries.Keys.Where(key => key.StartsWith(prefix, StringComparison.Ordinal)))
            golden.AssertClose(name, known[name[prefix.Length..]]);
    }

    private static double Loss(GoldenCase golden, PyramidTransformer model, int step)
    {
        using var scope = new TensorScope();
        var text = new TextCondition(In("enc"), golden.Tensor("in/mask"), In("pooled"));
        var error = model.Forward([[In("x0"), In("x1")]], text, In("ts"))[0] - In("target");
        var loss = (error * error).Mean();
        loss.Backward();
        return loss.Item();

        Tensor In(string what) => golden.Tensor(string.Create(CultureInfo.InvariantCulture, $"in/{step}.{what}"));
    }

    private static AdamWOptions Options(JsonElement config) => new()
    {
        Beta1 = config.GetProperty("opt_beta1").GetDouble(),
        Beta2 = config.GetProperty("opt_beta2").GetDouble(),
        Epsilon = config.GetProperty("opt_eps").GetDouble(),
        WeightDecay = config.GetProperty("weight_decay").GetDouble(),
        DecayMatricesOnly = true,
    };

    // cosine(base, final, epochs, steps per epoch) or constant(base, epochs, steps per epoch); steps of warm-up come before epochs.
    private static LearningRate Rate(JsonElement schedule)
    {
        var isCosine = schedule.GetProperty("function").GetString() == "cosine";
        double[] args = [.. schedule.GetProperty("args").EnumerateArray().Select(a => a.GetDouble())];
        var (epochs, perEpoch) = ((long)args[^2], (long)args[^1]);
        var rate = LearningRate.FromEpochs(args[0], (long)Number("warmup_epochs", 0), epochs, perEpoch);
        return rate with
        {
            WarmUpSteps = Number("warmup_steps", -1) > 0 ? (long)Number("warmup_steps", -1) : rate.WarmUpSteps,
            WarmUpFrom = Number("start_warmup_value", isCosine ? 0 : 1e-6),
            Shape = isCosine ? LearningRateShape.Cosine : LearningRateShape.Constant,
            Final = isCosine ? args[1] : 0,
        };

        double Number(string name, double otherwise) => schedule.TryGetProperty(name, out var value) ? value.GetDouble() : otherwise;
    }
}
