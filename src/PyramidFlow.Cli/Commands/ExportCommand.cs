using System.CommandLine;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Hub.Conversion;
using PyramidFlow.Models;
using PyramidFlow.Sprites;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>train export</c>.</summary>
internal static class ExportCommand
{
    public static Command Create(CliConsole console)
    {
        var run = new Argument<string>("RUN") { Description = "folder of a run of train dit or train vae, or of all runs of a sprites model" };
        var target = new Argument<string>("DIR") { Description = "model folder to write, in the released layout; new or empty" };
        var model = CliOptions.Text("--model", "DIR|NAME", "model that everything else comes from [default: the one that the run began with]");
        var variant = CliOptions.Text("--variant", "NAME", "transformer of the model that the run's replaces [default: as in the run's configuration, else the first]");
        var type = CliOptions.Choice("--dtype", "number type of the trained weights [default: bf16]", "bf16", "fp32", "fp16");
        var link = CliOptions.Flag("--link", "link what comes from the model instead of copying it: no space on the disk, and the model must stay where it is");
        var best = CliOptions.Flag("--best", "the weights with the least loss of held-out items in place of the newest ones");
        var command = new ExampledCommand("export", "Writes a model folder from a run: its trained weights, and text encoders and everything else of the model that it began with.",
            $"{About.Name} train export runs/mine models/mine", $"{About.Name} train export runs/mine models/mine --model ./pyramid-flow-miniflux --link",
            $"{About.Name} train export runs/sprites models/sprites-mine") { run, target, best, model, variant, type, link };
        command.SetAction((parsed, cancellationToken) =>
        {
            var options = new ExportOptions(NumberTypes.Parse(parsed.GetValue(type) ?? "bf16"), parsed.GetValue(link));
            var (from, to) = (parsed.GetRequiredValue(run), parsed.GetRequiredValue(target));
            using (var line = new WritingLine(console))
                Write(from, to, parsed.GetValue(best), parsed.GetValue(model), parsed.GetValue(variant), options, line, cancellationToken);
            console.Result(to);
            return Task.FromResult(ExitCode.Ok);
        });
        return command;
    }

    private static void Write(string run, string target, bool best, string? model, string? variant, ExportOptions options, WritingLine line, CancellationToken cancellationToken)
    {
        // The folder of the best weights does not hold the configuration.
        if (BestFolder.RunOf(run) is { } around)
            (run, best) = (around, true);
        var part = HoldsTransformer(run) ? "dit" : "vae";
        var kept = best ? BestFolder.Find(run, part) ?? throw CommandFault.BestMissing(run) : null;
        var trained = TrainedRun.Find(run, part);
        if (model is null && trained is { IsOwnData: false } && part == "dit")
        {
            // Text encoders and perhaps the VAE are those of the sprites runs beside it.
            var all = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(run))) == part ? Path.Combine(run, "..") : run;
            SpriteTraining.Export(Path.GetFullPath(all), target, kept is null ? null : Path.Combine(BestFolder.Name, CheckpointNames.Transformer, TrainedTransformer.WeightsName), options, line, cancellationToken);
            return;
        }

        var folder = model is not null ? ModelNames.Find(model) : trained?.Model ?? throw CommandFault.ExportWithoutModel(run);
        var arguments = new ModelArguments
        {
            Name = folder, Variant = variant ?? (model is null || part == "dit" ? Known(folder, trained?.Variant) : null), Transformer = part == "dit" ? kept?.Path ?? run : null, Vae = part == "vae" ? run : null,
        };
        CheckpointExport.Write(arguments.Open(), arguments.Variant, target, options, line, cancellationToken);
    }

    // A model given in place of the run's own may have other variants.
    private static string? Known(string model, string? variant) => variant is not null && CheckpointFolder.Open(model).Variants.Contains(variant) ? variant : null;

    private static bool HoldsTransformer(string run)
    {
        try
        {
            RunParts.Find(run, CheckpointNames.Transformer);
            return true;
        }
        catch (Torch.CheckpointException e) when (e.Code == "run_without_part" && Equals(e.Parameters["kind"], "vae"))
        {
            return false;
        }
    }
}
