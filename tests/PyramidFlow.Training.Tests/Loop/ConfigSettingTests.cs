using System.Text;
using System.Text.Json;
using PyramidFlow.Testing;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Tests.Loop;

/// <summary>Values given beside the file of a configuration.</summary>
public sealed class ConfigSettingTests : IDisposable
{
    private const string Written = """
        { // a comment
          "model": "m",
          "steps": 5, /* "steps": 6 */
          "sample_ratios": [
            1,
            2,
            1
          ],
          "data": { "annotations": "a.jsonl", },
        }
        """;

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Values_are_json_or_text_and_take_the_place_of_those_in_the_file()
    {
        var config = DitConfig.Load(Source(Written, "steps=200", "data.workers=3", "sample_ratios=[2, 1,\n1]", "variant=384p", "model=other", "lora.rank=4", "lora.alpha=2", "data.fps=null", "from_scratch=true"));

        Assert.Equal((200, 3, "384p", "other", true), (config.Steps, config.Data.Workers, config.Variant, config.Model, config.FromScratch));
        Assert.Equal([2, 1, 1], config.SampleRatios);
        Assert.Equal((4, 0.5), (config.Lora!.Rank, config.Lora.Scale));
        Assert.Null(config.Data.Fps);
        Assert.Equal("a.jsonl", Assert.Single(config.Data.Annotations));
    }

    [Fact]
    public void The_last_value_of_a_key_counts()
    {
        Assert.Equal(9, DitConfig.Load(Source("{ \"steps\": 1, \"model\": \"m\", \"data\": { \"annotations\": \"a\" }, \"steps\": 2 }", "steps=8", "steps=9")).Steps);
        Assert.Equal(7, DitConfig.Load(Source("{}", "data.annotations=a", "model=m", "steps=7")).Steps);
        Assert.Equal(3, DitConfig.Load(Source("{ \"model\": \"m\", \"data\": null }", "data={\"annotations\": [\"a\", \"b\"]}", "data.workers=3")).Data.Workers);
    }

    [Theory]
    [InlineData("stepz=3", "stepz", "", "steps")]
    [InlineData("data.worker=3", "worker", "data", "workers")]
    [InlineData("dta.workers=3", "dta", "", "data")]
    public void An_unknown_key_has_the_sentence_of_one_in_the_file(string setting, string key, string section, string nearest)
    {
        var source = Source(Written, setting);
        var error = Assert.Throws<TrainingException>(() => DitConfig.Load(source));
        FaultAssert.Is(error, "config_key_unknown", ("file", source.Path), ("line", null), ("key", key), ("section", section), ("nearest", nearest));
    }

    [Theory]
    [InlineData("steps=many", "steps")]
    [InlineData("steps.x=1", "steps")]
    [InlineData("data.workers=", "data.workers")]
    public void A_value_of_the_wrong_type_is_named_without_a_line(string setting, string key)
    {
        var source = Source(Written, setting);
        FaultAssert.Is(Assert.Throws<TrainingException>(() => DitConfig.Load(source)), "config_malformed", ("file", source.Path), ("line", null), ("key", key));
    }

    [Fact]
    public void Lines_of_the_file_keep_their_numbers()
    {
        var source = Source(Written.Replace("a.jsonl\"", "a.jsonl\", \"worker\": 1", StringComparison.Ordinal), "sample_ratios=[1, 1, 2]", "variant=x");
        FaultAssert.Is(Assert.Throws<TrainingException>(() => DitConfig.Load(source)), "config_key_unknown", ("line", 9L), ("key", "worker"));
    }

    [Theory]
    [InlineData("{ \"steps\": ")]
    [InlineData("[1]")]
    [InlineData("")]
    public void A_file_that_is_no_object_has_its_own_error(string text)
    {
        var source = Source(text, "steps=3");
        FaultAssert.Is(Assert.Throws<TrainingException>(() => DitConfig.Load(source)), "config_malformed", ("file", source.Path));
    }

    [Theory]
    [InlineData("steps")]
    [InlineData("=3")]
    [InlineData("data.=3")]
    [InlineData("data..workers=3")]
    public void What_is_no_setting_is_refused(string text) => Assert.Throws<FormatException>(() => ConfigSetting.Parse(text));

    [Fact]
    public void Half_of_a_character_is_refused() => Assert.Throws<FormatException>(() => ConfigSetting.Parse("model=\ud800"));

    [Fact]
    public void Processes_compare_settings_and_the_run_keeps_them()
    {
        var source = Source("\uFEFF{ \"data\": { \"annotations\": \"a.jsonl\" }, \"device\": \"cpu\" }", "device=cuda:1", "data.annotations=b.jsonl");
        Assert.Equal("cuda:1", TrainingConfigFile.DeviceOf(source));
        Assert.Contains(("data.annotations", "\"b.jsonl\""), TrainingConfigFile.Facts(source));

        // Paths of settings are those of the file's folder too.
        folder.Write("b.jsonl", "");
        Directory.CreateDirectory(folder.File("run"));
        ConfigPaths.Copy(source, folder.File("run", "config.json"), "data.annotations");
        var copy = JsonElement.Parse(File.ReadAllText(folder.File("run", "config.json"), Encoding.UTF8));
        Assert.Equal("../b.jsonl", copy.GetProperty("data").GetProperty("annotations").GetString());
        Assert.Equal("cuda:1", copy.GetProperty("device").GetString());
    }

    private TrainingConfigSource Source(string text, params string[] settings) => new(folder.Write("c.json", text), [.. settings.Select(ConfigSetting.Parse)]);
}
