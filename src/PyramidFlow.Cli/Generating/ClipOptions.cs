using System.CommandLine;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Generating;

/// <summary>The options of a clip, shared by every command that makes clips.</summary>
/// <param name="extends">Whether the clip goes on from a video, so that lengths are those of what is added.</param>
internal sealed class ClipOptions(bool extends)
{
    // A larger count is taken for a typing error.
    private const int MostClips = 10_000;

    private readonly Option<string?> prompts = CliOptions.Text("--prompts", "FILE", "prompt schedule: a .json file that gives the prompt from each second on");
    private readonly Option<int?> count = CliOptions.Whole("--count", "N", "clips of each prompt, with seeds one after another: out-1.mp4, out-2.mp4, ...", 1, MostClips);
    private readonly Option<string?> like = CliOptions.Text("--like", "FILE", "take every setting that is not given from a file that was made before");
    private readonly Option<bool> json = CliOptions.Flag("--json", "print one JSON object about what was made");
    private readonly Option<bool> stream = CliOptions.Flag("--stream", "write an .mp4 that can be watched while it is made");
    private readonly Option<string?> saveLatents = CliOptions.Text("--save-latents", "FILE", "also write the latents (.safetensors)");
    private readonly SettingOptions settings = new(extends);
    private readonly ModelOptions model = new();

    /// <summary>The file to write; each command places this option in its own help.</summary>
    public Option<string?> Output { get; } = CliOptions.Text("--output", "FILE",
        $"file to write: .mp4, .gif{(extends ? "" : ", .png")} or - for standard output [default: out.mp4, or the next free name]", "-o");

    public void AddTo(ExampledCommand command)
    {
        command.Group("Length and size", settings.Of(SettingGroup.Size));
        command.Group("What it shows", [prompts, .. settings.Of(SettingGroup.Content)]);
        command.Group("Files", count, like, stream, saveLatents, json);
        settings.AddSamplingTo(command);
        model.AddTo(command);
    }

    public GenerateArguments Read(ParseResult parsed)
    {
        var schedule = parsed.GetValue(prompts) is { } file ? ReadSchedule(file) : null;
        return new GenerateArguments
        {
            Clip = settings.Read(parsed, new ClipArguments { Prompt = schedule?.First, Schedule = schedule?.Later ?? [] }),
            Model = model.Read(parsed),
            Output = parsed.GetValue(Output),
            Count = parsed.GetValue(count) ?? 1,
            Like = parsed.GetValue(like),
            Stream = parsed.GetValue(stream),
            SaveLatents = parsed.GetValue(saveLatents),
            Json = parsed.GetValue(json),
            Verbose = parsed.GetValue<bool>(CliOptions.Verbose),
        };
    }

    /// <summary>Reads the file of a prompt schedule.</summary>
    /// <exception cref="UsageException">It cannot be read, or holds no schedule.</exception>
    internal static PromptSchedule ReadSchedule(string path)
    {
        try
        {
            using var json = StrictJson.Parse(StrictText.ReadBytes(path), new StrictJsonOptions(Written: true, RepeatedKeys: true));
            return PromptSchedule.Read(json.RootElement);
        }
        catch (MalformedTextException e)
        {
            throw CommandFault.ScheduleMalformed(path, (int)e.Line, e.Reason, e.IsNoJson, e);
        }
        catch (FormatException e)
        {
            throw CommandFault.ScheduleInvalid(path, e);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw CommandFault.ScheduleMissing(path, e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CommandFault.FileUnreadable(path, e);
        }
    }
}

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

    /// <summary>Applies the typed settings to a clip.</summary>
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

/// <summary>The arguments of <c>generate</c> or <c>extend</c>; null where not given.</summary>
internal sealed record GenerateArguments
{
    public ClipArguments Clip { get; init; } = new();

    public ModelArguments Model { get; init; } = new();

    public string? Output { get; init; }

    /// <summary>Clips of each prompt.</summary>
    public int Count { get; init; } = 1;

    /// <summary>File to repeat.</summary>
    public string? Like { get; init; }

    public bool Json { get; init; }

    public bool Verbose { get; init; }

    /// <summary>Whether a file can be watched while it is written.</summary>
    public bool Stream { get; init; }

    /// <summary>File for the latents.</summary>
    public string? SaveLatents { get; init; }
}

/// <summary>The settings of one clip from the command line, a batch file or an earlier clip; null where not given.</summary>
internal sealed record ClipArguments : GenerationOptions
{
    /// <summary>Picture to start from.</summary>
    public string? ImageFile { get; init; }

    /// <summary>Video to continue.</summary>
    public string? VideoFile { get; init; }

    /// <summary>File of latents to continue.</summary>
    public string? LatentsFile { get; init; }

    /// <summary>Whether a random seed was requested, which overrides the seed of an earlier file.</summary>
    public bool AnySeed { get; init; }

    /// <summary>Whether there is something to continue, so that a prompt may be empty.</summary>
    public bool IsConditioned => ImageFile is not null || IsContinuation;

    /// <summary>Whether a video or latents are continued, so that lengths are those of what is added.</summary>
    public bool IsContinuation => VideoFile is not null || LatentsFile is not null;

    /// <summary>These settings, completed by others.</summary>
    public ClipArguments Over(ClipArguments others) => SettingsTable.Over(this, AnySeed ? others with { Seed = null } : others) with
    {
        ImageFile = IsConditioned ? ImageFile : others.ImageFile,
        VideoFile = IsConditioned ? VideoFile : others.VideoFile,
        LatentsFile = IsConditioned ? LatentsFile : others.LatentsFile,
        AnySeed = AnySeed || (Seed is null && others.AnySeed),
    };
}
