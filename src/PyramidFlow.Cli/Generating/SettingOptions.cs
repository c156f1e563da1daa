using System.CommandLine;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Generation;

namespace PyramidFlow.Cli.Generating;

/// <summary>Options of the command line for the settings of a generation, derived from <see cref="SettingsTable"/>.</summary>
internal sealed class SettingOptions
{
    private readonly List<(Setting Setting, Option Option)> options;

    /// <param name="extends">Whether the command continues a video.</param>
    /// <param name="only">Names of the settings to offer; none is all of them.</param>
    public SettingOptions(bool extends = false, params string[] only) =>
        options = [.. SettingsTable.All.Where(setting => setting.Option is not null && (only.Length == 0 || only.Contains(setting.Name)))
            .Select(setting => (setting, CliOptions.Setting(setting, extends)))];

    /// <summary>The options of a section of the help.</summary>
    public Option[] Of(SettingGroup group) => [.. options.Where(each => each.Setting.Group == group).Select(each => each.Option)];

    /// <summary>Adds the options of the sampler.</summary>
    public void AddSamplingTo(ExampledCommand command)
    {
        command.Group("Sampling", Of(SettingGroup.Sampling));
        command.Group("Savings that change the result a little (docs/approximations.md)", Of(SettingGroup.Approximations));
    }

    /// <summary>A clip with what was typed.</summary>
    public ClipArguments Read(ParseResult parsed, ClipArguments clip)
    {
        foreach (var (setting, option) in options)
        {
            var typed = option is Option<bool> flag ? (parsed.GetValue(flag) ? new SettingValue(true) : null) : parsed.GetValue((Option<SettingValue?>)option);
            if (typed is not null)
                clip = setting.Set(clip, typed.Value) with { AnySeed = clip.AnySeed || (setting.Name == "seed" && typed.Value is null) };
        }

        return clip;
    }
}

/// <summary>A value of a setting that was typed; null is any, such as a seed of -1.</summary>
internal sealed record SettingValue(object? Value);
