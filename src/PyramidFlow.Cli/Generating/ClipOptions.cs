using System.CommandLine;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Generation;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Generating;

/// <summary>The options that say what clips are to be like; the same for every command that makes some.</summary>
/// <param name="extends">Whether the clip goes on from a video, so that lengths are those of what is added.</param>
internal sealed class ClipOptions(bool extends)
{
    // More are a slip of the fingers.
    private const int MostClips = 10_000;

    private readonly Option<string?> prompts = CliOptions.Text("--prompts", "FILE", "prompt schedule: a .json file that gives the prompt from each second on");
    private readonly Option<int?> count = CliOptions.Whole("--count", "N", "clips of each prompt, with seeds one after another: out-1.mp4, out-2.mp4, ...", 1, MostClips);
    private readonly Option<string?> like = CliOptions.Text("--like", "FILE", "take every setting that is not given from a file that was made before");
    private readonly Option<bool> json = CliOptions.Flag("--json", "print one JSON object about what was made");
    private readonly Option<bool> stream = CliOptions.Flag("--stream", "write an .mp4 that can be watched while it is made");
    private readonly Option<string?> saveLatents = CliOptions.Text("--save-latents", "FILE", "also write the latents (.safetensors)");
    private readonly SettingOptions settings = new(extends);
    private readonly ModelOptions model = new();

    /// <summary>The file to write; where a command shows it is up to the command.</summary>
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
            throw new UsageException($"{path}{(e.Line > 0 ? $" line {e.Line}" : "")}: {e.Reason}{(e.IsNoJson ? $"; {PromptSchedule.Form}" : "")}", e);
        }
        catch (FormatException e)
        {
            throw new UsageException($"{path}: {e.Message}", e);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new UsageException($"{path} does not exist: --prompts takes a .json file", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"cannot read {path}: {(Directory.Exists(path) ? "it is a folder" : e.Message)}", e);
        }
    }
}
