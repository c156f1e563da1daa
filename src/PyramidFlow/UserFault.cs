namespace PyramidFlow;

/// <summary>Separates what a user asked for from faults of the program.</summary>
public static class UserFault
{
    private const string Setting = "setting";

    /// <summary>
    /// Whether an argument exception speaks to the user. The program's own libraries throw plain ones without a parameter's name
    /// for what was asked for and cannot be done. One with a name, of a derived type or from the runtime is a fault of the program.
    /// </summary>
    /// <param name="e">The exception, after it was thrown.</param>
    public static bool Is(ArgumentException e) => e.GetType() == typeof(ArgumentException) && e.ParamName is null && IsOwn(e);

    /// <summary>The setting that is at fault, by its <see cref="Generation.Setting.Name"/>; null where it is none, or several together.</summary>
    /// <param name="e">The exception.</param>
    public static string? SettingOf(Exception e) => e.Data[Setting] as string;

    /// <summary>A fault of one setting.</summary>
    /// <param name="setting">Its <see cref="Generation.Setting.Name"/>.</param>
    /// <param name="message">What is wrong, and what would be possible.</param>
    internal static ArgumentException In(string setting, string message) => new(message) { Data = { [Setting] = setting } };

    /// <summary>Whether an exception was thrown by an assembly of this program.</summary>
    /// <param name="e">The exception, after it was thrown.</param>
    public static bool IsOwn(Exception e) => IsOwnName(e.TargetSite?.Module.Assembly.GetName().Name);

    /// <summary>Whether a namespace or assembly is one of this program.</summary>
    /// <param name="name">Its name.</param>
    public static bool IsOwnName(string? name) => name == "PyramidFlow" || (name?.StartsWith("PyramidFlow.", StringComparison.Ordinal) ?? false);
}
