namespace PyramidFlow.Torch;

/// <summary>
/// An error that a user causes and can correct. Programs and tests read <see cref="Code"/> and <see cref="Parameters"/>, which are stable;
/// people read the message, one sentence with the cause and the fix, whose words may change. Each area of the program has one derived
/// type and one class that builds all of its errors (<c>docs/decisions/0024</c>).
/// </summary>
public abstract class PyramidFlowException : Exception
{
    /// <summary>Creates an error.</summary>
    /// <param name="code">Stable name of the cause: lower-case words joined by underscores, unique within the derived type.</param>
    /// <param name="message">One sentence for the user.</param>
    /// <param name="inner">The cause, or null.</param>
    /// <param name="parameters">The values that the sentence is about, such as the file and the limit, by stable names.</param>
    protected PyramidFlowException(string code, string message, Exception? inner, ReadOnlySpan<(string Name, object? Value)> parameters)
        : base(message, inner)
    {
        Code = code;
        var values = new Dictionary<string, object?>(parameters.Length, StringComparer.Ordinal);
        foreach (var (name, value) in parameters)
            values.Add(name, value);
        Parameters = values;
    }

    /// <summary>Stable name of the cause, such as <c>file_missing</c>.</summary>
    public string Code { get; }

    /// <summary>The values that the sentence is about, by stable names such as <c>file</c>.</summary>
    public IReadOnlyDictionary<string, object?> Parameters { get; }
}
