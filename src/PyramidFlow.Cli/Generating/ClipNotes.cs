using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Hub;
using PyramidFlow.Media;
using PyramidFlow.Models;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Generating;

/// <summary>Converts between clips of the command line and the notes in their files.</summary>
internal static class ClipNotes
{
    /// <summary>The notes of a clip.</summary>
    /// <param name="requested">The clip.</param>
    /// <param name="folder">The checkpoint.</param>
    /// <param name="model">The model as typed.</param>
    /// <param name="options">How the clip is made, its tiles among them.</param>
    public static GenerationNotes Of(RequestedClip requested, CheckpointFolder folder, ModelArguments model, PipelineOptions options)
    {
        var clip = requested.Clip;
        var loras = (model.Loras ?? []).Select(lora => new NotedLora(Path.GetFileName(lora.Path), lora.Weight, lora.Sha256)).ToList();
        var notes = GenerationNotes.Of(Path.GetFileName(folder.Root), model.Variant ?? folder.Variants[0], requested.Settings.Options, options, loras);
        return notes with
        {
            Transformer = model.Transformer is { } run ? NotedRun.Of(run, folder.Transformer(model.Variant)) : null,
            Vae = model.Vae is { } vaeRun ? NotedRun.Of(vaeRun, folder.Vae) : null,
            Image = Path.GetFileName(clip.ImageFile),
            ImageSha256 = clip.ImageFile is { } image ? GenerationNotes.Sha256(image) : null,
            Video = Path.GetFileName(clip.VideoFile),
            Latents = Path.GetFileName(clip.LatentsFile),
        };
    }

    /// <summary>The notes in a file, or null when there are none of ours.</summary>
    /// <exception cref="UsageException">They are ours, but damaged.</exception>
    public static async Task<GenerationNotes?> ReadAsync(string path, CancellationToken cancellationToken)
    {
        try
        {
            return GenerationNotes.Read(await MediaMetadata.ReadAsync(path, cancellationToken).ConfigureAwait(false));
        }
        catch (MalformedTextException e)
        {
            throw CommandFault.NotesDamaged(path, e);
        }
    }

    /// <summary>The arguments that make the same clip again. Pictures and latents are named without a folder.</summary>
    public static ClipArguments ToClip(this GenerationNotes notes) => SettingsTable.Over(new ClipArguments(), notes.Options) with
    {
        // A path in a file must not lead outside the searched folders.
        ImageFile = Path.GetFileName(notes.Image),
        LatentsFile = Path.GetFileName(notes.Latents),
    };
}

/// <summary>A file that is to be made again (<c>--like</c>) or continued (<c>extend</c>).</summary>
internal static class LikeFile
{
    /// <summary>The typed arguments, completed by the notes of the file.</summary>
    /// <exception cref="UsageException">The file is missing or says nothing, or its picture or model is not here.</exception>
    public static async Task<GenerateArguments> ApplyAsync(GenerateArguments arguments, CliConsole console, CancellationToken cancellationToken)
    {
        var path = arguments.Like!;
        OutputFile.CheckInput(path, $"--like takes a file that {About.Name} made");
        var notes = await ClipNotes.ReadAsync(path, cancellationToken).ConfigureAwait(false)
            ?? throw CommandFault.NotesMissing(path);
        if (notes.Video is { } video && arguments.Clip.VideoFile is null)
            throw CommandFault.LikeOfExtended(path, video, Beside(path, video) ?? video);
        var clip = notes.ToClip();
        // Another model may have another frame rate.
        if (arguments.Model.Name is { } other && NameOf(other) != notes.Model)
            clip = clip with { FramesPerSecond = null };
        if (arguments.Clip.IsConditioned)
            clip = clip with { ImageFile = null, LatentsFile = null };
        if (clip.LatentsFile is { } latents)
            clip = clip with { LatentsFile = Beside(path, latents) ?? throw CommandFault.NotedLatentsMissing(path, latents) };
        if (clip.ImageFile is { } image)
            clip = clip with { ImageFile = Picture(image, path, notes, console) };
        if (notes.Video is null && arguments.Clip.IsContinuation && clip.LatentsFile is null)
            clip = clip with { Frames = null };
        return arguments with
        {
            Clip = arguments.Clip.Over(clip),
            Model = Weights(arguments.Model, notes, path, console) with
            {
                Type = arguments.Model.Type ?? (NumberTypes.Parse(notes.Dtype) is null ? null : notes.Dtype),
                Threads = Threads(path, notes, arguments.Model, console),
                Tile = arguments.Model.Tile ?? notes.Tile,
                TileOverlap = arguments.Model.TileOverlap ?? notes.TileOverlap,
            },
        };
    }

    /// <summary>
    /// The typed arguments of a continuation, completed by the notes of its video: model, LoRAs, the last prompt and what the sampler does, but not its length, its seed and what it began with.
    /// A video without notes, or made with another model than the typed one, gives its last prompt only.
    /// </summary>
    /// <exception cref="UsageException">The video's model or a LoRA is not here.</exception>
    public static async Task<GenerateArguments> ContinueAsync(GenerateArguments arguments, CliConsole console, CancellationToken cancellationToken)
    {
        var path = arguments.Clip.VideoFile!;
        if (await ClipNotes.ReadAsync(path, cancellationToken).ConfigureAwait(false) is not { } notes)
            return arguments;
        var prompt = new ClipArguments { Prompt = notes.LastPrompt };
        if (arguments.Model.Name is { } typed && NameOf(typed) != notes.Model)
            return arguments with { Clip = arguments.Clip.Over(prompt) };
        var clip = SettingsTable.Over(prompt, notes.Options with { Frames = null, Seconds = null, Seed = null, Schedule = [] });
        return arguments with { Clip = arguments.Clip.Over(clip), Model = Weights(arguments.Model, notes, path, console) };
    }

    // The weights that a file was made with, where others are not typed.
    private static ModelArguments Weights(ModelArguments model, GenerationNotes notes, string path, CliConsole console) => model with
    {
        Name = model.Name ?? Model(notes, path),
        Variant = model.Variant ?? (model.Name is null ? notes.Variant : null),
        Transformer = model.Transformer ?? Run(path, notes.Transformer, CheckpointNames.Transformer, "--transformer", console),
        Vae = model.Vae ?? Run(path, notes.Vae, CheckpointNames.Vae, "--vae", console),
        Loras = model.Loras ?? Loras(path, notes, console),
    };

    // The number of threads changes the last bits of a video.
    private static int? Threads(string path, GenerationNotes notes, ModelArguments model, CliConsole console)
    {
        var (cores, here, there) = (Environment.ProcessorCount, model.Device ?? "cpu", notes.Device ?? "cpu");
        if (here.Split(':')[0] != there.Split(':')[0])
            console.Warn($"{path} was made with --device {there}, so the result may differ");
        if (notes.Threads is not >= 1 || notes.Threads == model.Threads)
            return model.Threads;
        if (model.Threads is null && notes.Threads <= cores)
            return notes.Threads;
        var used = model.Threads ?? cores;
        console.Warn($"{path} was made with {notes.Threads} {(notes.Threads == 1 ? "thread" : "threads")} and is made with {used} now, so the result may differ a little{(model.Threads is null ? $": --threads {notes.Threads} makes the same, slowly" : "")}");
        return used;
    }

    private static string NameOf(string folder) => Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)));

    private static string Model(GenerationNotes notes, string path) => ModelCatalog.Installed().Any(model => model.Name == notes.Model)
        ? notes.Model
        : throw CommandFault.NotedModelMissing(path, notes.Model, ModelCatalog.Variable);

    // The folder of a noted run.
    private static string? Run(string path, NotedRun? noted, string component, string option, CliConsole console)
    {
        if (noted is null)
            return null;
        // A path in a file must not lead outside the searched folders.
        var name = Path.GetFileName(noted.Run);
        var run = Beside(path, name, Directory.Exists) ?? throw CommandFault.NotedRunMissing(path, name, component, option);
        if (FolderDigest.Of(RunParts.Find(run, component).Folder) != noted.Digest)
            console.Warn($"{run} has other weights now than {path} was made with, so the result will differ");
        return run;
    }

    private static List<LoraArgument>? Loras(string path, GenerationNotes notes, CliConsole console)
    {
        if (notes.Loras is not { Count: > 0 } noted)
            return null;
        var found = new List<LoraArgument>();
        foreach (var (file, weight, sha256) in noted)
        {
            // A path in a file must not lead outside the searched folders.
            var name = Path.GetFileName(file);
            var lora = new LoraArgument(Beside(path, name, Path.Exists)
                ?? throw CommandFault.NotedLoraMissing(path, name), weight);
            if (lora.Sha256 != sha256)
                console.Warn($"{lora.Path} is another LoRA than the one {path} was made with, so the result will differ");
            found.Add(lora);
        }

        return found;
    }

    private static string? Beside(string path, string name, Func<string, bool>? isThere = null) =>
        new[] { name, Path.Combine(Path.GetDirectoryName(path) ?? "", name) }.FirstOrDefault(isThere ?? File.Exists);

    // The notes keep only the file name: a path would reveal details of the machine.
    private static string Picture(string name, string path, GenerationNotes notes, CliConsole console)
    {
        var found = Beside(path, name)
            ?? throw CommandFault.NotedPictureMissing(path, name);
        if (GenerationNotes.Sha256(found) != notes.ImageSha256)
            console.Warn($"{found} is another picture than the one {path} was made from, so the result will differ");
        return found;
    }
}
