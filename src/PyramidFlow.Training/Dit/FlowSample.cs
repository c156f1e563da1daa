using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Training.Dit;

/// <summary>Rows of a batch at one stage, as the transformer takes them.</summary>
/// <param name="Clips">History clips, oldest first, then the noisy unit; each [b, c, t, h, w].</param>
/// <param name="Timesteps">[b], 0..1000.</param>
/// <param name="Target">Velocity to predict, shaped like the noisy unit.</param>
public sealed record FlowSample(IReadOnlyList<Tensor> Clips, Tensor Timesteps, Tensor Target);

/// <summary>A batch dealt to stages that go through the transformer together: row r belongs to column r mod (number of columns).</summary>
/// <param name="Columns">The packed stages, lowest resolution first.</param>
/// <param name="Timesteps">Of all rows in the batch's order, [rows], 0..1000.</param>
public sealed record FlowBatch(IReadOnlyList<FlowSample> Columns, Tensor Timesteps)
{
    /// <summary>What <see cref="PyramidTransformer.Forward"/> takes.</summary>
    public IReadOnlyList<IReadOnlyList<Tensor>> Stages => [.. Columns.Select(c => c.Clips)];

    /// <summary>Video tokens that go through the transformer.</summary>
    public long Tokens => Columns.Sum(column => column.Clips.Sum(clip => clip.Size(0) * ClipSize.Of(clip).Tokens));

    /// <summary>All its tensors, to be saved.</summary>
    public IEnumerable<(string Key, Tensor Tensor)> Named()
    {
        for (var i = 0; i < Columns.Count; i++)
        {
            for (var clip = 0; clip < Columns[i].Clips.Count; clip++)
                yield return ($"column_{i}.clip_{clip}", Columns[i].Clips[clip]);
            yield return ($"column_{i}.timesteps", Columns[i].Timesteps);
            yield return ($"column_{i}.target", Columns[i].Target);
        }
    }
}
