using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Models;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Sprites;

/// <summary>
/// Creates the small text encoders of the sprites model in the released layout (pooled CLIP features and T5 token features). They are trained
/// on captions to classify the five attributes with linear heads, which are discarded afterwards.
/// </summary>
internal static class SpriteTextEncoders
{
    private const int Width = 128;
    private const int Batch = 64;
    private const int ReportEvery = 20;

    private static readonly int[] Classes =
    [
        Enum.GetValues<SpriteSize>().Length, SpriteAttributes.Colours, Enum.GetValues<SpriteShape>().Length,
        Enum.GetValues<SpriteMotion>().Length, Enum.GetValues<SpriteBackground>().Length,
    ];

    /// <summary>Writes <c>tokenizer</c>, <c>tokenizer_2</c>, <c>text_encoder</c> and <c>text_encoder_2</c> into a model folder.</summary>
    /// <param name="folder">Folder of the model.</param>
    /// <param name="seed">Seed of weights and captions.</param>
    /// <param name="steps">Number of training steps, with 64 captions each.</param>
    /// <param name="progress">Reports progress every 20 steps; null reports nothing.</param>
    /// <param name="cancellationToken">Checked before every step.</param>
    /// <returns>Share of unseen captions whose pooled features give all five attributes.</returns>
    public static double Make(string folder, long seed, int steps, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken)
    {
        WordTokenizerFiles.WriteClip(Path.Combine(folder, "tokenizer"), SpriteCaptions.Words);
        WordTokenizerFiles.WriteT5(Path.Combine(folder, "tokenizer_2"), SpriteCaptions.Words);
        var clipTokens = ClipTokenizer.Load(Path.Combine(folder, "tokenizer"));
        var t5Tokens = T5Tokenizer.Load(Path.Combine(folder, "tokenizer_2"));
        var clipConfig = new ClipTextConfig(clipTokens.VocabularySize, Width, 2 * Width, 1, 4, ClipTokenizer.DefaultMaxLength, clipTokens.EndId);
        var t5Config = new T5EncoderConfig(t5Tokens.VocabularySize, Width, 32, 2 * Width, 2, 4, FeedForwardProj: "gated-gelu");

        using var clip = new ClipTextModel(clipConfig);
        using var t5 = new T5Encoder(t5Config);
        using var heads = new AttributeHeads();
        using var generator = new RandomGenerator((ulong)seed);
        foreach (var module in new Module[] { clip, t5, heads })
            module.Initialize(generator);
        using var parameters = new FlatParameters(("clip", clip), ("t5", t5), ("heads", heads));
        using var optimizer = new AdamW(parameters);
        var rate = new LearningRate(2e-3, 20, steps, LearningRateShape.Cosine);
        for (var step = 0; step < steps; step++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = new TensorScope();
            var (captions, targets) = Captions(SpriteWorld.Scene, seed, step * Batch, Batch);
            var loss = heads.Loss(clip.Forward(ClipIds(clipTokens, captions)).Pooled, targets, token: false)
                + heads.Loss(MeanToken(t5, t5Tokens, captions), targets, token: true);
            loss.Backward();
            parameters.ClipGradients(1);
            optimizer.Step(rate.At(step));
            parameters.ZeroGradients();
            if (step % ReportEvery == ReportEvery - 1)
                progress?.Report(new TrainingProgress(step + 1, steps, loss.Item(), 0, "text encoders"));
        }

        Write(Path.Combine(folder, "text_encoder"), clip, JsonSerializer.Serialize(clipConfig, SpriteModelJson.Default.ClipTextConfig));
        Write(Path.Combine(folder, "text_encoder_2"), t5, JsonSerializer.Serialize(t5Config, SpriteModelJson.Default.T5EncoderConfig));
        return Accuracy(clip, clipTokens, heads, seed);
    }

    /// <summary>Loads the text encoders that <see cref="Make"/> wrote, in float32.</summary>
    /// <param name="folder">Folder of the model.</param>
    public static PromptEncoder Load(string folder)
    {
        T Read<T>(string part, Func<string, T> make)
            where T : Module
        {
            var module = make(Path.Combine(folder, part, "config.json"));
            using var weights = SafetensorsFile.Open(Path.Combine(folder, part, "model.safetensors"));
            module.Load(weights, ElementType.Float32);
            return module;
        }

        return new FluxPromptEncoder(
            ClipTokenizer.Load(Path.Combine(folder, "tokenizer")), Read("text_encoder", path => new ClipTextModel(ClipTextConfig.Read(path))),
            T5Tokenizer.Load(Path.Combine(folder, "tokenizer_2")), Read("text_encoder_2", path => new T5Encoder(T5EncoderConfig.Read(path))));
    }

    private static double Accuracy(ClipTextModel clip, ClipTokenizer tokenizer, AttributeHeads heads, long seed)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var (captions, targets) = Captions(SpriteWorld.EvaluationScene, seed, 0, 500);
        return heads.ShareRight(clip.Forward(ClipIds(tokenizer, captions)).Pooled, targets);
    }

    private static (string[] Captions, Tensor[] Targets) Captions(Func<long, long, SpriteScene> scenes, long seed, long first, int count)
    {
        var attributes = Enumerable.Range(0, count).Select(i => scenes(seed, first + i).Attributes).ToArray();
        var captions = attributes.Select((a, i) => SpriteCaptions.Caption(a, new KeyedRandom(seed, stream: 200, first + i))).ToArray();
        Tensor Column(Func<SpriteAttributes, int> attribute) => Tensor.From(attributes.Select(a => (long)attribute(a)).ToArray());
        return (captions,
            [Column(a => (int)a.Size), Column(a => (int)a.Colour), Column(a => (int)a.Shape), Column(a => (int)a.Motion), Column(a => (int)a.Background)]);
    }

    private static Tensor ClipIds(ClipTokenizer tokenizer, string[] captions) =>
        Padded([.. captions.Select(c => tokenizer.Encode(c, pad: false))], tokenizer.PadId);

    // Int64 [b, n], padded to the longest row.
    private static Tensor Padded(Tokenized[] rows, long pad)
    {
        var longest = rows.Max(r => r.Length);
        return Tensor.From(rows.SelectMany(r => r.Ids.Concat(Enumerable.Repeat(pad, longest - r.Length))).ToArray(), rows.Length, longest);
    }

    private static Tensor MeanToken(T5Encoder t5, T5Tokenizer tokenizer, string[] captions)
    {
        var rows = captions.Select(c => tokenizer.Encode(c, pad: false)).ToArray();
        var ids = Padded(rows, tokenizer.PadId);
        var longest = (int)ids.Size(1);
        var mask = Tensor.From(rows.SelectMany(r => Enumerable.Range(0, longest).Select(i => i < r.Length ? 1f : 0f)).ToArray(), rows.Length, longest);
        var features = t5.Forward(ids, mask) * mask.Unsqueeze(2);                                 // [b, n, d]
        return features.Sum([1]) / mask.Sum([1], keepDim: true);                                  // [b, d]
    }

    private static void Write(string folder, Module module, string config)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "config.json"), config + "\n");
        using var scope = new TensorScope();
        SafetensorsWriter.Write(Path.Combine(folder, "model.safetensors"),
            module.NamedParameters().Select(p => (p.Key, p.Parameter.Value.Detach().To(ElementType.BFloat16))));
    }

    // One linear classifier per attribute and encoder.
    private sealed class AttributeHeads : Module
    {
        private readonly Linear[] pooled = [.. Classes.Select(c => new Linear(Width, c))];
        private readonly Linear[] token = [.. Classes.Select(c => new Linear(Width, c))];

        internal Tensor Loss(Tensor features, Tensor[] targets, bool token)
        {
            var heads = token ? this.token : pooled;
            var losses = heads.Select((h, i) => -h.Forward(features).LogSoftmax(-1).Gather(1, targets[i].Unsqueeze(1)).Mean());
            return losses.Aggregate((a, b) => a + b);
        }

        internal double ShareRight(Tensor features, Tensor[] targets)
        {
            var right = pooled.Select((h, i) => h.Forward(features).Argmax(-1).Eq(targets[i]).To(ElementType.Float32));
            return right.Aggregate((a, b) => a * b).Mean().Item();
        }
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ClipTextConfig))]
[JsonSerializable(typeof(T5EncoderConfig))]
internal sealed partial class SpriteModelJson : JsonSerializerContext;
