using System.CommandLine;
using System.Text.Json;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Models;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Shards;
using Spectre.Console;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>data check</c>: a report and a contact sheet of a data set.</summary>
internal static class DataCheckCommand
{
    private const int UsualCount = 12, UsualFrames = 121, UsualWorkers = 2;

    public static Command Create(CliConsole console)
    {
        var annotations = new Argument<string[]>("ANNOTATIONS") { Description = "annotation files, JSON lines; folders such as one with clip.mp4 and clip.txt; or shards, also over HTTP, such as 'clips-{000000..000099}.tar'", Arity = ArgumentArity.OneOrMore };
        var size = CliOptions.Sizes("--size", $"sizes in pixels; each item goes to the one of nearest shape [default: that of --model, or {ModelSize.Released}]");
        var frames = CliOptions.Lengths("--frames", $"lengths of clips; each video goes to the longest that fits [default: every length up to {UsualFrames}]");
        var fps = CliOptions.Number("--fps", "RATE", "frames per second videos are brought to; 0 takes frames as stored [default: 24]", zero: true);
        var decode = CliOptions.Flag("--decode", "decode every clip and read all latents, not only their headers");
        var model = CliOptions.Text("--model", "DIR|NAME", "checkpoint whose tokenizer counts the captions' tokens, and whose VAE the latents are of, which decodes them for the sheet");
        var output = CliOptions.Text("--output", "FILE", "contact sheet to write, .png", "-o");
        var count = CliOptions.Whole("--count", "N", $"clips on the sheet [default: {UsualCount}]", 1, 200);
        var workers = CliOptions.Whole("--workers", "N", $"files looked at at a time [default: {UsualWorkers}]", 1);
        var json = CliOptions.Flag("--json", "print JSON instead of a table");
        var command = new ExampledCommand("check", "Looks a data set over: buckets, lengths, captions, and what is wrong with which line. The exit code is 1 when there is a fault.",
            $"{About.Name} data check data.jsonl -o sheet.png",
            $"{About.Name} data check train.jsonl --size 640x384,384x640 --frames 49,121 --model ./pyramid-flow-miniflux --decode --json")
        {
            annotations, size, frames, fps, decode, model, output, count, workers, json,
        };
        command.SetAction((parsed, cancellationToken) =>
        {
            var options = new DataOptions
            {
                Annotations = parsed.GetRequiredValue(annotations),
                Sizes = parsed.GetValue(size),
                Frames = parsed.GetValue(frames) ?? [.. Enumerable.Range(2, VideoLength.Latents(UsualFrames) - 1).Select(VideoLength.OfLatents)],
                Fps = parsed.GetValue(fps) is { } rate ? (rate > 0 ? rate : null) : 24,
                Workers = parsed.GetValue(workers) ?? UsualWorkers,
            };
            return new DataCheckRun(console).RunAsync(options, parsed.GetValue(model), parsed.GetValue(decode), parsed.GetValue(output),
                parsed.GetValue(count) ?? UsualCount, parsed.GetValue(json), cancellationToken);
        });
        return command;
    }
}

/// <summary>One run of <c>data check</c>.</summary>
internal sealed class DataCheckRun(CliConsole console)
{
    private const int ReleasedChannels = 16, MostCaption = 100;

    /// <summary>Prints the report and draws the sheet.</summary>
    /// <param name="options">The items and their crop sizes; without sizes, the size of the model.</param>
    /// <param name="model">Checkpoint with tokenizer and VAE; null uses the scale of the released VAE and counts no tokens.</param>
    /// <param name="decode">Whether to decode every clip.</param>
    /// <param name="sheet">Picture to write; null is none.</param>
    /// <param name="count">Clips on it.</param>
    /// <param name="json">JSON instead of a table.</param>
    /// <param name="cancellationToken">Stops the run.</param>
    public async Task<int> RunAsync(DataOptions options, string? model, bool decode, string? sheet, int count, bool json, CancellationToken cancellationToken)
    {
        foreach (var file in options.Annotations.Where(source => !ShardAddress.IsShard(source)))
            OutputFile.CheckInput(file, "name an annotation file, JSON lines, a folder with texts, or shards", orFolder: true);
        if (sheet is not null)
            OutputFile.Check(sheet, OutputFile.Picture);
        var folder = model is null ? null : CheckpointFolder.Open(ModelNames.Find(model));
        var tokenizer = folder is null ? null : T5Tokenizer.Load(folder.Component(folder.Family.TextComponents[^1].Tokenizer).Folder);
        var channels = folder is null ? ReleasedChannels : (int)CausalVideoVaeConfig.Read(folder.Vae.ConfigFile).EncoderOutChannels;

        options.Sizes ??= [folder is null ? ModelSize.Released : ModelSize.Of(folder)];
        var check = new DataCheck(options, channels);
        var line = new ProgressLine(console);
        var report = await check.RunAsync(tokenizer, decode, new ScanningLine(line), cancellationToken).ConfigureAwait(false);
        line.Dispose();
        DataReportText.Print(report, json, console);
        if (sheet is not null)
            await DrawAsync(check, folder, sheet, count, cancellationToken).ConfigureAwait(false);
        return report.Faults.Count == 0 ? ExitCode.Ok : ExitCode.Failed;
    }

    private async Task DrawAsync(DataCheck check, CheckpointFolder? folder, string sheet, int count, CancellationToken cancellationToken)
    {
        var faults = new FaultLog(fault => console.Warn(fault.ToString()));
        var (clips, width, height) = await check.SamplesAsync(count, folder is null ? null : () => CausalVideoVae.Load(folder.Vae, ElementType.Float32), faults, cancellationToken).ConfigureAwait(false);
        if (clips.Count == 0)
        {
            console.Warn($"{sheet} is not written: no usable item has a video or an image to show{(folder is null ? ", and latents are not decoded without a --model" : "")}");
            return;
        }

        foreach (var (i, (item, _)) in clips.Index())
            console.Note($"{i + 1,4}  {(item.Annotation.CaptionFile is null ? "line" : "item")} {item.Annotation.Line}: {Caption(item.Annotation.Text)}");
        var picture = ContactSheet.Compose([.. clips.Select(clip => clip.Rgb)], width, height);
        PngWriter.Write(sheet, new RgbImage(picture.Width, picture.Height, picture.Pixels));
        console.Note(sheet);
    }

    private static string Caption(string? text) => text is null ? "(no caption)" : StrictText.OneLine(text, MostCaption);
}

/// <summary>Shows the progress of a scan of a data set.</summary>
internal sealed class ScanningLine(ProgressLine line) : IProgress<(int Done, int Total)>
{
    /// <inheritdoc/>
    public void Report((int Done, int Total) value) => line.Update("scanning", $"{value.Done}/{value.Total}", (double)value.Done / Math.Max(1, value.Total));
}

/// <summary>Prints what a data set holds.</summary>
internal static class DataReportText
{
    private const int MostFaults = 20;

    /// <summary>A table and sentences, or one JSON object.</summary>
    public static void Print(DataReport report, bool json, CliConsole console)
    {
        foreach (var warning in report.Warnings.Take(MostFaults))
            console.Warn(warning.ToString());
        if (report.Warnings.Count > MostFaults)
            console.Warn($"and {report.Warnings.Count - MostFaults} more: see --json");
        if (json)
        {
            console.Result(ReadableJson.Write(writer => Write(report, writer), indented: true));
            return;
        }

        console.Result($"{report.Lines} lines, {report.Usable} usable: {report.Videos} videos, {report.Images} images; "
            + $"{report.Captions} with a caption, {report.Latents} with latents, {report.TextFeatures} with text features");
        if (report.Buckets.Count > 0)
        {
            var table = new Table { Border = TableBorder.Simple };
            table.AddColumns("bucket", "items");
            foreach (var (bucket, count) in report.Buckets)
                table.AddRow(new Text(bucket.ToString()), new Text($"{count}"));
            console.Result(table);
        }

        if (report.Seconds is { } seconds)
            console.Result(FormattableString.Invariant($"videos last {seconds.Shortest:0.##} to {seconds.Longest:0.##} s, median {seconds.Median:0.##} s, {Durations.Text(TimeSpan.FromSeconds(seconds.Sum))} in all"));
        if (report.CaptionLengths is { } lengths)
            console.Result($"captions have {lengths.Shortest} to {lengths.Longest} tokens, median {lengths.Median}; {lengths.Cut} are longer than the {lengths.Limit} that are read");
        foreach (var kind in report.Faults.GroupBy(fault => fault.Kind).OrderBy(group => group.Key))
            console.Result($"{kind.Count()} {FaultLog.Name(kind.Key)}");
        foreach (var fault in report.Faults.Take(MostFaults))
            console.Result("- " + fault);
        if (report.Faults.Count > MostFaults)
            console.Result($"- and {report.Faults.Count - MostFaults} more: see --json");
    }

    private static void Write(DataReport report, Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteBoolean("ok", report.Faults.Count == 0);
        foreach (var (name, value) in Counts(report))
            json.WriteNumber(name, value);
        json.WriteStartArray("buckets");
        foreach (var (bucket, count) in report.Buckets)
        {
            json.WriteStartObject();
            json.WriteNumber("width", bucket.Width);
            json.WriteNumber("height", bucket.Height);
            json.WriteNumber("frames", bucket.Frames);
            json.WriteNumber("items", count);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        if (report.Seconds is { } seconds)
        {
            Numbers(json, "seconds", ("shortest", seconds.Shortest), ("median", seconds.Median), ("longest", seconds.Longest), ("sum", seconds.Sum));
        }

        if (report.CaptionLengths is { } lengths)
        {
            Numbers(json, "caption_tokens", ("shortest", lengths.Shortest), ("median", lengths.Median), ("longest", lengths.Longest), ("limit", lengths.Limit), ("cut", lengths.Cut));
        }

        Faults(json, "faults", report.Faults);
        Faults(json, "warnings", report.Warnings);
        json.WriteEndObject();
    }

    private static void Faults(Utf8JsonWriter json, string name, IReadOnlyList<DataFault> faults)
    {
        json.WriteStartArray(name);
        foreach (var fault in faults)
        {
            json.WriteStartObject();
            json.WriteString("file", fault.File);
            json.WriteNumber("line", fault.Line);
            json.WriteString("kind", JsonNamingPolicy.SnakeCaseLower.ConvertName(fault.Kind.ToString()));
            json.WriteString("reason", fault.Reason);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static IEnumerable<(string Name, int Value)> Counts(DataReport report) =>
        [("lines", report.Lines), ("usable", report.Usable), ("videos", report.Videos), ("images", report.Images), ("captions", report.Captions),
            ("latents", report.Latents), ("text_features", report.TextFeatures)];

    private static void Numbers(Utf8JsonWriter json, string name, params ReadOnlySpan<(string Name, double Value)> values)
    {
        json.WriteStartObject(name);
        foreach (var (key, value) in values)
            json.WriteNumber(key, value);
        json.WriteEndObject();
    }
}
