using PyramidFlow.Cli.Parsing;
using PyramidFlow.Models.Lora;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Models;

/// <summary>A LoRA as typed: <c>FILE</c> or <c>FILE:WEIGHT</c>; the file may be the folder of an adapter.</summary>
internal sealed class LoraArgument(string path, double weight)
{
    private string? sha256;

    /// <summary>Its file or folder.</summary>
    public string Path { get; } = path.Length > 1 ? System.IO.Path.TrimEndingDirectorySeparator(path) : path;

    /// <summary>How much it counts; 1 as trained.</summary>
    public double Weight => weight;

    /// <summary>The hash of <see cref="LoraPlace.Sha256"/>; a hash that could be computed is kept.</summary>
    public string Sha256 => sha256 ??= LoraPlace.Find(Path).Sha256();

    /// <summary>How the library takes it.</summary>
    public LoraUse Use => new(Path, Weight);

    /// <summary>Reads what was typed; a colon that is part of a file's name is one.</summary>
    /// <exception cref="FormatException">There is no name, or what follows the last colon is no number.</exception>
    public static LoraArgument Parse(string text)
    {
        var colon = text.LastIndexOf(':');
        if (colon < 0 || File.Exists(text) || Directory.Exists(text))
            return text.Length > 0 ? new LoraArgument(text, 1) : throw Fault();
        return colon > 0 && PlainNumber.TryReal(text[(colon + 1)..], out var weight)
            ? new LoraArgument(text[..colon], weight)
            : throw Fault(Values.Advice(text[(colon + 1)..]));

        static FormatException Fault(string? advice = null) => new(advice ?? "use a file, or a file and how much it counts, such as style.safetensors:0.8");
    }
}
