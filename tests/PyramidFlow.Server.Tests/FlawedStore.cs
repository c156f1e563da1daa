using System.Reflection;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Tests;

/// <summary>A store of which some calls fail with an exception that nobody foresaw.</summary>
public class FlawedStore : DispatchProxy
{
    private IJobStore? store;
    private Func<string, Exception?> fault = _ => null;

    /// <param name="store">What does the work.</param>
    /// <param name="fault">The exception of a call by its name; null lets it through.</param>
    internal static IJobStore Over(IJobStore store, Func<string, Exception?> fault)
    {
        var proxy = Create<IJobStore, FlawedStore>();
        ((FlawedStore)(object)proxy).store = store;
        ((FlawedStore)(object)proxy).fault = fault;
        return proxy;
    }

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) => fault(targetMethod!.Name) is { } e ? throw e : targetMethod.Invoke(store, args);
}
