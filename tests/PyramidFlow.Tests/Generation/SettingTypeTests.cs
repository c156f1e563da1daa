using System.Text.Json;
using PyramidFlow.Generation;
using PyramidFlow.Scheduling;

namespace PyramidFlow.Tests.Generation;

/// <summary>What each type of setting accepts and refuses, at the ends of its range.</summary>
public class SettingTypeTests
{
    private const string LoraForm = "write a name, such as style, a name and a weight, such as style:0.8, or a list of names and of {\"name\": \"style\", \"weight\": 0.8}";

    [Theory]
    [InlineData("frames", "1", "1")]
    [InlineData("frames", "2147483647", "2147483647")]
    [InlineData("frames_per_unit", "1024", "1024")]
    [InlineData("history", "0", "0")]
    [InlineData("seconds", "0.001", "0.001")]
    [InlineData("fps", "1", "1")]
    [InlineData("fps", "240", "240")]
    [InlineData("guidance", "0", "0")]
    [InlineData("guidance", "1e300", "1E+300")]
    [InlineData("seed", "0", "0")]
    [InlineData("seed", "18446744073709551615", "18446744073709551615")]
    [InlineData("seed", "-1", "")]
    [InlineData("size", "640X384", "640x384")]
    [InlineData("steps", "8", "8")]
    [InlineData("steps", "5,5,5", "5")]
    [InlineData("steps", " [4, 5,6] ", "4,5,6")]
    [InlineData("linear_guidance", " [0.5, 2] ", "0.5,2")]
    [InlineData("linear_guidance", "0,0", "0,0")]
    [InlineData("sample_image", "false", "false")]
    [InlineData("sample_image", "True", "true")]
    [InlineData("solver", "heun", "heun")]
    [InlineData("negative_prompt", "", "")]
    [InlineData("lora", " style ", "style")]
    [InlineData("lora", "style:1;panda : -0.5", "style; panda:-0.5")]
    [InlineData("lora", "[]", "[]")]
    [InlineData("lora", """["style:2", {"name": "panda", "weight": "0.5"}, {"name": "red panda", "weight": null}]""", "style:2; panda:0.5; red panda")]
    [InlineData("lora", """{"name": "runs/a:b"}""", """[{"name":"runs/a:b","weight":1}]""")]
    public void Accepts_what_is_in_its_range(string name, string text, string written)
    {
        var setting = SettingsTable.Find(name)!;
        Assert.Equal(written, setting.Text(setting.Parse(new GenerationOptions(), text)));
    }

    [Theory]
    [InlineData("frames", "0", "use a whole number from 1")]
    [InlineData("frames", "2147483648", "use a whole number from 1")]
    [InlineData("frames", "2.5", "use a whole number from 1")]
    [InlineData("frames", "1,000", "use a whole number from 1, without a comma")]
    [InlineData("frames_per_unit", "0", "use a whole number from 1 to 1024")]
    [InlineData("frames_per_unit", "1025", "use a whole number from 1 to 1024")]
    [InlineData("frames_per_unit", "x", "use a whole number from 1 to 1024")]
    [InlineData("history", "-1", "use a whole number from 0")]
    [InlineData("seconds", "0", "use a positive number")]
    [InlineData("seconds", "x", "use a positive number")]
    [InlineData("seconds", "1,5", "write 1.5 with a decimal point, and thousands without a separator")]
    [InlineData("fps", "0.9", "use 1 to 240 frames per second")]
    [InlineData("fps", "240.5", "use 1 to 240 frames per second")]
    [InlineData("fps", "x", "use 1 to 240 frames per second")]
    [InlineData("guidance", "-0.1", "use 0 (off) or a positive number")]
    [InlineData("guidance", "1e999", "use 0 (off) or a positive number")]
    [InlineData("guidance", "7,5", "write 7.5 with a decimal point, and thousands without a separator")]
    [InlineData("seed", "-2", "use a whole number from 0, or -1 for any")]
    [InlineData("seed", "18446744073709551616", "use a whole number from 0, or -1 for any")]
    [InlineData("seed", "", "use a whole number from 0, or -1 for any")]
    [InlineData("size", "640", "use width x height in pixels, such as 640x384")]
    [InlineData("steps", "", "use a whole number from 1, one for each stage, such as 20,20,20")]
    [InlineData("steps", "20,0", "use a whole number from 1, one for each stage, such as 20,20,20")]
    [InlineData("linear_guidance", "0.5", "use the fall for each unit and the least scale, such as 0.5,2")]
    [InlineData("linear_guidance", "0.5,2,3", "use the fall for each unit and the least scale, such as 0.5,2")]
    [InlineData("linear_guidance", "-0.5,2", "use the fall for each unit and the least scale, such as 0.5,2")]
    [InlineData("linear_guidance", "0.5,x", "use the fall for each unit and the least scale, such as 0.5,2")]
    [InlineData("sample_image", "yes", "use true or false")]
    [InlineData("lora", "", LoraForm)]
    [InlineData("lora", ":0.5", LoraForm)]
    [InlineData("lora", "style;", LoraForm)]
    [InlineData("lora", "[1]", LoraForm)]
    [InlineData("lora", """[{"name": "style", "strength": 1}]""", LoraForm)]
    [InlineData("lora", """[{"name": ""}]""", LoraForm)]
    [InlineData("lora", "style:much", "a weight is a number: " + LoraForm)]
    [InlineData("lora", "style:0,8", "write 0.8 with a decimal point, and thousands without a separator")]
    [InlineData("lora", """[{"name": "style", "weight": true}]""", "a weight is a number: " + LoraForm)]
    public void Refuses_what_is_outside_with_what_to_use(string name, string text, string message) =>
        Assert.Equal(message, Assert.Throws<FormatException>(() => SettingsTable.Find(name)!.Parse(new GenerationOptions(), text)).Message);

    [Fact]
    public void An_unknown_solver_is_refused_with_those_there_are()
    {
        var message = Assert.Throws<FormatException>(() => SettingsTable.Find("solver")!.Parse(new GenerationOptions(), "rk4")).Message;
        Assert.All(FlowSolvers.Names, name => Assert.Contains(name, message));
    }

    [Theory]
    [InlineData("prompt", "\"a cat\"", "a cat")]
    [InlineData("frames", "33", "33")]
    [InlineData("frames", "\"33\"", "33")]
    [InlineData("steps", "8", "8")]
    [InlineData("steps", "[4, 5, 6]", "4,5,6")]
    [InlineData("steps", "\"4,5,6\"", "4,5,6")]
    [InlineData("linear_guidance", "[0.5, 2]", "0.5,2")]
    [InlineData("sample_image", "true", "true")]
    [InlineData("sample_image", "\"false\"", "false")]
    [InlineData("size", "\"640x384\"", "640x384")]
    [InlineData("prompts", "[{\"from\": 1.5, \"prompt\": \"a dog\"}]", "[{\"from\":1.5,\"prompt\":\"a dog\"}]")]
    [InlineData("prompts", "{\"1.5\": \"a dog\"}", "[{\"from\":1.5,\"prompt\":\"a dog\"}]")]
    [InlineData("prompts", "\"{\\\"1.5\\\": \\\"a dog\\\"}\"", "[{\"from\":1.5,\"prompt\":\"a dog\"}]")]
    public void Reads_each_form_of_JSON_that_its_type_has(string name, string json, string written)
    {
        var setting = SettingsTable.Find(name)!;
        using var document = JsonDocument.Parse(json);
        Assert.Equal(written, setting.Text(setting.Read(new GenerationOptions(), document.RootElement)));
    }

    [Theory]
    [InlineData("prompt", "33", "write a text in quotes")]
    [InlineData("prompt", "[\"a cat\"]", "write a text in quotes")]
    [InlineData("prompt", "\"a\\u0000cat\"", "it holds a NUL character: leave that out")]
    [InlineData("frames", "[33]", "use a whole number from 1")]
    [InlineData("frames", "{\"a\": 1}", "use a whole number from 1")]
    [InlineData("frames", "true", "use a whole number from 1")]
    [InlineData("frames", "null", "use a whole number from 1")]
    [InlineData("steps", "[]", "use a whole number from 1, one for each stage, such as 20,20,20")]
    [InlineData("steps", "{\"a\": 1}", "use a whole number from 1, one for each stage, such as 20,20,20")]
    [InlineData("sample_image", "1", "use true or false")]
    [InlineData("sample_image", "[true]", "use true or false")]
    [InlineData("solver", "[\"heun\"]", "use euler")]
    [InlineData("prompts", "7", PromptSchedule.Form)]
    public void Refuses_JSON_of_another_form_with_the_sentence_of_its_type(string name, string json, string message)
    {
        using var document = JsonDocument.Parse(json);
        Assert.StartsWith(message, Assert.Throws<FormatException>(() => SettingsTable.Find(name)!.Read(new GenerationOptions(), document.RootElement)).Message);
    }

    [Fact]
    public void Says_its_range_and_form()
    {
        Assert.Equal((1, null), Type("frames").Range);
        Assert.Equal((1, 1024), Type("frames_per_unit").Range);
        Assert.Equal((0, null), Type("seconds").Range);
        Assert.Equal((0, null), Type("guidance").Range);
        Assert.Equal((1, 240), Type("fps").Range);
        Assert.Equal((-1, null), Type("seed").Range);
        Assert.Equal(["sample_image", "new_only"], SettingsTable.All.Where(setting => setting.Type.IsFlag).Select(setting => setting.Name));
        Assert.Equal(["prompt", "negative_prompt", "prompt_suffix"], SettingsTable.All.Where(setting => setting.Type.IsText).Select(setting => setting.Name));
        Assert.Equal(FlowSolvers.Names, Type("solver").Choices);
        Assert.Equal(string.Join('|', FlowSolvers.Names), Type("solver").ValueName);

        static SettingType Type(string name) => SettingsTable.Find(name)!.Type;
    }

    [Fact]
    public void Is_found_by_its_name_and_its_aliases()
    {
        Assert.Equal("negative_prompt", SettingsTable.Find("negative")!.Name);
        Assert.Equal("prompt_suffix", SettingsTable.Find("prompt_suffix")!.ToString());
        Assert.Null(SettingsTable.Find("colour"));
    }

    [Fact]
    public void An_empty_text_is_not_the_same_as_one_left_out()
    {
        var setting = SettingsTable.Find("negative_prompt")!;
        Assert.False(setting.IsSame(new GenerationOptions(), new GenerationOptions { NegativePrompt = "" }));
        Assert.False(setting.IsSame(new GenerationOptions { NegativePrompt = "a" }, new GenerationOptions { NegativePrompt = "" }));
        Assert.True(setting.IsSame(new GenerationOptions { NegativePrompt = "" }, new GenerationOptions { NegativePrompt = "" }));
    }

    [Fact]
    public void Settings_of_one_file_alone_are_noted_and_a_size_only_as_width_and_height()
    {
        Assert.Equal(["seconds", "size", "lora"], SettingsTable.All.Where(setting => !setting.IsNoted).Select(setting => setting.Name));
        Assert.Equal("", SettingsTable.Find("size")!.Text(new GenerationOptions { Width = 64 }));
        Assert.Equal("", SettingsTable.Find("size")!.Text(new GenerationOptions { Height = 64 }));
    }

    [Fact]
    public void A_schedule_gives_the_first_prompt_only_where_there_is_none()
    {
        var setting = SettingsTable.Find("prompts")!;
        const string Both = """{"0": "a red ball", "1": "a blue ball"}""";
        Assert.Equal("a red ball", setting.Parse(new GenerationOptions(), Both).Prompt);
        var given = setting.Parse(new GenerationOptions { Prompt = "a cat" }, Both);
        Assert.Equal("a cat", given.Prompt);
        Assert.Equal([new PromptChange(1, "a blue ball")], given.Schedule);
        Assert.Empty(setting.Set(given, null).Schedule);
    }

    [Fact]
    public void A_setting_that_nothing_replaces_is_taken_from_others() =>
        Assert.Equal("dark", SettingsTable.Over(new GenerationOptions { Prompt = "a cat", Seconds = 2 }, new GenerationOptions { NegativePrompt = "dark" }).NegativePrompt);
}
