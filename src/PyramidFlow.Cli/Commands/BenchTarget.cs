using System.CommandLine;
using PyramidFlow.Benchmarks;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Generation;
using PyramidFlow.Models;

namespace PyramidFlow.Cli.Commands;

/// <summary>Options of a <c>bench</c> command that say which models are measured at which size.</summary>
internal sealed class BenchTarget
{
    private readonly BenchParts parts;
    private readonly Option<FrameSize?> size;
    private readonly Option<string?> family = BenchCommand.FamilyOption();
    private readonly Option<int?> unit = CliOptions.Whole("--unit", "N", "which unit of the video the transformer makes, from 0 [default: 1, 8 and 16]", 0);
    private readonly Option<int?> blocks;
    private readonly Option<int?> frames = CliOptions.Whole("--frames", "N", "length of the videos: 1, 9, 17, ... [default: 1, 9 and 17]", 1);
    private readonly Option<int?> tile = CliOptions.Whole("--tile", "PIXELS", "decode 9 frames tile by tile with tiles of this side, such as 256", 64);

    internal BenchTarget(BenchParts parts)
    {
        this.parts = parts;
        size = CliOptions.Size("--size", parts.HasFlag(BenchParts.Dit) ? "size of the video the transformer makes [default: 640x384]"
            : parts == BenchParts.Train ? "size of the clips, multiples of 128 [default: 256x256]" : "size of the frames [default: 256x256]");
        var all = parts.HasFlag(BenchParts.Text) ? " [default: all, of T5 as many as memory has room for]" : "";
        blocks = CliOptions.Whole("--blocks", "N", $"only so many of the 24 blocks of {(parts == BenchParts.Text ? "T5" : parts == BenchParts.All ? "transformer and T5" : "the transformer")}, for a quick look{all}", 1);
    }

    internal void AddTo(Command command)
    {
        foreach (var (belongs, option) in ((bool, Option)[])
            [(parts != BenchParts.Text, size), (Has(BenchParts.Dit | BenchParts.Text), family), (Has(BenchParts.Dit), unit), (Has(BenchParts.Dit | BenchParts.Text), blocks),
                (parts == BenchParts.Vae, frames), (parts == BenchParts.Vae, tile)])
        {
            if (belongs)
                command.Add(option);
        }
    }

    /// <summary>What to measure.</summary>
    /// <exception cref="ArgumentException">A model has fewer blocks, or a length is impossible.</exception>
    internal BenchmarkOptions Read(ParseResult parsed)
    {
        var options = new BenchmarkOptions
        {
            Vae = Has(BenchParts.Vae) ? CausalVideoVaeConfig.Released : null,
            Transformer = Has(BenchParts.Dit) ? ReleasedModels.Transformer(BenchCommand.FamilyOf(Given(family)), Given(blocks)) : null,
            Text = Has(BenchParts.Text) ? ReleasedModels.Text(BenchCommand.FamilyOf(Given(family)), Given(blocks)) : null,
            Training = Has(BenchParts.Train) ? TrainingToMeasure.HundredMillion : null,
        };
        if (Given(size) is { } pixels)
        {
            var given = (pixels.Width, pixels.Height);
            options = Has(BenchParts.Dit) ? options with { Size = given } : Has(BenchParts.Vae) ? options with { VaeSize = given } : options with { TrainingSize = given };
        }

        if (Given(unit) is { } number)
            options = options with { Units = [number] };
        if (Given(frames) is { } length)
            options = options with { VaeLatentFrames = [LatentFrames(length)] };
        return Given(tile) is { } side ? options with { VaeTiles = new TileOptions(side) } : options;

        T? Given<T>(Option<T?> option) => parsed.GetValue(option);
    }

    private static int LatentFrames(int frames)
    {
        var scale = CausalVideoVaeConfig.Released.TemporalScale;
        return (frames - 1) % scale == 0
            ? 1 + ((frames - 1) / scale)
            : throw new ArgumentException($"{frames} frames are not 1 more than a multiple of {scale}: use {frames - ((frames - 1) % scale)}");
    }

    private bool Has(BenchParts any) => (parts & any) != 0;
}
