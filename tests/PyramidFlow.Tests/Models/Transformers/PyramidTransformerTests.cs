using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Transformers;

public class PyramidTransformerTests
{
    [Theory]
    [InlineData("pyramid_flux")]
    [InlineData("pyramid_mmdit")]
    public void Gradients_are_those_of_finite_differences(string familyName)
    {
        var family = ModelFamilies.Get(familyName);
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(11);
        using var model = Tiny.Build(family, generator);
        var text = Tiny.Text(generator, [7, 3]);
        var clips = Tiny.Clips(generator, 2, 1);
        // Tables are fixed, and nobody reads what the text asks for in a block that gives none of it.
        var unread = family == ModelFamilies.Sd3 ? new[] { "transformer_blocks.2.attn.add_q_proj", "transformer_blocks.2.attn.norm_add_q" } : [];
        var weights = model.NamedParameters().Where(p => p.Parameter.Trainable && !unread.Any(p.Key.StartsWith)).ToList();
        weights.ForEach(w => w.Parameter.Value.RequiresGrad = true);
        Loss().Backward();
        Assert.All(weights, w => Assert.True(w.Parameter.Value.Grad is { } g && g.Norm().Item() > 0, w.Key));

        // Along the gradient the loss must rise by its squared length.
        using var noGrad = NoGrad.Begin();
        var directions = weights.Select(w => w.Parameter.Value.Grad!).ToList();
        var length = directions.Sum(g => Math.Pow(g.Norm().Item(), 2));
        var step = 0.01 / Math.Sqrt(length);
        Move(step);
        var above = Loss().Item();
        Move(-2 * step);
        var below = Loss().Item();
        Assert.InRange((above - below) / (2 * step) / length, 0.98, 1.02);

        Tensor Loss() => model.Forward([clips], text, Tensor.From([800f, 300f]))[0].Pow(2).Mean();

        void Move(double by)
        {
            foreach (var (weight, direction) in weights.Zip(directions))
                weight.Parameter.Value.AddInPlace(direction, by);
        }
    }

    [Theory]
    [InlineData("pyramid_flux")]
    [InlineData("pyramid_mmdit")]
    public void Padding_inside_the_text_counts_as_if_it_were_cut_out(string familyName)
    {
        var family = ModelFamilies.Get(familyName);
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(12);
        using var model = Tiny.Build(family, generator);
        var clips = Tiny.Clips(generator, 2, 1);
        var pooled = Tensor.Randn([2, 8], generator);
        var words = Tensor.Randn([2, 3, 12], generator);
        var gap = Tensor.Cat([words.Narrow(1, 0, 1), Tensor.Randn([2, 1, 12], generator), words.Narrow(1, 1, 2)], 1);
        var whole = new TextCondition(words, Tensor.Ones([2, 3], ElementType.Int64), pooled);
        var holed = new TextCondition(gap, Tensor.From([1L, 0, 1, 1, 1, 0, 1, 1], 2, 4), pooled);
        var timesteps = Tensor.From([800f, 300f]);
        GoldenTensors.AssertClose(model.Forward([clips], whole, timesteps)[0], model.Forward([clips], holed, timesteps)[0], 1e-5, 1e-5, "velocity");
    }

    [Theory]
    [InlineData("pyramid_flux")]
    [InlineData("pyramid_mmdit")]
    public void Layouts_serve_several_steps(string familyName)
    {
        var family = ModelFamilies.Get(familyName);
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(13);
        using var model = Tiny.Build(family, generator);
        var clips = Tiny.Clips(generator, 3, 2);
        var text = Tiny.Text(generator, [7, 3]);
        using var layout = model.Layout([.. clips.Select(ClipSize.Of)], text.Mask);
        foreach (var t in new[] { 900.0, 20 })
        {
            var timesteps = Tensor.Full([2], t);
            GoldenTensors.AssertClose(model.Forward([clips], text, timesteps)[0], model.Forward([clips], text, timesteps, [layout])[0], 0, 0, "velocity");
        }
    }
}
