using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>All adaLN outputs of a <see cref="PyramidTransformer"/> for a batch of (timestep, pooled text) rows.</summary>
/// <param name="Joint">Of the blocks with two streams: picture [rows, 6d], text [rows, 6d] (2d where the block is its last).</param>
/// <param name="Single">Of the single-stream blocks, [rows, 3d].</param>
/// <param name="Last">Of the last norm, [rows, 2d].</param>
public sealed record TransformerModulation((Tensor X, Tensor Text)[] Joint, Tensor[] Single, Tensor Last) : IDisposable
{
    private IEnumerable<Tensor> All => [.. Joint.SelectMany(m => new[] { m.X, m.Text }), .. Single, Last];

    /// <summary>Frees them before their scope would.</summary>
    public void Dispose()
    {
        foreach (var tensor in All)
            tensor.Dispose();
    }

    /// <summary>Takes them out of their scope: the caller disposes them.</summary>
    public TransformerModulation Release()
    {
        foreach (var tensor in All)
            TensorScope.Release(tensor);
        return this;
    }

    /// <summary>Rows first, first + step, ... before <paramref name="end"/>, as views.</summary>
    public TransformerModulation Rows(long first, long end, long step = 1)
    {
        return new TransformerModulation([.. Joint.Select(m => (Some(m.X), Some(m.Text)))], [.. Single.Select(Some)], Some(Last));

        Tensor Some(Tensor all) => all.Slice(0, first, end, step);
    }
}
