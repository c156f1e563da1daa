using System.Reflection;
using System.Text.Json;
using PyramidFlow.Generation;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Tests.Generation;

/// <summary>The table of settings is whole, and every row says the same in every form.</summary>
public class SettingsTableTests
{
    private static readonly GenerationOptions Every = new()
    {
        Prompt = "a «red» ball, \"round\"",
        Schedule = [new(0.5, "a blue ball"), new(1.5, "a green one")],
        NegativePrompt = "",
        PromptSuffix = ", sharp",
        Width = 128,
        Height = 64,
        Frames = 33,
        Seconds = 1.5,
        FramesPerSecond = 12.5,
        Steps = [4, 5, 6],
        VideoSteps = [2, 2, 2],
        Guidance = 6.5,
        VideoGuidance = 0,
        LinearGuidance = new(0.25, 1.5),
        FramesPerUnit = 2,
        HistoryWindow = 0,
        ReusePrefix = 2,
        GuidanceEvery = 3,
        Solver = FlowSolvers.Heun,
        SampleImage = true,
        NewFramesOnly = true,
        Loras = [new("style", 0.5), new("panda")],
        Seed = ulong.MaxValue,
    };

    public static TheoryData<string> Names => [.. SettingsTable.All.Select(setting => setting.Name)];

    [Fact]
    public void Every_property_that_can_be_asked_for_has_a_row()
    {
        string[] given = [nameof(GenerationOptions.Count), nameof(GenerationOptions.Image), nameof(GenerationOptions.Video), nameof(GenerationOptions.Latents), nameof(GenerationOptions.Conditioning)];
        var copied = SettingsTable.All.Aggregate(new GenerationOptions(), (options, setting) => setting.Set(options, setting.Get(Every)));
        foreach (var property in typeof(GenerationOptions).GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(property => property.CanWrite && !given.Contains(property.Name)))
        {
            Assert.False(Equals(property.GetValue(Every), property.GetValue(new GenerationOptions())), $"{property.Name} is not set by this test");
            Assert.True(JsonSerializer.Serialize(property.GetValue(Every)) == JsonSerializer.Serialize(property.GetValue(copied)), $"{property.Name} has no row");
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_value_is_the_same_as_text_and_as_JSON(string name)
    {
        var setting = SettingsTable.Find(name)!;
        Assert.True(setting.IsSame(Every, setting.Parse(new GenerationOptions(), setting.Text(Every))));
        using var json = JsonDocument.Parse(ReadableJson.Write(writer =>
        {
            writer.WriteStartObject();
            SettingsTable.Write(writer, Every, each => each == setting ? each.Name : null);
            writer.WriteEndObject();
        }));
        Assert.True(setting.IsSame(Every, setting.Read(new GenerationOptions(), json.RootElement.GetProperty(name))));
        Assert.False(setting.IsSame(Every, new GenerationOptions()));
    }

    [Fact]
    public void Names_of_settings_options_and_fields_are_unique_and_in_their_forms()
    {
        Assert.Distinct(SettingsTable.All.SelectMany(setting => setting.Aliases.Prepend(setting.Name)));
        Assert.Distinct(SettingsTable.All.Select(setting => setting.Option).OfType<string>());
        Assert.Distinct(SettingsTable.All.Select(setting => setting.Field).OfType<string>());
        Assert.All(SettingsTable.All, setting => Assert.Matches("^[a-z_]+$", setting.Name));
        Assert.All(SettingsTable.All.Select(setting => setting.Option).OfType<string>(), option => Assert.Matches("^--[a-z-]+$", option));
        Assert.All(SettingsTable.All, setting => Assert.False(char.IsUpper(setting.Help[0]) || (setting.Help.EndsWith('.') && !setting.Help.EndsWith("...", StringComparison.Ordinal)), $"the help of {setting} is a sentence"));
    }

    [Fact]
    public void What_is_left_out_is_taken_from_others_unless_another_setting_replaces_it()
    {
        var others = Every with { Seconds = null };
        Assert.Equal(33, SettingsTable.Over(new GenerationOptions(), others).Frames);
        Assert.Null(SettingsTable.Over(new GenerationOptions { Seconds = 2 }, others).Frames);
        Assert.Equal(2, SettingsTable.Over(new GenerationOptions(), others).Schedule.Count);
        Assert.Empty(SettingsTable.Over(new GenerationOptions { Prompt = "a cat" }, others).Schedule);
        Assert.Equal((256, 192), SettingsTable.Over(new GenerationOptions { Width = 256, Height = 192 }, others) is { Width: { } width, Height: { } height } ? (width, height) : default);
        Assert.Equal(5UL, SettingsTable.Over(new GenerationOptions { Seed = 5 }, others).Seed);
    }

    [Fact]
    public void What_is_as_usual_is_not_written()
    {
        var usual = new GenerationOptions { Prompt = "a cat", FramesPerUnit = 1, ReusePrefix = 1, GuidanceEvery = 1, SampleImage = false, NewFramesOnly = false };
        var json = ReadableJson.Write(writer =>
        {
            writer.WriteStartObject();
            SettingsTable.Write(writer, usual, setting => setting.Name);
            writer.WriteEndObject();
        });
        Assert.Equal("""{"prompt":"a cat"}""", json);
    }
}
