using PyramidFlow.Testing;
using PyramidFlow.Training.Dit;

namespace PyramidFlow.Training.Tests.Loop;

public sealed class TrainingConfigFileTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("{ \"model\": \"sprites\", \"data\": {\n\"annotations\": null } }", 2, "data.annotations", "is null: leave it out")]
    [InlineData("{ \"model\": \"sprites\", \"data\": {\n\"annotations\": [\"a\", null] } }", 2, "data.annotations", TrainingFault.NoListOfTexts)]
    [InlineData("{ \"model\": null,\n\"data\": { \"annotations\": \"a\" } }", 1, "model", "is null: it is a text in quotes")]
    [InlineData("{ \"model\": \"sprites\", \"data\": null }", 1, "data", "is null: it is an object")]
    [InlineData("{ \"data\": { \"annotations\": \"a\" } }", 0, null, "model is missing")]
    [InlineData("[]", 0, null, "this cannot be a list: it is an object in braces")]
    public void Nulls_and_what_is_missing_are_named(string json, int line, string? key, string reason)
    {
        var path = folder.Write("c.json", json);
        var error = Assert.Throws<TrainingException>(() => DitConfig.Load(path));
        FaultAssert.Is(error, "config_malformed", ("file", path), ("line", line > 0 ? (long)line : null), ("key", key));
        Assert.Contains(reason, (string)error.Parameters["reason"]!, StringComparison.Ordinal);
    }
}
