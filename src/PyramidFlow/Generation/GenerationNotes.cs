using System.Security.Cryptography;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Scheduling.Solvers;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Generation;

/// <summary>A prompt that takes over later, in a file's notes.</summary>
/// <param name="From">Second from which on it holds.</param>
/// <param name="Prompt">The prompt.</param>
public sealed record NotedPrompt(double From, string Prompt);

/// <summary>A LoRA the model had, in a file's notes.</summary>
/// <param name="File">Name of its file, without the folder.</param>
/// <param name="Weight">How much it counted.</param>
/// <param name="Sha256">Hash of <see cref="Models.Lora.LoraPlace.Sha256"/>, by which the LoRA is known again; null where its files could not be read.</param>
public sealed record NotedLora(string File, double Weight, string? Sha256);

/// <summary>
/// How a file was made. Every picture and video of this program keeps it as JSON under <see cref="Key"/>, whether the command line
/// or the service made it. What is null was not used or is as usual. No path is kept, since it would tell of the machine.
/// </summary>
public sealed record GenerationNotes
{
    /// <summary>The key in a file's metadata.</summary>
    public const string Key = "comment";

    private static readonly string[] Marks = ["program", "prompt", "model", "variant"];
    private static readonly string Maker = $"pyramidflow {typeof(GenerationNotes).Assembly.GetName().Version!.ToString(3)}";

    private static readonly GenerationNotesJson Readable = new(new JsonSerializerOptions(GenerationNotesJson.Default.Options)
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    });

    /// <summary>Name and version of the program.</summary>
    public required string Program { get; init; }

    /// <summary>What is seen.</summary>
    public required string Prompt { get; init; }

    /// <summary>What guidance steered away from.</summary>
    public string? NegativePrompt { get; init; }

    /// <summary>Text put after every prompt.</summary>
    public string? PromptSuffix { get; init; }

    /// <summary>Seed of all draws.</summary>
    public ulong Seed { get; init; }

    /// <summary>Name of the checkpoint's folder.</summary>
    public required string Model { get; init; }

    /// <summary>Transformer of the checkpoint; empty where it has no variants.</summary>
    public required string Variant { get; init; }

    /// <summary>Pixels.</summary>
    public int? Width { get; init; }

    /// <summary>Pixels.</summary>
    public int? Height { get; init; }

    /// <summary>Frames; after a given video or latents the new ones.</summary>
    public int? Frames { get; init; }

    /// <summary>Frames per second of the file.</summary>
    public double? Fps { get; init; }

    /// <summary>Steps in each stage for the first unit.</summary>
    public IReadOnlyList<int>? Steps { get; init; }

    /// <summary>The same for the later units.</summary>
    public IReadOnlyList<int>? VideoSteps { get; init; }

    /// <summary>Guidance scale of the first unit.</summary>
    public double? Guidance { get; init; }

    /// <summary>Guidance scale of the later units.</summary>
    public double? VideoGuidance { get; init; }

    /// <summary>Alpha and minimum of linear guidance.</summary>
    public IReadOnlyList<double>? LinearGuidance { get; init; }

    /// <summary>Latent frames of a unit, unless it is 1.</summary>
    public int? FramesPerUnit { get; init; }

    /// <summary>Name of the picture it began with.</summary>
    public string? Image { get; init; }

    /// <summary>Hash of that picture's file.</summary>
    public string? ImageSha256 { get; init; }

    /// <summary>Whether the latents of a given picture were drawn.</summary>
    public bool? SampleImage { get; init; }

    /// <summary>Prompts that took over later.</summary>
    public IReadOnlyList<NotedPrompt>? Prompts { get; init; }

    /// <summary>Name of the video it goes on from.</summary>
    public string? Video { get; init; }

    /// <summary>Name of the latents it goes on from.</summary>
    public string? Latents { get; init; }

    /// <summary>Whether the frames of the given video were left out.</summary>
    public bool? NewOnly { get; init; }

    /// <summary>Latent frames that a unit looked back at.</summary>
    public int? History { get; init; }

    /// <summary>For how many steps text and history were computed once, unless for each.</summary>
    public int? ReusePrefix { get; init; }

    /// <summary>In every how many steps guidance was computed, unless in each.</summary>
    public int? GuidanceEvery { get; init; }

    /// <summary>How the flow was followed, unless by Euler steps.</summary>
    public IFlowSolver? Solver { get; init; }

    /// <summary>Side of the VAE's tiles in pixels.</summary>
    public int? Tile { get; init; }

    /// <summary>Their overlap, unless it is the usual one.</summary>
    public double? TileOverlap { get; init; }

    /// <summary>Number type that was computed in: fp32, bf16 or fp16.</summary>
    public string? Dtype { get; init; }

    /// <summary>Where it was computed; null is the CPU.</summary>
    public string? Device { get; init; }

    /// <summary>Threads of an operator: another number may give other last digits.</summary>
    public int? Threads { get; init; }

    /// <summary>LoRAs that were added to the transformer.</summary>
    public IReadOnlyList<NotedLora>? Loras { get; init; }

    /// <summary>The prompt that held at the end.</summary>
    [JsonIgnore]
    public string LastPrompt => Prompts is [.., var last] ? last.Prompt : Prompt;

    /// <summary>The notes of a clip. Names of what it began with are for the caller to add.</summary>
    /// <param name="model">Name of the checkpoint's folder.</param>
    /// <param name="variant">Transformer of the checkpoint.</param>
    /// <param name="request">What is made, every default filled in.</param>
    /// <param name="framesPerSecond">Playback rate of the file, frames per second.</param>
    /// <param name="options">How the pipeline is loaded; its tiles are those of this clip.</param>
    /// <param name="loras">The LoRAs of <paramref name="options"/> with their hashes.</param>
    public static GenerationNotes Of(
        string model, string variant, GenerationOptions request, double framesPerSecond, PipelineOptions options, IReadOnlyList<NotedLora> loras) => new()
        {
            Program = Maker,
            Prompt = request.Prompt,
            NegativePrompt = request.NegativePrompt,
            PromptSuffix = request.PromptSuffix,
            Seed = request.Seed,
            Model = model,
            Variant = variant,
            Width = request.Width,
            Height = request.Height,
            Frames = request.Frames,
            Fps = framesPerSecond,
            Steps = request.Steps,
            VideoSteps = request.VideoSteps,
            Guidance = request.Guidance,
            VideoGuidance = request.VideoGuidance,
            LinearGuidance = request.LinearGuidance is { } linear ? [linear.Alpha, linear.Minimum] : null,
            FramesPerUnit = Unusual(request.FramesPerUnit, 1),
            SampleImage = request.SampleImage ? true : null,
            Prompts = request.Schedule.Count > 0 ? [.. request.Schedule.Select(change => new NotedPrompt(change.FromSeconds, change.Prompt))] : null,
            NewOnly = request.NewFramesOnly ? true : null,
            History = request.HistoryWindow,
            ReusePrefix = Unusual(request.Approximations.ReusePrefix, 1),
            GuidanceEvery = Unusual(request.Approximations.GuidanceEvery, 1),
            Solver = request.Approximations.Solver == FlowSolvers.Euler ? null : request.Approximations.Solver,
            Tile = options.Tiles?.Size,
            TileOverlap = options.Tiles is { } tiles ? Unusual(tiles.Overlap, new TileOptions().Overlap) : null,
            Dtype = TypeName(options.TypeOn(options.Device ?? default)),
            Device = options.Device?.ToString(),
            Threads = options.Threads,
            Loras = loras.Count > 0 ? loras : null,
        };

    /// <summary>The notes as metadata of a file.</summary>
    public IReadOnlyDictionary<string, string> Metadata() =>
        new Dictionary<string, string> { [Key] = JsonSerializer.Serialize(this, Readable.GenerationNotes) };

    /// <summary>The notes in a file's metadata, or null when there are none of ours.</summary>
    /// <param name="metadata">Texts of a file.</param>
    /// <exception cref="MalformedTextException">They are ours, but a value in them is impossible; says which.</exception>
    public static GenerationNotes? Read(IReadOnlyDictionary<string, string> metadata)
    {
        if (!metadata.TryGetValue(Key, out var text))
            return null;
        JsonDocument json;
        try
        {
            json = StrictJson.Parse(text);
        }
        catch (MalformedTextException)
        {
            // Somebody else's comment.
            return null;
        }

        using (json)
        {
            var root = json.RootElement;
            return root.ValueKind == JsonValueKind.Object && Marks.All(mark => root.TryGetProperty(mark, out var value) && value.ValueKind == JsonValueKind.String)
                ? StrictJson.Deserialize(root, Readable.GenerationNotes)
                : null;
        }
    }

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
            Threads = null,
            Seed = seed ? notes.Seed : 0,
            Dtype = type ? notes.Dtype : "",
            Tile = tile ? notes.Tile : null,
        }, Readable.GenerationNotes);
    }

    /// <summary>The hash by which a file is known again, or null when it is not there.</summary>
    /// <param name="path">The file.</param>
    public static string? Sha256(string path)
    {
        if (!File.Exists(path))
            return null;
        using var file = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(file));
    }

    private static string TypeName(ElementType type) => type switch
    {
        ElementType.BFloat16 => "bf16",
        ElementType.Float16 => "fp16",
        _ => "fp32",
    };

    // What is as usual is not noted.
    private static T? Unusual<T>(T value, T usual)
        where T : struct => value.Equals(usual) ? null : value;
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(GenerationNotes))]
internal sealed partial class GenerationNotesJson : JsonSerializerContext;
