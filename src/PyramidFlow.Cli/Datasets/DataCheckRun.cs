using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Models;
using PyramidFlow.Media;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Cli.Datasets;

/// <summary>One run of <c>data check</c>.</summary>
internal sealed class DataCheckRun(CliConsole console)
{
    private const int ReleasedChannels = 16, MostCaption = 100;

    /// <summary>Prints the report and draws the sheet.</summary>
    /// <param name="options">Which items and how they are cut; without sizes they are cut to the model's own.</param>
    /// <param name="model">Checkpoint to go by; null goes by the released VAE and counts no tokens.</param>
    /// <param name="decode">Whether everything is decoded.</param>
    /// <param name="sheet">Picture to write; null is none.</param>
    /// <param name="count">Clips on it.</param>
    /// <param name="json">JSON instead of a table.</param>
    /// <param name="cancel">Stops it.</param>
    public async Task<int> RunAsync(DataOptions options, string? model, bool decode, string? sheet, int count, bool json, CancellationToken cancel)
    {
        foreach (var file in options.Annotations)
            OutputFile.CheckInput(file, "name an annotation file, JSON lines");
        if (sheet is not null)
            OutputFile.Check(sheet, OutputFile.Picture);
        var folder = model is null ? null : CheckpointFolder.Open(ModelNames.Find(model));
        var tokenizer = folder is null ? null : T5Tokenizer.Load(folder.Component(folder.Family.TextComponents[^1].Tokenizer).Folder);
        var channels = folder is null ? ReleasedChannels : (int)CausalVideoVaeConfig.Read(folder.Vae.ConfigFile).EncoderOutChannels;

        options.Sizes ??= [folder is null ? ModelSize.Released : ModelSize.Of(folder)];
        var check = new DataCheck(options, channels);
        var line = new ProgressLine(console);
        var report = await check.RunAsync(tokenizer, decode, new Looking(line), cancel).ConfigureAwait(false);
        line.Dispose();
        DataReportText.Print(report, json, console);
        if (sheet is not null)
            await DrawAsync(check, folder, sheet, count, cancel).ConfigureAwait(false);
        return report.Faults.Count == 0 ? ExitCode.Ok : ExitCode.Failed;
    }

    private async Task DrawAsync(DataCheck check, CheckpointFolder? folder, string sheet, int count, CancellationToken cancel)
    {
        var faults = new FaultLog(fault => console.Warn(fault.ToString()));
        var (clips, width, height) = await check.SamplesAsync(count, folder is null ? null : () => CausalVideoVae.Load(folder.Vae, ElementType.Float32), faults, cancel).ConfigureAwait(false);
        if (clips.Count == 0)
        {
            console.Warn($"{sheet} is not written: no usable item has a video or an image to show{(folder is null ? ", and latents are not decoded without a --model" : "")}");
            return;
        }

        foreach (var (i, (item, _)) in clips.Index())
            console.Note($"{i + 1,4}  line {item.Annotation.Line}: {Caption(item.Annotation.Text)}");
        var picture = ContactSheet.Compose([.. clips.Select(clip => clip.Rgb)], width, height);
        PngWriter.Write(sheet, new RgbImage(picture.Width, picture.Height, picture.Pixels));
        console.Note(sheet);
    }

    private static string Caption(string? text) => text is null ? "(no caption)" : StrictText.OneLine(text, MostCaption);

    private sealed class Looking(ProgressLine line) : IProgress<(int Done, int Total)>
    {
        public void Report((int Done, int Total) value) => line.Update("scanning", $"{value.Done}/{value.Total}", (double)value.Done / Math.Max(1, value.Total));
    }
}
