using System.Runtime.CompilerServices;
using PyramidFlow.Transformers;

namespace PyramidFlow.Tests.Transformers;

public class PyramidFluxTests
{
    private static readonly PyramidFluxConfig Released = new(InChannels: 64, NumLayers: 8, NumSingleLayers: 16,
        AttentionHeadDim: 64, NumAttentionHeads: 30, JointAttentionDim: 4096, PooledProjectionDim: 768);

    [Fact]
    public void Keys_and_shapes_at_released_size_are_the_checkpoints()
    {
        using var model = new PyramidFlux(Released);
        var actual = model.NamedParameters().Select(p => $"{p.Key} [{string.Join(", ", p.Parameter.Shape)}]");
        var expected = File.ReadAllLines(Path.Combine(Here(), "..", "Approved", "pyramid_flux.txt")).Where(l => l.Length > 0);
        Assert.Equal(expected.Order(StringComparer.Ordinal), actual.Order(StringComparer.Ordinal));
        Assert.All(model.NamedParameters(), p => Assert.False(p.Parameter.HasValue));
    }

    private static string Here([CallerFilePath] string path = "") => Path.GetDirectoryName(path)!;
}
