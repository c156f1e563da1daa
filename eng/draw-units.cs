#!/usr/bin/env dotnet
#:project ../src/PyramidFlow/PyramidFlow.csproj
#:property PublishAot=false
// Draws how units and stages make a video, from previews of the sprites model: PYRAMIDFLOW_NATIVE=$PWD/artifacts/native dotnet run eng/draw-units.cs > units.html
// A browser turns it into a picture: chromium --headless --no-sandbox --hide-scrollbars --window-size=1000,610 --screenshot=units.png units.html
// and ffmpeg makes that small: ffmpeg -i units.png -vf "split[a][b];[a]palettegen=max_colors=255[p];[b][p]paletteuse=dither=none" docs/images/units.png
using System.Text;
using PyramidFlow.Generation;
using PyramidFlow.Media;

const int Shown = 3;
var previews = new Dictionary<(int Unit, int Stage), RgbImage>();
var frames = new List<RgbImage>();

// Many steps, because a preview is made only where it costs less than a tenth of the time.
using (var pipeline = VideoPipeline.Load("models/sprites", new PipelineOptions { PreviewEvery = TimeSpan.Zero, Threads = 1 }))
{
    var request = new GenerationOptions
    {
        Prompt = "a large red star moving right on a teal background", Frames = 17, Seed = 3, Steps = [150, 150, 150], VideoSteps = [150, 150, 150],
    };
    var run = pipeline.GenerateAsync(request, new Watch(report =>
    {
        if (report is { Phase: GenerationPhase.Denoising, Preview: { } picture })
            previews[(report.Unit, report.Stage)] = picture;
    }));
    await foreach (var chunk in run)
    {
        var size = 3 * run.Settings.Width * run.Settings.Height;
        for (var i = 0; i < chunk.Count; i++)
            frames.Add(new RgbImage(run.Settings.Width, run.Settings.Height, chunk.Rgb.Slice(i * size, size).ToArray()));
    }
}

var svg = new StringBuilder();
Text(20, 30, "A unit is denoised in three stages, from low to high resolution. Between stages it is doubled in size and renoised.", 15, "start", "#222");
for (var stage = 0; stage < Shown; stage++)
{
    var y = Row(stage);
    Text(20, y - 6, $"stage {stage + 1}", 15, "start", "#222", bold: true);
    Text(20, y + 13, $"{4 << stage} x {4 << stage} latents", 13, "start", "#555");
}

for (var unit = 0; unit < Shown; unit++)
{
    var x = Column(unit);
    Text(x, 62, $"unit {unit + 1}", 15, "middle", "#222", bold: true);
    Text(x, 80, unit == 0 ? "1 latent frame, 1 frame" : "1 latent frame, 8 frames", 13, "middle", "#555");
    for (var stage = 0; stage < Shown; stage++)
    {
        var side = 32 << stage;
        Picture(previews[(unit, stage)], x, Row(stage), side);
        if (stage + 1 < Shown)
            Arrow(x, Row(stage) + (side / 2) + 3, x, Row(stage + 1) - side - 4, "#b3541e");
    }

    // The history of the last stage: the unit before at the same resolution, the one before that a stage lower.
    if (unit > 0)
        Arrow(Column(unit - 1) + 68, Row(2), x - 68, Row(2), "#2f6db5");
    if (unit > 1)
        Arrow(Column(unit - 2) + 36, Row(1) + 20, x - 68, Row(2) - 40, "#2f6db5");
    Arrow(x, Row(2) + 68, x, 468, "#666");
}

Text(20, 486, "frames", 15, "start", "#222", bold: true);
Text(20, 505, "of the decoder", 13, "start", "#555");
for (var unit = 0; unit < Shown; unit++)
{
    int[] shown = unit == 0 ? [0] : [(8 * unit) - 6, (8 * unit) - 3, 8 * unit];
    foreach (var (i, frame) in shown.Index())
        Picture(frames[frame], Column(unit) + ((i - ((shown.Length - 1) / 2.0)) * 82), 510, 74);
}

Text(20, 584, "blue: finished units condition the next ones, the older at a lower resolution (shown for stage 3)", 13, "start", "#2f6db5");
Text(980, 584, "brown: doubled and renoised", 13, "end", "#b3541e");
Console.WriteLine($"<!DOCTYPE html><meta charset=\"utf-8\"><style>body{{margin:0}}</style><svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1000\" height=\"610\" font-family=\"sans-serif\">"
    + "<defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"context-stroke\"/></marker></defs>"
    + $"<rect width=\"1000\" height=\"610\" fill=\"#fff\"/>{svg}</svg>");

double Column(int unit) => 280 + (unit * 285);

double Row(int stage) => new[] { 118, 208, 350 }[stage];

void Text(double x, double y, string text, int size, string anchor, string colour, bool bold = false) =>
    svg.Append(FormattableString.Invariant($"<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" text-anchor=\"{anchor}\" fill=\"{colour}\"{(bold ? " font-weight=\"bold\"" : "")}>{text}</text>"));

void Arrow(double x, double y, double toX, double toY, string colour) =>
    svg.Append(FormattableString.Invariant($"<path d=\"M{x} {y}L{toX} {toY}\" stroke=\"{colour}\" stroke-width=\"2\" marker-end=\"url(#head)\"/>"));

void Picture(RgbImage image, double x, double y, int side) =>
    svg.Append(FormattableString.Invariant($"<image x=\"{x - (side / 2)}\" y=\"{y - (side / 2)}\" width=\"{side}\" height=\"{side}\" style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{Convert.ToBase64String(PngWriter.Encode(image))}\"/>"));

internal sealed class Watch(Action<GenerationProgress> watch) : IProgress<GenerationProgress>
{
    public void Report(GenerationProgress value) => watch(value);
}
