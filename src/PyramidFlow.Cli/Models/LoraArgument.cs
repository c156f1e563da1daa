using System.Security.Cryptography;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Lora;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Models;

/// <summary>A LoRA as typed: <c>FILE</c> or <c>FILE:WEIGHT</c>; the file may be the folder of an adapter.</summary>
internal sealed class LoraArgument(string path, double weight)
{
    private readonly Lazy<string> sha256 = new(() => Hash(path));

    /// <summary>Its file or folder.</summary>
    public string Path { get; } = path.Length > 1 ? System.IO.Path.TrimEndingDirectorySeparator(path) : path;

    /// <summary>How much it counts; 1 as trained.</summary>
    public double Weight => weight;

    /// <summary>The hash by which the file is known again; read once.</summary>
    public string Sha256 => sha256.Value;

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

    // Settings beside the matrices change what they do.
    private static string Hash(string path)
    {
        var place = LoraPlace.Of(path);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var part in (string?[])[place.File, place.Config])
        {
            if (part is null)
                continue;
            using var file = File.OpenRead(part);
            var buffer = new byte[1 << 16];
            for (var count = file.Read(buffer); count > 0; count = file.Read(buffer))
                hash.AppendData(buffer.AsSpan(0, count));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
