using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Cli.Output;

namespace PyramidFlow.Cli.Generating;

/// <summary>What became of the clips of a run; tells of each as it is done, or of all at the end as one JSON object.</summary>
internal sealed class RunReport(CliConsole console, bool json, bool verbose)
{
    private static readonly RunReportJson Readable = new(new JsonSerializerOptions(RunReportJson.Default.Options)
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    });

    private readonly List<MadeClip> made = [];
    private readonly List<string> skipped = [];
    private readonly List<Failure> failed = [];

    public int Failed => failed.Count;

    /// <summary>A clip was made.</summary>
    /// <param name="clip">The clip.</param>
    /// <param name="how">How long it took.</param>
    public void Made(MadeClip clip, string how)
    {
        made.Add(clip);
        console.Note($"{clip}, {how}");
        if (!json && clip.File != OutputFile.Standard)
            console.Result(clip.File);
    }

    /// <summary>A file was there already.</summary>
    public void Skipped(string file) => skipped.Add(file);

    /// <summary>A clip could not be made.</summary>
    /// <param name="item">Where it stands, such as "prompts.txt line 3".</param>
    /// <param name="error">Why.</param>
    public void Fault(string item, Exception error)
    {
        var sentence = Faults.Sentence(error);
        failed.Add(new Failure(item, sentence));
        console.Fail($"{item}: {sentence}");
        if (verbose)
            console.Note(error.ToString());
    }

    /// <summary>Such as <c>3 made, 97 made before, 2 failed</c>.</summary>
    public string Counts() => string.Join(", ",
        [$"{made.Count} made", .. Some(skipped.Count, "made before"), .. Some(failed.Count, "failed")]);

    /// <summary>Prints the JSON object, if that was asked for, and gives the exit code.</summary>
    public int End()
    {
        if (json)
            console.Result(JsonSerializer.Serialize(new Summary(made.Count, skipped.Count, failed.Count, made, skipped, failed), Readable.Summary));
        return failed.Count == 0 ? ExitCode.Ok : ExitCode.Failed;
    }

    private static string[] Some(int count, string what) => count == 0 ? [] : [$"{count} {what}"];

    internal sealed record Failure(string Item, string Error);

    internal sealed record Summary(int Made, int Skipped, int Failed, IReadOnlyList<MadeClip> Clips, IReadOnlyList<string> MadeBefore, IReadOnlyList<Failure> Errors);
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(RunReport.Summary))]
internal sealed partial class RunReportJson : JsonSerializerContext;
