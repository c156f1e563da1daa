namespace PyramidFlow.Torch;

/// <summary>A table of vectors, [rows, dim], looked up by index.</summary>
public sealed class Embedding : Module
{
    private readonly Parameter weight;

    /// <summary>Declares the table; entries start normal with the given standard deviation.</summary>
    public Embedding(long rows, long dim, double std = 1) => weight = new Parameter([rows, dim], Initializers.Normal(std));

    /// <summary>The table, [rows, dim].</summary>
    public Parameter Weight => weight;

    /// <summary>Rows named by an int64 tensor: [...] to [..., dim].</summary>
    public Tensor Forward(Tensor index) => weight.Value.Embedding(index);
}
