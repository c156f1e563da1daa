namespace PyramidFlow.Training.Data;

/// <summary>One item of a data set that cannot be used.</summary>
/// <param name="File">Annotation file.</param>
/// <param name="Line">Line in it, from 1.</param>
/// <param name="Kind">What kind of fault it is.</param>
/// <param name="Reason">What is wrong; names the media file where there is one.</param>
public sealed record DataFault(string File, int Line, DataFaultKind Kind, string Reason)
{
    /// <inheritdoc/>
    public override string ToString() => $"{File}, line {Line}: {Reason}";
}
