using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Transformers;

/// <summary>Managed memory that a step takes: objects for its operators, none for its tokens.</summary>
public class ManagedMemoryTests
{
    private const long Allowed = 2048;

    [Theory]
    [InlineData("pyramid_flux")]
    [InlineData("pyramid_mmdit")]
    public void A_unit_pass_takes_no_more_for_more_tokens(string familyName)
    {
        var family = ModelFamilies.Get(familyName);
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(5);
        using var model = Tiny.Build(family, generator);
        var text = Tiny.Text(generator, [4, 9]);
        var (few, many) = (UnitPass(model, text, generator, 4), UnitPass(model, text, generator, 16));

        TestContext.Current.TestOutputHelper!.WriteLine($"{family}: {few} bytes for 4 tokens, {many} for 64");
        Assert.True(few > 0);
        Assert.InRange(many - few, -Allowed, Allowed);
    }

    // What a pass takes once everything has run before: the least of a few, as other work of the runtime may fall into one.
    private static long UnitPass(PyramidTransformer model, TextCondition text, RandomGenerator generator, int side)
    {
        using var scope = new TensorScope();
        var noisy = Tensor.Randn([2, 4, 1, side, side], generator);
        using var prefix = model.ComputePrefix([Tensor.Randn([2, 4, 1, side, side], generator)], ClipSize.Of(noisy), text, Tensor.From([500f]));
        return Enumerable.Range(0, 5).Min(_ =>
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            model.ForwardUnit(noisy, 0, prefix).Dispose();
            return GC.GetAllocatedBytesForCurrentThread() - before;
        });
    }
}
