using System.Globalization;
using PyramidFlow.Media;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Training.Loop;

/// <summary>Folder of a training run: the states by step, and the paths of all other files.</summary>
internal sealed class RunFolder
{
    private const string StatePrefix = "state-", StateEnd = ".safetensors", LockName = "run.lock";

    private readonly string folder;

    /// <summary>Opens the folder, and creates it if it is missing.</summary>
    public RunFolder(string folder)
    {
        this.folder = folder;
        Directory.CreateDirectory(folder);
    }

    /// <summary>Path of the newest state; null before the first one.</summary>
    // state.safetensors is the name that older versions used.
    public string? LatestState => States().LastOrDefault().Path ?? (System.IO.File.Exists(File("state.safetensors")) ? File("state.safetensors") : null);

    /// <summary>Step of the newest state whose name has one; null before the first one.</summary>
    public long? LatestStep => States().Select(state => (long?)state.Step).LastOrDefault();

    /// <summary>Opens a state.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="TrainingException">It is damaged; names the state before it, if there is one.</exception>
    public static SafetensorsFile OpenState(string path)
    {
        try
        {
            return SafetensorsFile.Open(path);
        }
        catch (CheckpointException e)
        {
            var earlier = new RunFolder(Path.GetDirectoryName(Path.GetFullPath(path))!).States().Where(state => Path.GetFileName(state.Path) != Path.GetFileName(path)).Select(state => (long?)state.Step).LastOrDefault();
            throw TrainingFault.StateDamaged(path, earlier, e);
        }
    }

    /// <summary>Path of a file or folder of the run.</summary>
    public string File(string name) => Path.Combine(folder, name);

    /// <summary>Path of the state of a step.</summary>
    public string StateFile(long step) => File(string.Create(CultureInfo.InvariantCulture, $"{StatePrefix}{step:D8}{StateEnd}"));

    /// <summary>Path of the samples of a step; creates their folder.</summary>
    public string SampleFile(long step)
    {
        Directory.CreateDirectory(File("samples"));
        return File(Path.Combine("samples", string.Create(CultureInfo.InvariantCulture, $"step-{step:D8}.png")));
    }

    /// <summary>Locks the folder against other training processes until disposed; deletes incomplete files of a killed process.</summary>
    /// <exception cref="TrainingException">Another process trains in the folder.</exception>
    public IDisposable Hold()
    {
        FileStream held;
        try
        {
            held = new FileStream(File(LockName), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.DeleteOnClose);
        }
        catch (IOException e) when (System.IO.File.Exists(File(LockName)))
        {
            throw TrainingFault.RunInUse(folder, e);
        }

        // Also in the folders of published models, and of those in the folder of the best.
        foreach (var partial in Directory.EnumerateFiles(folder, "*.partial-*", new EnumerationOptions { RecurseSubdirectories = true, MaxRecursionDepth = 2 }))
            System.IO.File.Delete(partial);
        return held;
    }

    /// <summary>Deletes older states.</summary>
    /// <param name="last">Number of newest states to keep.</param>
    /// <param name="every">Also keeps states of steps that are multiples of this; 0 keeps none.</param>
    public void Prune(int last, int every)
    {
        foreach (var (step, path) in States().SkipLast(last))
        {
            if (every == 0 || step % every != 0)
                System.IO.File.Delete(path);
        }
    }

    /// <summary>Copies a file; does nothing where both paths name the same file.</summary>
    /// <param name="from">File to read.</param>
    /// <param name="to">File to write; replaced when the copy is complete, since a pipeline may have the old file mapped.</param>
    internal static void CopyFile(string from, string to)
    {
        if (Path.GetFullPath(from) == Path.GetFullPath(to))
            return;
        using var copy = PartialFile.Create(to);
        using (var source = System.IO.File.OpenRead(from))
            source.CopyTo(copy.Stream);
        copy.Commit();
    }

    // Oldest first.
    private IEnumerable<(long Step, string Path)> States() => Directory.EnumerateFiles(folder, $"{StatePrefix}*{StateEnd}")
        .Select(path => (Number: Path.GetFileName(path)[StatePrefix.Length..^StateEnd.Length], path))
        .Select(state => (Step: long.TryParse(state.Number, NumberStyles.None, CultureInfo.InvariantCulture, out var step) ? step : -1, state.path))
        .Where(state => state.Step >= 0)
        .OrderBy(state => state.Step);
}
