using PyramidFlow.Testing;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;

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

    [Theory]
    [InlineData("pretrained_model_name_or_path: sd3\nlearning_rate: 1e-4\n")]
    [InlineData("# of another tool\n[model]\nname = \"flux\"\n")]
    [InlineData("[model]\nname = \"flux\"\n")]
    [InlineData("{ \"_class_name\": \"FluxTransformer2DModel\", \"_diffusers_version\": \"0.30\", \"num_layers\": 19 }")]
    [InlineData("{ \"defaults\": [\"_self_\"], \"hydra\": {}, \"trainer\": {}, \"seed\": 1 }")]
    public void The_configuration_of_another_tool_is_told_from_a_slip(string text)
    {
        var path = folder.Write("c.json", text);
        FaultAssert.Is(Assert.Throws<TrainingException>(() => DitConfig.Load(path)), "config_of_other_tool", ("file", path));
        FaultAssert.Is(Assert.Throws<TrainingException>(() => DitConfig.Load(folder.Write("d.json", "{ \"model\": \"sprites\", \"stepz\": 1, \"data\": { \"annotations\": \"a\" } }"))), "config_key_unknown");
    }

    [Fact]
    public void Addresses_and_ranges_of_shards_are_found_and_their_passwords_are_told_to_nobody()
    {
        const string address = "https://me:word@example.org/a-{0..9}.tar?key=secret";
        var path = folder.Write("c.json", $$"""{ "model": "m", "data": { "annotations": ["{{address}}", "parts/b-{0..9}.tar"] } }""");
        Directory.CreateDirectory(folder.File("runs", "one"));

        var options = new DataOptions { Annotations = [address, "parts/b-{0..9}.tar"] };
        options.Find(path);
        ConfigPaths.Copy(path, folder.File("runs", "one", "config.json"), "data.annotations");

        Assert.Equal([address, folder.File("parts", "b-{0..9}.tar")], options.Annotations);
        Assert.Equal($$"""{ "model": "m", "data": { "annotations": ["{{address}}", "../../parts/b-{0..9}.tar"] } }""", File.ReadAllText(folder.File("runs", "one", "config.json")));
        Assert.Contains(("data.annotations", "[\"https://example.org/a-{0..9}.tar\", \"parts/b-{0..9}.tar\"]"), TrainingConfigFile.Facts(path));
    }
}
