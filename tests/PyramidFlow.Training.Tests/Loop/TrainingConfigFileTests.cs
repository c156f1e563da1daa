using PyramidFlow.Testing;
using PyramidFlow.Training.Dit;

namespace PyramidFlow.Training.Tests.Loop;

public sealed class TrainingConfigFileTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("{ \"model\": \"sprites\", \"data\": {\n\"annotations\": null } }", "line 2: data.annotations is null: leave it out")]
    [InlineData("{ \"model\": \"sprites\", \"data\": {\n\"annotations\": [\"a\", null] } }", "line 2: data.annotations: use a list of texts")]
    [InlineData("{ \"model\": null,\n\"data\": { \"annotations\": \"a\" } }", "line 1: model is null: it is a text in quotes")]
    [InlineData("{ \"model\": \"sprites\", \"data\": null }", "data is null: it is an object")]
    [InlineData("{ \"data\": { \"annotations\": \"a\" } }", "model is missing")]
    [InlineData("[]", "this cannot be a list: it is an object in braces")]
    public void Nulls_and_what_is_missing_are_named(string json, string sentence)
    {
        var message = Assert.Throws<ArgumentException>(() => DitConfig.Load(folder.Write("c.json", json))).Message;
        Assert.Contains(sentence, message, StringComparison.Ordinal);
    }
}
