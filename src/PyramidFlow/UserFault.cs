namespace PyramidFlow;

/// <summary>Separates what a user asked for from faults of the program.</summary>
public static class UserFault
{
    /// <summary>
    /// Whether an argument exception speaks to the user. The program's own libraries throw plain ones without a parameter's name
    /// for what was asked for and cannot be done. One with a name, of a derived type or from the runtime is a fault of the program.
    /// </summary>
    /// <param name="e">The exception, after it was thrown.</param>
    public static bool Is(ArgumentException e) => e.GetType() == typeof(ArgumentException) && e.ParamName is null && IsOwn(e);

    /// <summary>Whether an exception was thrown by an assembly of this program.</summary>
    /// <param name="e">The exception, after it was thrown.</param>
    public static bool IsOwn(Exception e) => IsOwnName(e.TargetSite?.Module.Assembly.GetName().Name);

    /// <summary>Whether a namespace or assembly is one of this program.</summary>
    /// <param name="name">Its name.</param>
    public static bool IsOwnName(string? name) => name == "PyramidFlow" || (name?.StartsWith("PyramidFlow.", StringComparison.Ordinal) ?? false);
}
