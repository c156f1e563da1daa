using System.Globalization;
using PyramidFlow.Torch;

namespace PyramidFlow.Testing;

/// <summary>Compares errors for users by code and parameters, never by their sentences.</summary>
internal static class FaultAssert
{
    /// <summary>Checks the code and the given parameters of an error, and that its sentence names the value of each of them.</summary>
    public static void Is(PyramidFlowException error, string code, params ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        Assert.Equal(code, error.Code);
        foreach (var (name, value) in parameters)
        {
            Assert.True(error.Parameters.TryGetValue(name, out var given), $"{code} has no parameter {name}: {string.Join(", ", error.Parameters.Keys)}");
            Assert.Equal(value, given);
            if (value is not null)
                Assert.Contains(Convert.ToString(value, CultureInfo.InvariantCulture)!, error.Message, StringComparison.Ordinal);
        }
    }

    /// <summary>Checks an error by parameters as tables of cases write them: <c>name=value name=value</c>, compared as text.</summary>
    public static void Has(PyramidFlowException error, string code, string parameters)
    {
        Assert.Equal(code, error.Code);
        foreach (var parameter in parameters.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            var name = parameter.Split('=')[0];
            Is(error, code, (name, error.Parameters.GetValueOrDefault(name)));
            Assert.Equal(parameter, FormattableString.Invariant($"{name}={error.Parameters.GetValueOrDefault(name)}"));
        }
    }

    /// <summary>The only error with a code among several that were thrown as one, whose sentence holds that of each.</summary>
    public static PyramidFlowException Among(PyramidFlowException error, string code)
    {
        var all = Assert.IsType<AggregateException>(error.InnerException).InnerExceptions.Cast<PyramidFlowException>().ToList();
        Assert.All(all, each => Assert.Contains(each.Message, error.Message, StringComparison.Ordinal));
        return Assert.Single(all, each => each.Code == code);
    }
}
