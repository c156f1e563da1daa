using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// KV cache: keys and values of text and history in every block, for several timesteps. Under the causal mask they do not depend
/// on the noisy unit, so each denoising step runs the unit's own tokens only. Disposing it frees them, but not those of a
/// <see cref="HistoryBuffer"/>.
/// </summary>
public sealed class PrefixCache : IDisposable
{
    private readonly TransformerModulation modulation;

    // Parts that follow one another, [heads, timesteps * rows, n, head] with the timestep outermost, block by block.
    private readonly List<KeyValues[]> blocks = [];

    internal PrefixCache(SequenceLayout layout, TransformerModulation modulation, int timesteps)
    {
        Layout = layout;
        this.modulation = modulation.Release();
        Timesteps = timesteps;
    }

    /// <summary>Number of timesteps.</summary>
    public int Timesteps { get; }

    /// <summary>The layout of the stage, with rows for one timestep.</summary>
    internal SequenceLayout Layout { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Layout.Dispose();
        modulation.Dispose();
        foreach (var part in blocks.SelectMany(parts => parts))
        {
            part.Keys.Dispose();
            part.Values.Dispose();
        }
    }

    /// <summary>Adds the keys and values of the next block, which it takes out of their scopes.</summary>
    internal void Add(params KeyValues[] parts)
    {
        foreach (var part in parts)
        {
            TensorScope.Release(part.Keys);
            TensorScope.Release(part.Values);
        }

        blocks.Add(parts);
    }

    /// <summary>The keys, values and modulation of one timestep, as views in the open scope.</summary>
    internal (IReadOnlyList<IReadOnlyList<KeyValues>> Blocks, TransformerModulation Modulation) At(int timestep)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(timestep);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(timestep, Timesteps);
        var rows = Layout.Rows;
        var first = (long)timestep * rows;
        return (blocks.ConvertAll(parts => Array.ConvertAll(parts, part => part.RowRange(first, rows))), modulation.Rows(first, first + rows));
    }
}

/// <summary>
/// History cache of one stage: keys and values of the text and of the leading history frames that never change again, in every block, for
/// several timesteps. A frame changes no more once it stands at the lowest resolution, because its keys and values depend on the text, the
/// timestep and the frames before it only. Prefix passes read it, run the frames behind it and append those that have become final.
/// </summary>
/// <param name="timesteps">Number of timesteps.</param>
/// <param name="rows">Rows of text.</param>
/// <param name="capacity">Most tokens: text and frames.</param>
public sealed class HistoryBuffer(int timesteps, int rows, long capacity) : IDisposable
{
    private readonly List<KeyValues> blocks = [];
    private readonly long[] frames = new long[timesteps];

    /// <summary>Number of timesteps.</summary>
    public int Timesteps => timesteps;

    /// <summary>Bytes of one timestep of such a buffer.</summary>
    /// <param name="config">The transformer.</param>
    /// <param name="type">Its element type.</param>
    /// <param name="rows">Rows of text.</param>
    /// <param name="tokens">Text and frames.</param>
    /// <param name="headProcesses">Number of processes that divide the heads; the largest share counts.</param>
    internal static long BytesOfTimestep(ITransformerConfig config, ElementType type, long rows, long tokens, int headProcesses = 1) =>
        2L * config.Blocks * rows * tokens * HeadSharing.LargestWidth(config, headProcesses) * type.Size();

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var (keys, values, _) in blocks)
        {
            keys.Dispose();
            values.Dispose();
        }

        blocks.Clear();
        Array.Clear(frames);
    }

    /// <summary>History frames that are held for all of some timesteps.</summary>
    internal long Frames(int first, int count) => frames.AsSpan(first, count).ToArray().Min();

    /// <summary>Notes how many frames some timesteps hold, after all blocks were written.</summary>
    internal void Commit(int first, int count, long held) => frames.AsSpan(first, count).Fill(held);

    /// <summary>The first tokens of some timesteps in a block, as views in the open scope.</summary>
    internal KeyValues View(int block, int first, int count, long tokens) =>
        blocks[block].RowRange((long)first * rows, (long)count * rows).Tokens(0, tokens);

    /// <summary>Writes tokens of a block. Padding is put before the words, so that the words of every row and its frames are neighbours.</summary>
    /// <param name="block">The block; blocks come in order the first time.</param>
    /// <param name="first">First timestep.</param>
    /// <param name="count">Number of timesteps.</param>
    /// <param name="source">Keys and values, [heads, count * rows, n, head].</param>
    /// <param name="at">Place of the first token.</param>
    /// <param name="tokens">Number of tokens to take from the beginning of the source.</param>
    /// <param name="layout">Knows the words of each row.</param>
    internal void Write(int block, int first, int count, KeyValues source, long at, long tokens, SequenceLayout layout)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(at + tokens, capacity);
        if (block == blocks.Count)
        {
            long[] shape = [source.Keys.Size(0), (long)timesteps * rows, capacity, source.Keys.Size(3)];
            var (keys, values) = (Tensor.Empty(shape, source.Keys.Type, source.Keys.Device), Tensor.Empty(shape, source.Values.Type, source.Values.Device));
            // Only now, when nothing can fail any more, does this object own them.
            blocks.Add(new KeyValues(TensorScope.Release(keys), TensorScope.Release(values), layout.TextLengths is not null));
        }

        var target = blocks[block].RowRange((long)first * rows, (long)count * rows);
        if (at > 0 || !layout.HasPadding || layout.TextLengths is not { } words)
        {
            Copy(source.Tokens(0, tokens), target.Tokens(at, tokens));
            return;
        }

        var text = layout.TextLength;
        Copy(source.Tokens(text, tokens - text), target.Tokens(text, tokens - text));
        foreach (var (row, length) in words.Index())
            Copy(source.Rows(row, words.Count).Tokens(0, length), target.Rows(row, words.Count).Tokens(text - length, length));
    }

    private static void Copy(KeyValues from, KeyValues to)
    {
        to.Keys.CopyFrom(from.Keys);
        to.Values.CopyFrom(from.Values);
    }
}

/// <summary>The part of a history cache that a prefix pass continues from.</summary>
/// <param name="Buffer">Keys and values.</param>
/// <param name="Timestep">The buffer's timestep that the first one of the pass is.</param>
/// <param name="FinalFrames">Leading history frames of the pass that stand at the lowest resolution, so that they never change again.</param>
public readonly record struct HistorySlice(HistoryBuffer Buffer, int Timestep, long FinalFrames)
{
    /// <summary>Frames that are held for all timesteps of a pass.</summary>
    internal long Held(int timesteps) => Buffer.Frames(Timestep, timesteps);

    /// <summary>The first tokens in a block, as views in the open scope.</summary>
    internal KeyValues View(int block, int timesteps, long tokens) => Buffer.View(block, Timestep, timesteps, tokens);

    /// <summary>Appends the tokens of a pass that never change again.</summary>
    /// <param name="block">The block.</param>
    /// <param name="timesteps">Timesteps of the pass.</param>
    /// <param name="own">Keys and values of the pass.</param>
    /// <param name="first">Place of its first token.</param>
    /// <param name="final">Place of the first token that will change again.</param>
    /// <param name="layout">Knows the words of each row.</param>
    /// <returns>All keys and values up to the end of the pass, as views in the open scope: those of the buffer, then those that will change again.</returns>
    internal KeyValues[] Append(int block, int timesteps, KeyValues own, long first, long final, SequenceLayout layout)
    {
        if (final > first)
            Buffer.Write(block, Timestep, timesteps, own, first, final - first, layout);
        var changing = first + own.Length - final;
        return [.. final == 0 ? Array.Empty<KeyValues>() : [View(block, timesteps, final)],
            .. changing == 0 ? Array.Empty<KeyValues>() : [own.Tokens(final - first, changing)]];
    }

    /// <summary>Notes the frames that the timesteps of a finished pass hold.</summary>
    internal void Commit(int timesteps) => Buffer.Commit(Timestep, timesteps, FinalFrames);
}
