using PyramidFlow.Hub.Downloads;
using PyramidFlow.Models.Lora;
using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Tests.Checkpoints;

namespace PyramidFlow.Fuzz.Targets;

/// <summary>Weights, their lists, configurations of models, LoRAs and latents.</summary>
internal static class CheckpointTargets
{
    private static readonly byte[][] PickleWords =
    [
        .. FuzzTargets.Utf8("ctorch._utils\n_rebuild_tensor_v2\n", "ccollections\nOrderedDict\n", "ctorch\nFloatStorage\n", "cos\nsystem\n", "X\x01\0\0\0a"),
        [(byte)'('], [(byte)'t'], [(byte)'R'], [(byte)'}'], [(byte)']'], [(byte)'N'], [(byte)'.'], [(byte)'u'], [(byte)'s'], [(byte)'a'], [(byte)'e'], [(byte)'b'], [(byte)'Q'],
        [(byte)'0'], [(byte)'2'], [(byte)'q', 1], [(byte)'h', 1], [(byte)'K', 1], [(byte)'J', 0xFF, 0xFF, 0xFF, 0x7F], [0x8a, 8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], [0x85], [0x86], [0x87], [0x94],
    ];

    private static readonly byte[][] ConfigWords = FuzzTargets.Utf8("\"_class_name\"", "\"num_layers\":", "null", "[8,4,4]", "\"\\ud83d\"");

    public static IEnumerable<FuzzTarget> All()
    {
        var pickle = PickleWriter.Weights(6, 0, [2, 3], [3, 1]);
        var archive = ArchiveWriter.Archive(pickle, PickleWriter.SixFloats);
        Type[] checkpoint = [typeof(CheckpointException)];
        yield return new("safetensors", FuzzTargets.AsFile("a.safetensors", Safetensors), checkpoint, [Header("""{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"__metadata__":{"k":"v"}}""", 24)],
            FuzzTargets.Utf8("\"dtype\"", "\"shape\":[", "\"data_offsets\":[0,0]", "\"F32\"", "\"__metadata__\":{", "[[", "{}"));
        yield return new("archive", FuzzTargets.AsFile("a.pt", Archive), checkpoint, [archive, new ArchiveWriter { Zip64 = true }.Add("archive/data.pkl", pickle).Add("archive/data/0", PickleWriter.SixFloats).End()],
            FuzzTargets.Utf8("PK\x03\x04", "PK\x01\x02", "PK\x05\x06", "PK\x06\x06", "archive/data.pkl"));
        var asPickle = FuzzTargets.AsFile("b.pt", Archive);
        yield return new("pickle", input => asPickle(ArchiveWriter.Archive(input, PickleWriter.SixFloats)), checkpoint,
            [pickle, new PickleWriter().StateDict(d => d.Text("w").Weight().Text("b").Weight()).End()], PickleWords);
        yield return new("shards", FuzzTargets.AsFile("model.safetensors.index.json", path => ShardIndex.Read(path, new ConfinedFolder(FuzzTargets.Folder))), checkpoint,
            FuzzTargets.Utf8("""{"metadata":{"total_size":24},"weight_map":{"a":"a.safetensors","b":"a.safetensors"}}"""), FuzzTargets.Utf8("\"weight_map\":", "\"../a\"", "\"/etc/passwd\""));
        yield return new("model-config", input => ModelFamilies.Parse(input, "config.json"), checkpoint,
            [FuzzTargets.Seed("models/sprites/diffusion_transformer/config.json")], ConfigWords);
        yield return new("transformer-config", FuzzTargets.AsFile("config.json", path => TransformerConfigs.Load(path)), checkpoint,
            [FuzzTargets.Seed("models/sprites/diffusion_transformer/config.json")], ConfigWords);
        yield return new("vae-config", FuzzTargets.AsFile("vae.json", path => CausalVideoVaeConfig.Read(path)), checkpoint, [FuzzTargets.Seed("models/sprites/causal_video_vae/config.json")], ConfigWords);
        yield return new("clip-config", input => ClipTextConfig.Parse(input, "config.json"), checkpoint, [FuzzTargets.Seed("models/sprites/text_encoder/config.json")], ConfigWords);
        yield return new("t5-config", input => T5EncoderConfig.Parse(input, "config.json"), checkpoint, [FuzzTargets.Seed("models/sprites/text_encoder_2/config.json")], ConfigWords);
        yield return new("pipeline-config", FuzzTargets.AsFile("pipeline.json", path => PipelineSettings.Read(path, PipelineSettings.Released(ModelFamilies.Flux, "384p"))), checkpoint, [FuzzTargets.Seed("models/sprites/pipeline.json")], ConfigWords);
        yield return new("hub-listing", input => HubListing.Parse(input, "owner/name"), [typeof(HubException)],
            FuzzTargets.Utf8("""[{"type":"file","path":"a/model.safetensors","size":12,"oid":"0123456789012345678901234567890123456789","lfs":{"oid":"0","size":12}},{"type":"directory","path":"a"}]"""), FuzzTargets.Utf8("\"../x\"", "\"\\u202e\""));
        yield return new("lora", Lora(), checkpoint,
        [
            Header("""{"transformer.a.lora_A.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"transformer.a.lora_B.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]},"transformer.a.alpha":{"dtype":"F32","shape":[],"data_offsets":[16,20]},"__metadata__":{"lora_adapter_metadata":"{\"transformer.r\":1,\"transformer.lora_alpha\":2,\"transformer.alpha_pattern\":{\"a\":3}}"}}""", 20),
        ], FuzzTargets.Utf8("base_model.model.", "lora_unet_", ".lora_down.weight", ".alpha", "NaN", "diffusion_model."));
        yield return new("peft", Adapter(), checkpoint, FuzzTargets.Utf8("""{"peft_type":"LORA","r":1,"lora_alpha":16,"use_rslora":false,"alpha_pattern":{"a":8},"rank_pattern":{"^a$":1},"target_modules":["a"],"bias":"none"}"""),
            FuzzTargets.Utf8("\"(a+)+$\":1", "NaN", "1e400", "\"use_rslora\":true", "\"pissa\"", "null"));
        yield return new("latents", FuzzTargets.AsFile("latents.safetensors", Latents), checkpoint, [Header(LatentHeader, 8)], FuzzTargets.Utf8("\"image_shift\":\"NaN\"", "\"F32\"", "[1,1,1,1,2]"));
    }

    // A model of one layer, "a", of two inputs and outputs.
    private sealed class OneLayer : Module
    {
        private readonly Linear a = new(2, 2, bias: false);

        public Parameter Weight => a.Weight;
    }

    private const string LatentHeader =
        """{"latents":{"dtype":"F32","shape":[1,1,1,1,2],"data_offsets":[0,8]},"__metadata__":{"image_shift":"0","image_scale":"1","video_shift":"0","video_scale":"1"}}""";

    // A safetensors file: the length of the header, the header, zeros.
    private static byte[] Header(string json, int data) => [.. BitConverter.GetBytes((ulong)json.Length), .. System.Text.Encoding.UTF8.GetBytes(json), .. new byte[data]];

    private static void Safetensors(string path)
    {
        using var file = SafetensorsFile.Open(path);
        foreach (var entry in file.Entries.Values)
            _ = file.Bytes(entry.Name).Length;
    }

    private static void Archive(string path)
    {
        using var scope = new TensorScope();
        using var archive = TorchArchive.Open(path);
        foreach (var key in archive.Keys)
            _ = archive.Read(key);
    }

    private static void Latents(string path)
    {
        using var scope = new TensorScope();
        _ = LatentFile.Read(path);
    }

    // Settings beside a LoRA whose matrices are fine.
    private static Action<byte[]> Adapter()
    {
        var folder = Directory.CreateDirectory(Path.Combine(FuzzTargets.Folder, "adapter")).FullName;
        File.WriteAllBytes(Path.Combine(folder, "adapter_model.safetensors"), Header(
            """{"base_model.model.a.lora_A.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"base_model.model.a.lora_B.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]}}""", 16));
        var model = new OneLayer();
        using var generator = new RandomGenerator(0);
        model.Initialize(generator);
        return input =>
        {
            using var scope = new TensorScope();
            File.WriteAllBytes(Path.Combine(folder, "adapter_config.json"), input);
            LoraFile.Merge(model, folder);
        };
    }

    private static Action<byte[]> Lora()
    {
        var model = new OneLayer();
        using var generator = new RandomGenerator(0);
        model.Initialize(generator);
        return FuzzTargets.AsFile("lora.safetensors", path =>
        {
            using var scope = new TensorScope();
            LoraFile.Check(model, path);
            LoraFile.Merge(model, path);
            if (!double.IsFinite(model.Weight.Value.Sum().Item()))
            {
                model.Weight.Value = Tensor.Zeros([2, 2]);
                throw new WrongResultException("a LoRA made the weights no numbers");
            }
        });
    }
}
