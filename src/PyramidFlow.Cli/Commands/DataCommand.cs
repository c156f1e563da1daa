using System.CommandLine;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Media;
using PyramidFlow.Sprites;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>data</c>: what there is to train on; <c>data sprites</c> draws a contact sheet of the training world.</summary>
internal static class DataCommand
{
    private const int DefaultCount = 12, MostClips = 1000;

    public static Command Create(CliConsole console) => new ExampledCommand("data", "Looks at training data.",
        $"{About.Name} data check data.jsonl -o sheet.png", $"{About.Name} data sprites --count 12 --seed 1 -o sheet.png")
    {
        DataCheckCommand.Create(console), Sprites(console),
    };

    private static ExampledCommand Sprites(CliConsole console)
    {
        var count = CliOptions.Whole("--count", "N", $"clips, one in each row [default: {DefaultCount}]", 1);
        var seed = CliOptions.Seed("--seed", "which data set [default: 1]");
        var frames = CliOptions.Whole("--frames", "N", "length of the clips [default: 33]", 1);
        var output = CliOptions.Text("--output", "FILE", "picture to write [default: sheet.png]", "-o");
        var command = new ExampledCommand("sprites", "Draws clips of the sprites world and prints their captions.",
            $"{About.Name} data sprites --count 12 --seed 1 -o sheet.png") { count, seed, frames, output };
        command.SetAction((parsed, cancellationToken) =>
        {
            Draw(parsed.GetValue(count) ?? DefaultCount, (long)(parsed.GetValue(seed) ?? 1), parsed.GetValue(frames) ?? 33,
                parsed.GetValue(output) ?? "sheet.png", console, cancellationToken);
            return Task.FromResult(ExitCode.Ok);
        });
        return command;
    }

    private static void Draw(int count, long seed, int frames, string output, CliConsole console, CancellationToken cancellationToken)
    {
        OutputFile.Check(output, ".png");
        if (count > MostClips)
            throw CommandFault.TooManyClips(count, MostClips);
        var clips = new List<byte[]>();
        for (var i = 0; i < count; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var scene = SpriteWorld.Scene(seed, i);
            clips.Add(SpriteRenderer.Render(scene, frames));
            console.Note($"{i + 1,4}  {SpriteCaptions.Canonical(scene.Attributes)}");
        }

        var sheet = ContactSheet.Compose(clips, SpriteWorld.Width, SpriteWorld.Height);
        PngWriter.Write(output, new RgbImage(sheet.Width, sheet.Height, sheet.Pixels));
        console.Result(output);
    }
}
