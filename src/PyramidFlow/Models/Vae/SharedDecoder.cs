using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Models;

/// <summary>
/// Several processes that decode one video together. Of whole frames each process computes a band of rows: it has the rows beside its band from its neighbours before each convolution, and the
/// moments of each norm and the keys and values of attention from all, so that nothing is computed twice. Of frames in tiles each process decodes some of the tiles.
/// </summary>
/// <param name="group">The processes, which all push the same latents.</param>
/// <param name="givesAll">Whether all processes get the frames; otherwise the first of them does.</param>
internal sealed class SharedDecoder(ProcessGroup group, bool givesAll)
{
    /// <summary>Whether this process gets the frames.</summary>
    internal bool GetsFrames => givesAll || group.Rank == 0;

    /// <summary>The bands of frames.</summary>
    /// <param name="rows">Rows of a latent frame.</param>
    internal FrameBands Bands(long rows) => new(group, rows);

    /// <summary>What the first process says to the others.</summary>
    internal bool FirstSays(bool own)
    {
        byte[] answer = [own ? (byte)1 : (byte)0];
        group.Broadcast<byte>(answer);
        return answer[0] != 0;
    }

    /// <summary>Brings the bands of all processes together.</summary>
    /// <param name="band">Frames of this process, [b, c, t, h', w].</param>
    /// <param name="bands">The bands.</param>
    /// <returns>Whole frames; null in processes that do not get them.</returns>
    internal Tensor? Collect(Tensor band, FrameBands bands) => givesAll ? bands.Whole(band, 3) : bands.Collect(band);

    /// <summary>Decodes the tiles of this process, and blends those of all.</summary>
    /// <param name="tiling">The tiles.</param>
    /// <param name="z">Latents, [b, c, t, h, w].</param>
    /// <param name="shape">Shape of the frames of latents of a shape.</param>
    /// <param name="network">Decodes a tile.</param>
    /// <returns>Whole frames; null in processes that do not get them.</returns>
    internal Tensor? InTiles(Tiling tiling, Tensor z, Func<Tensor, long[]> shape, Func<Tensor, int, Tensor> network)
    {
        using var scope = new TensorScope();
        var own = new Dictionary<int, Tensor>();
        var leaving = new List<Transfers>();
        for (var tile = group.Rank; tile < tiling.Count; tile += group.WorldSize)
        {
            var frames = network(tiling.Cut(z, tile), tile).Contiguous();
            leaving.AddRange(Others().Where(rank => givesAll || rank == 0).Select(rank => group.Send(frames, rank)));
            own.Add(tile, frames);
        }

        var whole = GetsFrames ? scope.Keep(tiling.Run(z, (cut, tile) => own.GetValueOrDefault(tile)?.Clone() ?? Receive(shape(cut), cut, tile % group.WorldSize))) : null;
        leaving.ForEach(transfer => transfer.Wait());
        return whole;
    }

    private IEnumerable<int> Others() => Enumerable.Range(0, group.WorldSize).Where(rank => rank != group.Rank);

    private Tensor Receive(long[] shape, Tensor like, int from)
    {
        var frames = Tensor.Empty(shape, like.Type, group.MovingDevice);
        group.Receive(frames, from).Wait();
        return frames.To(like.Device);
    }
}

/// <summary>The band of rows of every frame that a process computes; rows of latents are divided as evenly as they can be.</summary>
/// <param name="group">The processes, at most as many as there are rows.</param>
/// <param name="rows">Rows of a latent frame.</param>
internal sealed class FrameBands(ProcessGroup group, long rows)
{
    // Rows beside a band that a convolution sees: half of its kernel of 3.
    private const int Edge = 1;

    private (long Start, long Length) OwnRows => VectorDivision.Share(rows, group.WorldSize, group.Rank);

    /// <summary>The band of this process.</summary>
    /// <param name="z">Latents, [b, c, t, h, w].</param>
    internal Tensor Own(Tensor z) => z.Narrow(3, OwnRows.Start, OwnRows.Length);

    /// <summary>Adds the rows above and below, which are those of the neighbours, or zeros at the edges of the frame.</summary>
    /// <param name="x">Features of the band, [b, c, t, h, w].</param>
    /// <returns>[b, c, t, 1 + h + 1, w].</returns>
    internal Tensor WithEdges(Tensor x)
    {
        using var scope = new TensorScope();
        var (leaving, arriving) = (new Tensor?[group.WorldSize], new Tensor?[group.WorldSize]);
        foreach (var (neighbour, row) in new[] { (group.Rank - 1, 0L), (group.Rank + 1, x.Size(3) - Edge) })
        {
            if (neighbour < 0 || neighbour == group.WorldSize)
                continue;
            leaving[neighbour] = x.Narrow(3, row, Edge).Contiguous().To(group.MovingDevice);
            arriving[neighbour] = Tensor.Empty(leaving[neighbour]!.Shape, x.Type, group.MovingDevice);
        }

        group.Exchange(arriving, leaving).Wait();
        return scope.Keep(Tensor.Cat([Beside(group.Rank - 1), x, Beside(group.Rank + 1)], 3));

        Tensor Beside(int rank) => arriving.ElementAtOrDefault(rank)?.To(x.Device) ?? Tensor.Zeros([.. x.Shape[..3], Edge, x.Size(4)], x.Type, x.Device);
    }

    /// <summary>The moments of whole frames.</summary>
    /// <param name="x">Features of the band, [b, c, t, h, w].</param>
    /// <param name="groups">Groups of channels.</param>
    internal GroupMoments Moments(Tensor x, long groups)
    {
        using var scope = new TensorScope();
        var own = GroupMoments.Of(x, groups);
        var values = Exchanged(own.Values.Contiguous(), _ => own.Values.Shape, _ => true);
        var whole = GroupMoments.Join([.. values.Select((part, rank) => new GroupMoments(part!.To(x.Device), own.Count / OwnRows.Length * Length(rank)))]);
        return whole with { Values = scope.Keep(whole.Values) };
    }

    /// <summary>Brings the bands of all processes together, in all of them.</summary>
    /// <param name="band">Features of this process.</param>
    /// <param name="dimension">Where the rows are; a multiple of those of the band.</param>
    internal Tensor Whole(Tensor band, int dimension) => Joined(band, dimension, _ => true)!;

    /// <summary>Brings the bands of all processes together in the first one; the others get null.</summary>
    /// <param name="band">Frames of this process, [b, c, t, h', w].</param>
    internal Tensor? Collect(Tensor band) => Joined(band, 3, rank => rank == 0);

    private long Length(int rank) => VectorDivision.Share(rows, group.WorldSize, rank).Length;

    private Tensor? Joined(Tensor band, int dimension, Func<int, bool> gets)
    {
        using var scope = new TensorScope();
        var scale = band.Size(dimension) / OwnRows.Length;
        var parts = Exchanged(band.Contiguous(), Shape, gets);
        return gets(group.Rank) ? scope.Keep(Tensor.Cat([.. parts.Select(part => part!.To(band.Device))], dimension)) : null;

        long[] Shape(int rank)
        {
            var shape = band.Shape;
            shape[dimension] = scale * Length(rank);
            return shape;
        }
    }

    // Sends the same to all processes that get it.
    private Tensor?[] Exchanged(Tensor own, Func<int, long[]> shape, Func<int, bool> gets)
    {
        var (leaving, ranks) = (own.To(group.MovingDevice), Enumerable.Range(0, group.WorldSize).ToArray());
        Tensor?[] arriving = [.. ranks.Select(rank => gets(group.Rank) && rank != group.Rank ? Tensor.Empty(shape(rank), own.Type, group.MovingDevice) : null)];
        group.Exchange(arriving, [.. ranks.Select(rank => gets(rank) && rank != group.Rank ? leaving : null)]).Wait();
        arriving[group.Rank] = leaving;
        return arriving;
    }
}
