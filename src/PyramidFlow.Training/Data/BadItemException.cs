namespace PyramidFlow.Training.Data;

/// <summary>An item that cannot be used; the run goes on without it.</summary>
internal sealed class BadItemException(DataFaultKind kind, string reason, Exception? inner = null) : Exception(reason, inner)
{
    public DataFaultKind Kind { get; } = kind;

    public DataFault Fault(Annotation annotation) => new(annotation.File, annotation.Line, Kind, Message);
}
