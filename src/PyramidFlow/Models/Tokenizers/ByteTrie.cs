namespace PyramidFlow.Models.Tokenizers;

/// <summary>Prefix tree over the UTF-8 bytes of a vocabulary's pieces.</summary>
internal sealed class ByteTrie
{
    // Edge (node, byte) -> child node; node 0 is the root.
    private readonly Dictionary<long, int> children;
    private readonly List<int> ids = [-1];

    public ByteTrie(int expectedPieces) => children = new Dictionary<long, int>(expectedPieces * 4);

    /// <summary>Adds a piece; a piece added again takes the later id.</summary>
    public void Add(ReadOnlySpan<byte> piece, int id)
    {
        var node = 0;
        foreach (var b in piece)
        {
            ref var child = ref System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(
                children, ((long)node << 8) | b, out var exists);
            if (!exists)
            {
                child = ids.Count;
                ids.Add(-1);
            }

            node = child;
        }

        ids[node] = id;
    }

    /// <summary>Follows one byte from a node (the root is 0).</summary>
    /// <param name="node">The node; moved to its child when there is one.</param>
    /// <param name="b">The byte.</param>
    /// <param name="id">Id of the piece that ends at the child, or -1.</param>
    /// <returns>Whether there is such a child.</returns>
    public bool Step(ref int node, byte b, out int id)
    {
        if (!children.TryGetValue(((long)node << 8) | b, out var child))
        {
            id = -1;
            return false;
        }

        node = child;
        id = ids[child];
        return true;
    }
}
