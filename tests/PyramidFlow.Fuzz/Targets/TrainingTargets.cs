using System.Text;
using PyramidFlow.Sprites;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;
using PyramidFlow.Training;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Vae;

namespace PyramidFlow.Fuzz.Targets;

/// <summary>Annotations, configurations, states and metrics of training.</summary>
internal static class TrainingTargets
{
    public static IEnumerable<FuzzTarget> All()
    {
        yield return new("annotations", FuzzTargets.AsFile("a.jsonl", path => AnnotationFile.Scan(path)), [typeof(TrainingException)],
            FuzzTargets.Utf8("""{"video":"a.mp4","text":"a red ball","frames":[0,2,4],"aesthetic":NaN}""" + "\n" + """{"image":"b.png","text":"x","latent":"l.safetensors","text_fea":"t.safetensors"}"""),
            FuzzTargets.Utf8("\"video\":", "\"frames\":[", "\n", "\\u0000", "\\ud83d", "null"));
        byte[][] words = FuzzTargets.Utf8("null", "\"data\":{", "\"sizes\":[", "\"batch\":", "// x\n", "\"learning_rate\":", "\"\\ud83d\"", "NaN");
        Type[] config = [typeof(TrainingException), typeof(CheckpointException)];
        yield return new("dit-training", FuzzTargets.AsFile("dit.json", path => SpriteDitConfig.Load(path)), config,
            [FuzzTargets.Seed("configs/sprites-dit.json"), FuzzTargets.Seed("configs/miniflux-384p.json"), FuzzTargets.Seed("configs/lora-miniflux-384p.json")], words);
        yield return new("vae-training", FuzzTargets.AsFile("vae-train.json", path => VaeConfig.Load(path)), config, [FuzzTargets.Seed("configs/vae-stage1.json")], words);
        yield return new("sprites-vae", FuzzTargets.AsFile("vae-sprites.json", path => SpriteVaeConfig.Load(path)), config, [FuzzTargets.Seed("configs/sprites-vae.json")], words);
        yield return new("spikes", Spikes, [typeof(MalformedTextException)], FuzzTargets.Utf8("""{"skipped":1,"in_a_row":0,"values":{"loss":[1,2,3],"norm":[0.5]}}"""), FuzzTargets.Utf8("null", "\"values\":", "-1", "1e400"));
        yield return new("metrics", FuzzTargets.AsFile("metrics.jsonl", path => MetricsFile.Read(path)), [typeof(TrainingException)],
            FuzzTargets.Utf8("{\"step\":1,\"time\":\"2026-01-01T00:00:00Z\",\"loss\":0.5}\n{\"step\":2,\"loss\":null}\n"), FuzzTargets.Utf8("\n", "\"step\":", "null", "\"loss\":1,\"loss\":2"));
        yield return new("metrics-resumed", FuzzTargets.AsFile("resumed.jsonl", path => _ = new MetricsFile(path, 1)), [typeof(TrainingException)],
            FuzzTargets.Utf8("{\"step\":1,\"loss\":0.5}\n{\"step\":2,\"loss\":null}\n"), FuzzTargets.Utf8("\n", "\"step\":", "null"));
    }

    private static void Spikes(byte[] input)
    {
        var guard = new SpikeGuard(5);
        guard.Load(Encoding.UTF8.GetString(input));
        guard.Judge(("loss", 1), ("norm", 2));
        if (guard.Skipped < 0)
            throw new WrongResultException("fewer steps than none were skipped");
    }
}
