using PyramidFlow.Models;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Loop;

/// <summary>The weights of a run with the least loss of held-out items.</summary>
/// <param name="Step">Number of completed steps.</param>
/// <param name="Loss">Their loss.</param>
/// <param name="Of">What it was measured on: <see cref="HeldOutItems.Identity"/>.</param>
internal sealed record BestWeights(long Step, double Loss, string Of);

/// <summary>The folder <c>best</c> of a run: what the run published at the step with the least loss of held-out items, and <c>run.json</c> with step and loss. Pruning leaves it alone.</summary>
/// <param name="run">Folder of the run.</param>
internal sealed class BestFolder(RunFolder run)
{
    /// <summary>Name of the folder in that of the run.</summary>
    public const string Name = "best";

    private const string StepKey = "step", LossKey = HeldOutLoss.Name, OfKey = "held_out";

    private readonly string file = run.File(System.IO.Path.Combine(Name, RunStart.FileName));

    /// <summary>Path of the folder.</summary>
    public string Path => run.File(Name);

    /// <summary>Whether it holds the newest weights of the run too.</summary>
    public bool IsNewest => Read() is { } best && run.LatestStep == best.Step;

    /// <summary>Finds the folder of a run; null where it has none.</summary>
    /// <param name="folder">Folder of the run, or of all runs of a sprites model.</param>
    /// <param name="part">Kind of the run: <c>dit</c> or <c>lora</c>.</param>
    public static BestFolder? Find(string folder, string part) => ((string[])[folder, System.IO.Path.Combine(folder, part)])
        .Where(run => File.Exists(System.IO.Path.Combine(run, Name, RunStart.FileName)))
        .Select(run => new BestFolder(new RunFolder(run))).FirstOrDefault(found => found.Read() is not null);

    /// <summary>The run whose folder of best weights this is; null where it is another folder.</summary>
    public static string? RunOf(string folder)
    {
        var full = System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(folder));
        return System.IO.Path.GetFileName(full) == Name && RunParts.IsRun(full) && RunParts.IsRun(System.IO.Path.GetDirectoryName(full)!) ? System.IO.Path.GetDirectoryName(full) : null;
    }

    /// <summary>What the folder holds; null where it holds nothing whole.</summary>
    public BestWeights? Read()
    {
        if (!File.Exists(file))
            return null;
        var facts = TrainingConfigFile.Facts(file).ToDictionary(fact => fact.Name, fact => fact.Value);
        return PlainNumber.TryWhole(facts.GetValueOrDefault(StepKey, ""), out var step) && PlainNumber.TryReal(facts.GetValueOrDefault(LossKey, ""), out var loss)
            && facts.TryGetValue(OfKey, out var of) && of is ['"', .., '"'] ? new BestWeights(step, loss, of[1..^1]) : null;
    }

    /// <summary>Replaces the weights. Each file is replaced when the new one is complete.</summary>
    /// <param name="training">Publishes the weights.</param>
    /// <param name="weights">What it publishes.</param>
    public void Write(ITraining training, BestWeights weights)
    {
        // The record comes last: after an interruption in between it does not fit that of the state, and the folder is written again.
        training.PublishBest(new RunFolder(Path));
        var partial = $"{file}.partial-{Environment.ProcessId}";
        File.WriteAllText(partial, ReadableJson.Write(json =>
        {
            json.WriteStartObject();
            json.WriteNumber(StepKey, weights.Step);
            json.WriteNumber(LossKey, weights.Loss);
            json.WriteString(OfKey, weights.Of);
            json.WriteEndObject();
        }, indented: true));
        File.Move(partial, file, overwrite: true);
    }
}
