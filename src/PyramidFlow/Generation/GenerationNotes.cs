using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;
using PyramidFlow.Models;

namespace PyramidFlow.Generation;

/// <summary>A LoRA the model had, in a file's notes.</summary>
/// <param name="File">Name of its file, without the folder.</param>
/// <param name="Weight">How much it counted.</param>
/// <param name="Sha256">SHA-256 of its weights and config, by which the LoRA is known again; null where its files could not be read.</param>
public sealed record NotedLora(string File, double Weight, string? Sha256);

/// <summary>A model of a training run that took the place of the checkpoint's, in a file's notes.</summary>
/// <param name="Run">Name of the run's folder, without the folders around it.</param>
/// <param name="Digest">Digest of config and weights, by which they are known again: another one after further steps.</param>
public sealed record NotedRun(string Run, string Digest)
{
    /// <summary>The note of a model.</summary>
    /// <param name="run">The run as the user gave it.</param>
    /// <param name="part">Folder of the model in it.</param>
    internal static NotedRun Of(string run, ComponentFolder part) =>
        new(Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(run))), FolderDigest.Of(part.Folder));
}

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

    /// <summary>Name and version of the program.</summary>
    public required string Program { get; init; }

    /// <summary>Name of the checkpoint's folder.</summary>
    public required string Model { get; init; }

    /// <summary>Transformer of the checkpoint; empty where it has no variants.</summary>
    public required string Variant { get; init; }

    /// <summary>The settings it was made with, every default filled in.</summary>
    [JsonIgnore]
    public GenerationOptions Options { get; init; } = new();

    /// <summary>Name of the picture it began with.</summary>
    public string? Image { get; init; }

    /// <summary>Hash of that picture's file.</summary>
    public string? ImageSha256 { get; init; }

    /// <summary>Name of the video it continues.</summary>
    public string? Video { get; init; }

    /// <summary>Name of the latents it continues.</summary>
    public string? Latents { get; init; }

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

    /// <summary>The run whose transformer was used; null is the checkpoint's own.</summary>
    public NotedRun? Transformer { get; init; }

    /// <summary>The run whose VAE was used; null is the checkpoint's own.</summary>
    public NotedRun? Vae { get; init; }

    /// <summary>LoRAs that were added to the transformer.</summary>
    public IReadOnlyList<NotedLora>? Loras { get; init; }

    /// <summary>The prompt that held at the end.</summary>
    [JsonIgnore]
    public string LastPrompt => Options.Schedule is [.., var last] ? last.Prompt : Options.Prompt ?? "";

    /// <summary>The notes of a clip. Names of what it began with are for the caller to add.</summary>
    /// <param name="model">Name of the checkpoint's folder.</param>
    /// <param name="variant">Transformer of the checkpoint.</param>
    /// <param name="settings">What is made, every default filled in.</param>
    /// <param name="options">How the clip is made: the placement of its plan.</param>
    /// <param name="loras">The LoRAs of <paramref name="options"/> with their hashes.</param>
    public static GenerationNotes Of(string model, string variant, GenerationOptions settings, PipelineOptions options, IReadOnlyList<NotedLora> loras) => new()
    {
        Program = Maker,
        Model = model,
        Variant = variant,
        Options = settings,
        Tile = options.Tiles?.Size,
        TileOverlap = options.Tiles is { } tiles && tiles.Overlap != new TileOptions().Overlap ? tiles.Overlap : null,
        Dtype = options.Type is { } type ? TypeName(type) : null,
        Device = options.Device?.ToString(),
        Threads = options.Threads,
        Loras = loras.Count > 0 ? loras : null,
    };

    /// <summary>The notes as metadata of a file.</summary>
    public IReadOnlyDictionary<string, string> Metadata() => new Dictionary<string, string> { [Key] = ToJson() };

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
                ? StrictJson.Deserialize(root, GenerationNotesJson.Default.GenerationNotes) with { Options = ReadOptions(root) }
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

        string Comparable(GenerationNotes notes) => (notes with
        {
            Program = "",
            Device = null,
            Threads = null,
            Options = notes.Options with { Seed = seed ? notes.Options.Seed : null },
            Dtype = type ? notes.Dtype : "",
            Tile = tile ? notes.Tile : null,
        }).ToJson();
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

    private static GenerationOptions ReadOptions(JsonElement json)
    {
        var options = new GenerationOptions();
        foreach (var setting in SettingsTable.All.Where(setting => setting.IsNoted))
        {
            if (!json.TryGetProperty(setting.Name, out var value))
                continue;
            if (value.ValueKind == JsonValueKind.Null)
                throw new MalformedTextException(0, $"{setting.Name} is null: leave it out, or write a value", setting.Name);
            try
            {
                options = setting.Read(options, value);
            }
            catch (FormatException e)
            {
                throw new MalformedTextException(0, $"{setting.Name} cannot be {StrictText.OneLine(value.GetRawText())}: {e.Message}", setting.Name, e);
            }
        }

        return options;
    }

    // The settings, and then what the program and the machine add.
    private string ToJson() => ReadableJson.Write(writer =>
    {
        writer.WriteStartObject();
        SettingsTable.Write(writer, Options, setting => setting.IsNoted ? setting.Name : null);
        foreach (var member in JsonSerializer.SerializeToElement(this, GenerationNotesJson.Default.GenerationNotes).EnumerateObject())
            member.WriteTo(writer);
        writer.WriteEndObject();
    });
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(GenerationNotes))]
internal sealed partial class GenerationNotesJson : JsonSerializerContext;
