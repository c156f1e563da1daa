using PyramidFlow.Cli.Terminal;

namespace PyramidFlow.Cli.Tests;

/// <summary>What one command line, run in this process, ended with and wrote.</summary>
internal sealed record CliRun(int Code, string Out, string Error)
{
    /// <summary>What was written to standard output as bytes.</summary>
    public byte[] Bytes { get; private init; } = [];

    public static Task<CliRun> OfAsync(params string[] arguments) => OfAsync(TestContext.Current.CancellationToken, arguments);

    public static async Task<CliRun> OfAsync(CancellationToken cancel, params string[] arguments)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        var bytes = new MemoryStream();
        var code = await CommandLine.RunAsync(arguments, new CliConsole(output, error, bytes: () => bytes), cancel);
        return new CliRun(code, output.ToString(), error.ToString()) { Bytes = bytes.ToArray() };
    }

    /// <summary>Fails unless it was refused with one sentence that holds the words.</summary>
    public void AssertRefused(params string[] words)
    {
        Assert.Equal(ExitCode.WrongUsage, Code);
        Assert.Empty(Out);
        var sentence = Assert.Single(Error.Split('\n'), line => line.StartsWith("error: ", StringComparison.Ordinal));
        Assert.All(words, word => Assert.Contains(word, sentence, StringComparison.Ordinal));
        Assert.DoesNotContain("   at ", Error, StringComparison.Ordinal);
    }
}
