using System.Security.Cryptography;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Models.Lora;

/// <summary>Where a LoRA lies: its matrices, and the settings that peft's <c>save_pretrained</c> puts beside them.</summary>
/// <param name="File">File of the matrices.</param>
/// <param name="Config"><c>adapter_config.json</c> in the same folder; null where there is none.</param>
public sealed record LoraPlace(string File, string? Config)
{
    private const string ConfigName = "adapter_config.json";

    // Of peft, of diffusers, and of a training here.
    private static readonly string[] Names = ["adapter_model.safetensors", "pytorch_lora_weights.safetensors", LoraFile.Name, "adapter_model.bin"];

    /// <summary>Finds a LoRA; opens nothing.</summary>
    /// <param name="path">Its file, or the folder that peft or diffusers wrote.</param>
    /// <exception cref="CheckpointException">There is none.</exception>
    public static LoraPlace Of(string path)
    {
        var file = Directory.Exists(path) ? InFolder(path) : path;
        if (!System.IO.File.Exists(file))
            throw new CheckpointException($"{path} does not exist: give the LoRA's safetensors file, or the folder of an adapter");
        var config = Path.Combine(Path.GetDirectoryName(file) ?? "", ConfigName);
        return new LoraPlace(file, System.IO.File.Exists(config) ? config : null);
    }

    /// <summary>
    /// The hash by which a LoRA is known again: SHA-256 in small hexadecimal digits, of the matrices' file and then of the settings, which change what the
    /// matrices do. Each call reads the files anew.
    /// </summary>
    /// <exception cref="IOException">A file is missing or cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">A file must not be read.</exception>
    public string Sha256()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[1 << 16];
        foreach (var part in (string?[])[File, Config])
        {
            if (part is null)
                continue;
            using var file = System.IO.File.OpenRead(part);
            for (var count = file.Read(buffer); count > 0; count = file.Read(buffer))
                hash.AppendData(buffer.AsSpan(0, count));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private static string InFolder(string folder)
    {
        if (Names.Select(name => Path.Combine(folder, name)).FirstOrDefault(System.IO.File.Exists) is { } known)
            return known;
        var files = Directory.GetFiles(folder, "*.safetensors").Order(StringComparer.Ordinal).ToList();
        return files switch
        {
            [var only] => only,
            [] => throw new CheckpointException($"{folder} holds no LoRA: it needs {string.Join(", ", Names)} or another safetensors file"),
            _ => throw new CheckpointException($"{folder} holds several files ({string.Join(", ", files.Take(6).Select(Path.GetFileName))}{(files.Count > 6 ? ", ..." : "")}): name the one to use"),
        };
    }
}
