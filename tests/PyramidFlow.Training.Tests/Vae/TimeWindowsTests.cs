using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Training.Objectives;
using PyramidFlow.Training.Vae;

namespace PyramidFlow.Training.Tests.Vae;

public sealed class TimeWindowsTests : IDisposable
{
    private static readonly VaeLossOptions Options = new() { PerceptualWeight = 0, AdversarialFactor = 1, AdversarialStart = 0, KlWeight = 1e-3 };

    private readonly TensorScope scope = new();
    private readonly RandomGenerator generator = new(9);

    public void Dispose()
    {
        generator.Dispose();
        scope.Dispose();
    }

    [Fact]
    public void The_first_window_has_the_frame_a_video_begins_with()
    {
        Assert.Equal([(0L, 17L), (17L, 16L)], TimeWindows.Split(33, 2, 8));
        Assert.Equal([(0L, 17L)], TimeWindows.Split(17, 1, 8));
    }

    [Theory]
    [InlineData(33, 3, "below=25 above=49")]
    [InlineData(9, 2, "below=17 above=33")]
    [InlineData(1, 1, "below=9 above=17")]
    public void A_clip_that_does_not_divide_is_refused_with_lengths_that_do(int frames, int windows, string lengths) =>
        FaultAssert.Has(Assert.Throws<TrainingException>(() => TimeWindows.Split(frames, windows, 8)), "windows_misfit", $"frames={frames} windows={windows} {lengths}");

    [Fact]
    public void One_window_is_the_whole_clip()
    {
        using var model = new Model(generator);
        var video = Video(17);
        var whole = model.Gradients(draws => VaeStep.Backward(model.Vae, model.Loss, video, draws, step: 0));
        var window = model.Gradients(draws => VaeStep.BackwardInWindows(model.Vae, model.Loss, video, 1, draws, step: 0));
        Assert.InRange(Distance(whole.Gradient, window.Gradient), 0, 1e-5);
        Assert.Equal(whole.Terms.Total, window.Terms.Total, 1e-4);
    }

    [Fact]
    public void Windows_give_the_losses_of_the_whole_clip()
    {
        using var model = new Model(generator, judge: false);
        var video = Video(33);
        var whole = model.Gradients(draws => VaeStep.Backward(model.Vae, model.Loss, video, draws, step: 0)).Terms;
        var windows = model.Gradients(draws => VaeStep.BackwardInWindows(model.Vae, model.Loss, video, 2, draws, step: 0)).Terms;

        // No noise, so the frames are the same; those of the first window, one more, count a little less in the mean of the windows.
        Assert.InRange(Math.Abs(windows.Pixel - whole.Pixel) / whole.Pixel, 0, 0.01);
        Assert.InRange(Math.Abs(windows.Kl - whole.Kl) / whole.Kl, 0, 1e-5);
        Assert.Equal(windows.Reconstruction + (Options.KlWeight * windows.Kl), windows.Total, 1e-4);
    }

    [Fact]
    public void A_window_sees_the_frames_before_it_but_its_gradient_ends_at_its_first()
    {
        using var model = new Model(generator, judge: false);
        var video = Video(17);
        var both = model.Gradients(draws => VaeStep.BackwardInWindows(model.Vae, model.Loss, video, 2, draws, step: 0)).Gradient;

        // The second window, written out: its context comes from the network without a gradient.
        var first = model.Gradients(draws => VaeStep.Backward(model.Vae, model.Loss, video.Narrow(2, 0, 9), draws, step: 0, scale: 0.5)).Gradient;
        var second = model.Gradients(draws => Second(model, video)).Gradient;
        Assert.InRange(Distance(first + second, both), 0, 1e-5);

        // The whole clip's gradient goes on into the first window.
        var whole = model.Gradients(draws => VaeStep.Backward(model.Vae, model.Loss, video, draws, step: 0)).Gradient;
        Assert.True(Distance(whole, both) > 0.1);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Recomputed_blocks_give_the_same_gradients(int windows)
    {
        using var model = new Model(generator);
        var video = Video(17);
        var kept = model.Gradients(draws => VaeStep.BackwardInWindows(model.Vae, model.Loss, video, windows, draws, step: 0)).Gradient;
        model.Vae.UsesGradientCheckpointing = true;
        var recomputed = model.Gradients(draws => VaeStep.BackwardInWindows(model.Vae, model.Loss, video, windows, draws, step: 0)).Gradient;
        Assert.InRange(Distance(kept, recomputed), 0, 1e-6);
    }

    [Fact]
    public void A_frozen_encoder_records_nothing_even_with_recomputed_blocks()
    {
        using var model = new Model(generator, trainsEncoder: false);
        var video = Video(17);
        var kept = model.Gradients(draws => VaeStep.BackwardInWindows(model.Vae, model.Loss, video, 2, draws, step: 0)).Gradient;
        model.Vae.UsesGradientCheckpointing = true;
        var recomputed = model.Gradients(draws => VaeStep.BackwardInWindows(model.Vae, model.Loss, video, 2, draws, step: 0)).Gradient;
        Assert.InRange(Distance(kept, recomputed), 0, 1e-6);
        Assert.DoesNotContain(model.Keys, key => key.StartsWith("encoder.", StringComparison.Ordinal) || key.StartsWith("quant_conv.", StringComparison.Ordinal));
    }

    [Fact]
    public void Windows_leave_no_tensor_behind()
    {
        using var model = new Model(generator);
        var video = Video(17);
        model.Vae.UsesGradientCheckpointing = true;
        var before = Tensor.LiveCount;
        VaeStep.BackwardInWindows(model.Vae, model.Loss, video, 2, new Noiseless(), step: 0);
        Assert.Equal(before, Tensor.LiveCount);
    }

    private static (VaeLossTerms, DiscriminatorTerms?) Second(Model model, Tensor video)
    {
        using var encoder = model.Vae.EncodeStream(isTraining: true);
        using var decoder = model.Vae.DecodeStream(isTraining: true);
        using (NoGrad.Begin())
            decoder.Push(new DiagonalGaussian(encoder.Push(video.Narrow(2, 0, 9))).Mean);
        var posterior = new DiagonalGaussian(encoder.Push(video.Narrow(2, 9, 8)));
        return (model.Loss.Backward(video.Narrow(2, 9, 8), decoder.Push(posterior.Mean), posterior, model.Vae.LastWeight, step: 0, scale: 0.5), null);
    }

    private static double Distance(Tensor expected, Tensor actual) => (expected - actual).Norm().Item() / expected.Norm().Item();

    private Tensor Video(int frames) => (Tensor.Rand([1, 3, frames, 16, 16], generator) * 2) - 1;

    private sealed class Noiseless : ITrainingDraws
    {
        public float[] Uniform(int count) => new float[count];

        public Tensor Normal(long[] shape) => Tensor.Zeros(shape);
    }

    private sealed class Model : IDisposable
    {
        private readonly FlatParameters parameters;

        public Model(RandomGenerator generator, bool judge = true, bool trainsEncoder = true)
        {
            Vae = new CausalVideoVae(CausalVideoVaeConfig.Uniform([4, 4, 8, 8], 1, 1, latentChannels: 4, groups: 2)) { TrainsEncoder = trainsEncoder };
            Loss = new VaeLoss(Options with { AdversarialFactor = judge ? 1 : 0 }, null, judge ? new PatchDiscriminator(new(3, 2, 2)) : null);
            Vae.Initialize(generator);
            Loss.Initialize(generator);
            using var noGrad = NoGrad.Begin();
            foreach (var (_, parameter) in Vae.NamedParameters().Where(p => p.Parameter.Shape.Length > 1))
                parameter.Value.NormalInPlace(0, Math.Sqrt(1.0 / parameter.Shape[1..].Aggregate(1L, (a, b) => a * b)), generator);
            parameters = new FlatParameters(("", Vae), ("loss", Loss));
        }

        public CausalVideoVae Vae { get; }

        public VaeLoss Loss { get; }

        public IEnumerable<string> Keys => parameters.Layout().Select(p => p.Key);

        public (Tensor Gradient, VaeLossTerms Terms) Gradients(Func<ITrainingDraws, (VaeLossTerms Vae, DiscriminatorTerms? Judge)> backward)
        {
            parameters.ZeroGradients();
            var terms = backward(new Noiseless()).Vae;
            return (parameters.Gradients.Clone(), terms);
        }

        public void Dispose()
        {
            parameters.Dispose();
            Vae.Dispose();
            Loss.Dispose();
        }
    }
}
