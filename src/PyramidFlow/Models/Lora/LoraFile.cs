using System.Security.Cryptography;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Models.Lora;

/// <summary>
/// Reads and writes LoRA files. They are written with the keys of diffusers, <c>transformer.LAYER.lora_A.weight</c> and <c>lora_B</c>; the keys of other
/// trainers are read too (<see cref="LoraKeys"/>).
/// </summary>
internal static class LoraFile
{
    /// <summary>Name of the file that training writes.</summary>
    public const string Name = "lora.safetensors";

    private const string Prefix = "transformer.", Up = ".lora_B.weight";

    /// <summary>Writes a LoRA. The scale is multiplied into its matrices, so that readers that ignore alpha get the same result.</summary>
    /// <param name="path">Target file; replaced atomically.</param>
    /// <param name="weights">Trained weights with the model's keys, such as from <see cref="FlatParameters.Named"/>.</param>
    /// <param name="config">Config of the training.</param>
    public static void Write(string path, IEnumerable<(string Key, Tensor Tensor)> weights, LoraConfig config)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        SafetensorsWriter.Write(path,
            [.. weights.Select(w => (Prefix + w.Key, w.Key.EndsWith(Up, StringComparison.Ordinal) ? w.Tensor * config.Scale : w.Tensor))],
            LoraMetadata.For(config));
    }

    /// <summary>Checks that a LoRA can be merged into a model. Reads all its values; the model needs no weights.</summary>
    /// <param name="model">The model.</param>
    /// <param name="path">Safetensors file, or the folder of an adapter (<see cref="LoraPlace"/>).</param>
    /// <exception cref="CheckpointException">
    /// The file is missing or damaged, is not a LoRA of this model, or has a non-finite value.
    /// </exception>
    public static void Check(Module model, string path)
    {
        var place = LoraPlace.Find(path);
        using var noGrad = NoGrad.Begin();
        using var source = WeightsFile.Open(place.File);
        var metadata = LoraMetadata.Read(place);
        foreach (var pair in Pairs(model, place.File, source))
        {
            using var scope = new TensorScope();
            var (a, b) = (Read(source, pair.Down!), Read(source, pair.Up!));
            Scale(source, pair, metadata, a.Size(0));
            RequireFinite(place.File, (pair.Down!, a), (pair.Up!, b));
        }
    }

    /// <summary>Checks that a LoRA has layers of a model, with their shapes and a scale, and that none of these layers is int8. Reads no matrix of the LoRA or the model.</summary>
    /// <param name="model">The model, with weights or attached to a checkpoint.</param>
    /// <param name="path">Safetensors file, or the folder of an adapter (<see cref="LoraPlace"/>).</param>
    /// <exception cref="CheckpointException">The file is missing or damaged, is not a LoRA of this model, or has a layer that is int8.</exception>
    public static void CheckLayers(Module model, string path)
    {
        var place = LoraPlace.Find(path);
        using var noGrad = NoGrad.Begin();
        using var source = WeightsFile.Open(place.File);
        var metadata = LoraMetadata.Read(place);
        var pairs = Pairs(model, place.File, source);
        RequireUnrounded(model.NamedParameters().ToDictionary(p => p.Key, p => p.Parameter), place.File, pairs);
        foreach (var pair in pairs)
            Scale(source, pair, metadata, source.Describe(pair.Down!).Shape[0]);
    }

    /// <summary>Merges a LoRA into the weights of a model permanently; several LoRAs add up.</summary>
    /// <param name="model">Model with weights.</param>
    /// <param name="path">Safetensors file, or the folder of an adapter (<see cref="LoraPlace"/>).</param>
    /// <param name="weight">Factor of the LoRA, a finite number: 1 as trained; a negative factor subtracts it.</param>
    /// <remarks>
    /// The layers are changed one after another. After an error, earlier layers stay changed and the model must be loaded again. <see cref="Check"/> finds most errors before any weight is changed.
    /// </remarks>
    /// <exception cref="ArgumentException">The factor is not finite; the model is unchanged.</exception>
    /// <exception cref="CheckpointException">As <see cref="Check"/>; or a layer is int8, or the product of a layer is too large.</exception>
    public static void Merge(Module model, string path, double weight = 1) => Merge(model, path, weight, static (target, merged) => target.Value = merged);

    /// <summary>Computes the weights of a model with a LoRA.</summary>
    /// <param name="model">Model with weights.</param>
    /// <param name="path">As for the other overload, like its exceptions.</param>
    /// <param name="weight">Factor of the LoRA.</param>
    /// <param name="put">Takes each weight that the LoRA changes with its new value, which is disposed after the call unless it is released from its scope.</param>
    public static void Merge(Module model, string path, double weight, Action<Parameter, Tensor> put)
    {
        if (!double.IsFinite(weight))
            throw new ArgumentException(FormattableString.Invariant($"a LoRA cannot count {weight} times: use a number such as 0.8"), nameof(weight));
        var place = LoraPlace.Find(path);
        using var noGrad = NoGrad.Begin();
        using var source = WeightsFile.Open(place.File);
        var pairs = Pairs(model, place.File, source);
        var parameters = model.NamedParameters().ToDictionary(p => p.Key, p => p.Parameter);
        var metadata = LoraMetadata.Read(place);
        RequireUnrounded(parameters, place.File, pairs);
        foreach (var pair in pairs)
        {
            using var scope = new TensorScope();
            var (a, b) = (Read(source, pair.Down!), Read(source, pair.Up!));                        // [r, in], [out, r]
            var scale = Scale(source, pair, metadata, a.Size(0));
            var product = b.Matmul(a);                                                               // [out, in]
            // The scale alone must fit a float32 too, also where the product is 0.
            if (!(Math.Max(1, product.Abs().Max().Item()) * Math.Abs(weight * scale) <= float.MaxValue))
            {
                RequireFinite(place.File, (pair.Down!, a), (pair.Up!, b));
                throw CheckpointFault.LoraTooLarge(place.File, pair.Layer, weight * scale);
            }

            var target = parameters[pair.Layer + ".weight"];
            put(target, target.Value.To(ElementType.Float32).Add(product.To(target.Value.Device), weight * scale).To(target.Value.Type));
        }
    }

    private static Tensor Read(StateSource source, string key) => source.Read(key).To(ElementType.Float32);

    private static double Scale(StateSource source, LoraPair pair, LoraMetadata metadata, long rank)
    {
        if (pair.Alpha is not { } key)
            return metadata.Scale(pair.Layer, rank);
        using var scope = new TensorScope();
        var alpha = Read(source, key).Item();
        return double.IsFinite(alpha) ? alpha / rank
            : throw CheckpointFault.LoraAlphaNotFinite(source.Name, key);
    }

    private static void RequireUnrounded(Dictionary<string, Parameter> parameters, string path, List<LoraPair> pairs)
    {
        if (pairs.Find(pair => parameters[pair.Layer + ".weight"].Type == ElementType.Int8) is { } rounded)
            throw CheckpointFault.LoraOnInt8(path, rounded.Layer);
    }

    private static void RequireFinite(string path, params ReadOnlySpan<(string Key, Tensor Numbers)> matrices)
    {
        foreach (var (key, numbers) in matrices)
        {
            if (!numbers.AllFinite())
                throw CheckpointFault.LoraNotFinite(path, key);
        }
    }

    // The matrices of all layers of the file, checked against the model.
    private static List<LoraPair> Pairs(Module model, string path, StateSource source)
    {
        if (Other(source.Keys) is { } other)
            throw CheckpointFault.OtherAdapter(path, other);
        var known = new LoraKeys(model);
        var faults = new List<string>();
        var pairs = known.Pairs(source.Keys, faults);
        if (!pairs.Exists(pair => pair.Down is not null))
            throw CheckpointFault.NoLora(path);
        var parts = pairs.Where(pair => IsText(pair.Layer)).ToList();
        if (parts.Count > 0)
            throw CheckpointFault.LoraOfText(path, parts[0].Layer, parts.Count - 1);
        if (!pairs.Exists(pair => known.Has(pair.Layer)))
            throw CheckpointFault.LoraOfOtherModel(path, pairs[0].Layer, pairs.Count);
        var shapes = model.NamedParameters().ToDictionary(p => p.Key, p => p.Parameter.Shape);
        faults.AddRange(pairs.Select(Fault).OfType<string>());
        return faults.Count == 0 ? pairs : throw CheckpointFault.LoraMisfit(path, faults);

        string? Fault(LoraPair pair)
        {
            if (pair.Down is null)
                return pair.Up is null ? CheckpointFault.NoPair(pair.Alpha!) : CheckpointFault.KeyMissing($"{pair.Layer}.lora_A.weight");
            if (pair.Up is null)
                return CheckpointFault.KeyMissing($"{pair.Layer}.lora_B.weight");
            if (!known.Has(pair.Layer))
                return CheckpointFault.NoLayer(pair.Layer);
            if (pair.Alpha is { } alpha && Count(source.Describe(alpha).Shape) != 1)
                return CheckpointFault.NotOneNumber(alpha, source.Describe(alpha).Shape);
            var (a, b, target) = (source.Describe(pair.Down).Shape, source.Describe(pair.Up).Shape, shapes[pair.Layer + ".weight"]);
            return a is [> 0, _] && b.Length == 2 && a[0] == b[1] && b[0] == target[0] && a[1] == target[1] ? null
                : CheckpointFault.MatricesDiffer(pair.Layer, b, a, target);
        }

        static long Count(long[] shape) => shape.Aggregate(1L, (product, size) => product * size);
    }

    private static string? Other(IEnumerable<string> keys)
    {
        foreach (var key in keys)
        {
            if (key.EndsWith(".dora_scale", StringComparison.Ordinal) || key.Contains(".lora_magnitude_vector", StringComparison.Ordinal))
                return "a DoRA";
            if (key.Contains(".hada_w", StringComparison.Ordinal))
                return "a LoHa";
            if (key.Contains(".lokr_w", StringComparison.Ordinal))
                return "a LoKr";
        }

        return null;
    }

    private static bool IsText(string layer) =>
        layer.StartsWith("text_encoder", StringComparison.Ordinal) || layer.StartsWith("lora_te", StringComparison.Ordinal);
}

/// <summary>Files of a LoRA: its matrices, and the settings that peft's <c>save_pretrained</c> writes beside them.</summary>
/// <param name="File">File of the matrices.</param>
/// <param name="Config"><c>adapter_config.json</c> in the same folder; null if there is none.</param>
internal sealed record LoraPlace(string File, string? Config)
{
    private const string ConfigName = "adapter_config.json";

    // Names of peft, of diffusers, and of training in this project.
    private static readonly string[] Names = ["adapter_model.safetensors", "pytorch_lora_weights.safetensors", LoraFile.Name, "adapter_model.bin"];

    /// <summary>Finds a LoRA; opens no file.</summary>
    /// <param name="path">File, or folder written by peft or diffusers.</param>
    /// <exception cref="CheckpointException">There is no LoRA.</exception>
    public static LoraPlace Find(string path)
    {
        var file = Directory.Exists(path) ? InFolder(path) : path;
        if (!System.IO.File.Exists(file))
            throw CheckpointFault.LoraMissing(path);
        var config = Path.Combine(Path.GetDirectoryName(file) ?? "", ConfigName);
        return new LoraPlace(file, System.IO.File.Exists(config) ? config : null);
    }

    /// <summary>
    /// Hash that identifies a LoRA: SHA-256 of the file of matrices followed by the settings, which change their effect, in lower-case hexadecimal. Each
    /// call reads the files.
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

    /// <summary>Digest of the same files by places in them (<see cref="FolderDigest"/>), which takes milliseconds for any size.</summary>
    /// <exception cref="IOException">A file is missing or cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">A file must not be read.</exception>
    public string Digest() => FolderDigest.OfFiles(Config is null ? [File] : [File, Config]);

    /// <summary>The digest with the times of the files: the digest reads places of the files and may miss a changed byte, the times do not.</summary>
    /// <exception cref="IOException">A file is missing or cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">A file must not be read.</exception>
    public string State() => FormattableString.Invariant(
        $"{Digest()} {System.IO.File.GetLastWriteTimeUtc(File).Ticks} {(Config is null ? 0 : System.IO.File.GetLastWriteTimeUtc(Config).Ticks)}");

    private static string InFolder(string folder)
    {
        // The folder of all runs of a sprites model has that of its LoRA inside.
        if (Names.Append(Path.Combine("lora", LoraFile.Name)).Select(name => Path.Combine(folder, name)).FirstOrDefault(System.IO.File.Exists) is { } known)
            return known;
        var files = Directory.GetFiles(folder, "*.safetensors").Order(StringComparer.Ordinal).ToList();
        return files switch
        {
            [var only] => only,
            [] => throw CheckpointFault.NoLoraFile(folder, Names),
            _ => throw CheckpointFault.SeveralLoraFiles(folder, [.. files.Select(file => Path.GetFileName(file)!)]),
        };
    }
}
