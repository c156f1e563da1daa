using System.Security.Cryptography;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Hub;
using PyramidFlow.Pipelines;
using PyramidFlow.Schedulers;

namespace PyramidFlow.Cli.Generating;

/// <summary>A prompt that takes over from a second on.</summary>
internal sealed record TimedPrompt(double From, string Prompt);

/// <summary>A LoRA the model had: the name of its file, how much it counts, and the hash by which it is known again.</summary>
internal sealed record NotedLora(string File, double Weight, string? Sha256);

/// <summary>How a file was made, kept in it as JSON under <c>comment</c>; its keys are those of <see cref="ClipJson"/>.</summary>
internal sealed record GenerationNotes(
    string Program, string Prompt, string? NegativePrompt, string? PromptSuffix, ulong Seed, string Model, string Variant,
    int? Width, int? Height, int? Frames, double Fps, IReadOnlyList<int>? Steps, IReadOnlyList<int>? VideoSteps,
    double? Guidance, double? VideoGuidance, IReadOnlyList<double>? LinearGuidance, int? FramesPerUnit, string? Image,
    string? ImageSha256, bool? SampleImage, IReadOnlyList<TimedPrompt>? Prompts, string? Video, string? Latents, bool? NewOnly, int? History,
    int? ReusePrefix, int? GuidanceEvery, FlowSolver? Solver, int? Tile, double? TileOverlap, string Dtype, string? Device, IReadOnlyList<NotedLora>? Loras)
{
    /// <summary>The key in a file's metadata.</summary>
    public const string Key = "comment";

    private static readonly GenerationNotesJson Readable = new(new JsonSerializerOptions(GenerationNotesJson.Default.Options)
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    });

    /// <summary>The prompt that held at the end.</summary>
    [JsonIgnore]
    public string LastPrompt => Prompts is [.., var last] ? last.Prompt : Prompt;

    /// <summary>The notes of a plan.</summary>
    public static GenerationNotes Of(GenerationPlan plan, CheckpointFolder folder, ModelArguments model)
    {
        var request = plan.Request;
        var image = plan.Clip.Image;
        return new GenerationNotes($"{CommandLine.Name} {ShowVersion.Version}", request.Prompt, request.NegativePrompt,
            request.PromptSuffix, request.Seed, Path.GetFileName(folder.Root),
            model.Variant ?? folder.Variants[0], request.Width, request.Height, request.Frames, plan.FramesPerSecond, request.Steps,
            request.VideoSteps, request.Guidance, request.VideoGuidance,
            request.LinearGuidance is { } linear ? [linear.Alpha, linear.Minimum] : null,
            request.FramesPerUnit == 1 ? null : request.FramesPerUnit, Path.GetFileName(image), image is null ? null : Sha256(image),
            request.SampleImage ? true : null, plan.Clip.Later?.Select(later => new TimedPrompt(later.FromSeconds, later.Prompt)).ToList(),
            Path.GetFileName(plan.Clip.Video), Path.GetFileName(plan.Clip.Latents), plan.Clip.NewOnly, request.HistoryWindow,
            Unusual(request.Approximations.ReusePrefix, 1), Unusual(request.Approximations.GuidanceEvery, 1), Unusual(request.Approximations.Solver, FlowSolver.Euler),
            model.Tile, model.TileOverlap, model.UsedType, model.Device,
            model.Loras is { Count: > 0 } loras ? [.. loras.Select(lora => new NotedLora(Path.GetFileName(lora.Path), lora.Weight, lora.Sha256))] : null);
    }

    /// <summary>The notes as metadata of a file.</summary>
    public IReadOnlyDictionary<string, string> Metadata() =>
        new Dictionary<string, string> { [Key] = JsonSerializer.Serialize(this, Readable.GenerationNotes) };

    /// <summary>The notes in a file's metadata, or null when there are none of ours.</summary>
    public static GenerationNotes? Read(IReadOnlyDictionary<string, string> metadata)
    {
        try
        {
            var notes = metadata.TryGetValue(Key, out var text) ? JsonSerializer.Deserialize(text, Readable.GenerationNotes) : null;
            return notes is { Program: not null, Prompt: not null, Model: not null, Variant: not null } ? notes : null;
        }
        catch (JsonException)
        {
            // Somebody else's comment.
            return null;
        }
    }

    /// <summary>What would have to be asked for to make the same again; the picture is the file of that name.</summary>
    public ClipArguments Clip() => new()
    {
        Prompt = Prompt,
        Later = Prompts is { Count: > 0 } ? [.. Prompts.Select(prompt => new PromptChange(prompt.From, prompt.Prompt))] : null,
        // Nothing a file says leads out of the folders that are looked in.
        Image = Path.GetFileName(Image),
        Latents = Path.GetFileName(Latents),
        NewOnly = NewOnly,
        History = History,
        Frames = Frames,
        Size = Width is { } width && Height is { } height ? new FrameSize(width, height) : null,
        Steps = Steps,
        VideoSteps = VideoSteps,
        Guidance = Guidance,
        VideoGuidance = VideoGuidance,
        LinearGuidance = LinearGuidance is [var alpha, var minimum] ? (alpha, minimum) : null,
        FramesPerUnit = FramesPerUnit,
        ReusePrefix = ReusePrefix,
        GuidanceEvery = GuidanceEvery,
        Solver = Solver,
        SampleImage = SampleImage,
        Negative = NegativePrompt,
        Suffix = PromptSuffix,
        Seed = Seed,
    };

    /// <summary>Whether a file with these notes is what others ask for; what was left to chance or to the machine does not count.</summary>
    /// <param name="asked">Notes of what is to be made.</param>
    /// <param name="seed">Whether a seed was asked for.</param>
    /// <param name="type">Whether a number type was asked for.</param>
    /// <param name="tile">Whether the tiles were asked for, rather than left to a memory budget.</param>
    public bool Fits(GenerationNotes asked, bool seed, bool type, bool tile)
    {
        return Comparable(this) == Comparable(asked);

        string Comparable(GenerationNotes notes) => JsonSerializer.Serialize(notes with
        {
            Program = "",
            Device = null,
            Seed = seed ? notes.Seed : 0,
            Dtype = type ? notes.Dtype : "",
            Tile = tile ? notes.Tile : null,
        }, Readable.GenerationNotes);
    }

    /// <summary>The hash by which a picture is known again, or null when it is not there.</summary>
    public static string? Sha256(string path)
    {
        if (!File.Exists(path))
            return null;
        using var file = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(file));
    }

    // What is as usual is not noted.
    private static T? Unusual<T>(T value, T usual)
        where T : struct => value.Equals(usual) ? null : value;
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(GenerationNotes))]
internal sealed partial class GenerationNotesJson : JsonSerializerContext;
