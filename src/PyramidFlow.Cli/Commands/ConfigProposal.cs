using System.Reflection;
using System.Text;
using System.Text.Json;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Hub;
using PyramidFlow.Models;
using PyramidFlow.Torch.Formats;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Cli.Commands;

/// <summary>The model that a training begins with, which may not have been downloaded.</summary>
/// <param name="Variant">Variant of its transformer; null where there is one only.</param>
/// <param name="Settings">Its size, length and objective.</param>
/// <param name="Channels">Channels of its latents.</param>
/// <param name="IsHere">Whether it is on this machine.</param>
internal sealed record TrainingStart(string? Variant, PipelineSettings Settings, int Channels, bool IsHere)
{
    private const int Multiple = DitTraining.Multiple;

    // From a second of history to the five and ten seconds of the released models.
    private static readonly int[] Ladder = [9, 17, 33, 49, 73, 97, 121, 161, 201, 241];

    /// <summary>Sizes that clips are cropped to: the model's own; for a wide one also its turned size and a square of about as many pixels.</summary>
    public IReadOnlyList<string> Sizes
    {
        get
        {
            var (width, height) = (Settings.Width, Settings.Height);
            var side = Math.Max(1, (int)Math.Round(Math.Sqrt((double)width * height) / Multiple)) * Multiple;
            return width == height ? [$"{width}x{height}"] : [$"{width}x{height}", $"{height}x{width}", $"{side}x{side}"];
        }
    }

    /// <summary>Lengths in frames, shortest first, up to the longest clip of the model.</summary>
    public IReadOnlyList<int> Lengths
    {
        get
        {
            var longest = Settings.Frames == 1 ? 1 : VideoLength.OfLatents(Settings.MaxLatentFrames);
            return longest < Ladder[0] ? [longest] : [.. Ladder.Where(length => length <= longest)];
        }
    }

    /// <summary>Finds a model by folder or name; a released one need not be there.</summary>
    /// <exception cref="UsageException">There is no such model or variant.</exception>
    public static TrainingStart Find(string model, string? variant)
    {
        var found = DitModel.Find(model, variant, () => CheckpointFolder.IsCheckpoint(model) || ModelCatalog.FindInstalled(model) is not null, () => ModelNames.Find(model),
            (chosen, known) => CommandFault.UnknownVariant(model, chosen, known));
        return new TrainingStart(found.Variant, found.Settings, found.Vae.EncoderOutChannels, found.IsHere);
    }
}

/// <summary>A configuration for a data set, with the reason of each value.</summary>
/// <param name="part">Kind of training: <c>lora</c>, <c>dit</c> or <c>vae</c>.</param>
/// <param name="start">The model it begins with.</param>
/// <param name="data">The scanned items.</param>
/// <param name="device"><c>cpu</c> or <c>cuda</c>.</param>
internal sealed class ConfigProposal(string part, TrainingStart start, DataSet data, string device)
{
    // All items of a batch have one size and length, so that a few of their own would be repeated in it.
    private const double LeastShare = 0.1;

    // Two cores take seconds for each latent frame of a step; a GPU takes the clips as they are.
    private const int FramesOnCpu = 17, UsualFrames = 121, Batch = 4, Seed = 42;

    private bool IsVae => part == "vae";

    private bool AreLatents => data.Items.All(item => item.Annotation.Latent is not null);

    private bool IsOnCpu => device == "cpu";

    /// <summary>Number of items with a caption or its features.</summary>
    public int Captions => data.Items.Count(item => item.Annotation.Text is not null || item.Annotation.TextFeatures is not null);

    /// <summary>The data as one sentence.</summary>
    public string Found
    {
        get
        {
            var buckets = string.Join(", ", data.Counts.Select(pair => $"{pair.Count} of {pair.Bucket}"));
            return $"{data.Items.Count} items, {(Captions == data.Items.Count ? "all" : Captions)} with a caption: {buckets}";
        }
    }

    /// <summary>The text of the configuration.</summary>
    /// <param name="schema">File of the schema beside it.</param>
    /// <param name="model">The model as seen from the configuration.</param>
    /// <param name="annotations">The data as seen from the configuration.</param>
    public string Write(string schema, string model, IReadOnlyList<string> annotations)
    {
        var text = new CommentedJson($"Written by {About.Name} train init for {Found}. The keys are explained in docs/training.md; change what you like.");
        text.Add(LoopConfig.SchemaKey, schema, "lets an editor complete and check the keys");
        text.Add(IsVae ? "start_from" : "model", model, "weights to begin with");
        if (start.Variant is { } variant && !IsVae)
            text.Add("variant", variant, "size of the released transformer");
        if (part == "lora")
            text.AddObject("lora", ("rank", 16, "numbers of a layer; more can learn more and needs more clips"), ("alpha", 16, "strength; the same ratio to rank learns at about the same pace"));
        text.AddObject("data", [.. Data(annotations)]);
        if (AreLatents && !IsVae)
        {
            text.Add("input", "latents", "made by extract latents, so that no VAE is loaded");
            text.Add("captions", data.Items.All(item => item.Annotation.TextFeatures is not null) ? "features" : "text", "features are made by extract text, so that no text encoder stays loaded");
        }

        if (!IsVae && start.Settings.FullSequence)
            text.Add("objective", "full_sequence", "the model makes all frames of a clip together");
        AddLoop(text);
        return text.End();
    }

    private void AddLoop(CommentedJson text)
    {
        var steps = Steps();
        if (IsVae)
        {
            text.Add("freeze_encoder", true, "latents stay as the transformer knows them; false teaches the encoder too, and then the transformer must follow");
            text.Add("perceptual_weight", 0, "1 for sharper pictures, with the file of the LPIPS weights as \"lpips\"");
            text.Add("batch", 1, "videos of a step");
            text.Add("image_batch", 4, "images of a step");
        }
        else
        {
            text.Add("batch", Batch, "clips of a step, dealt to the stages 1 : 2 : 1; a multiple of 4");
        }

        if (!IsVae && Lengths() is [.., > UsualFrames and var most])
            text.Add("max_temporal_length", VideoLength.Latents(most), "latent frames of the longest clip");
        text.Add("seed", Seed, "of all random numbers");
        text.Add("steps", steps, $"each item about {Math.Round((double)steps * PerStep / data.Items.Count):0} times; Ctrl-C saves and the same command goes on");
        if (IsVae)
            text.Add("schedule", "constant", "the rate after the warm-up");
        text.Add("precision", IsOnCpu ? "float32" : "bfloat16", IsOnCpu ? "bfloat16 takes half the memory of activations" : "half the memory of activations, and faster");
        text.Add("checkpoint_ratio", IsOnCpu ? 0 : 1, "share of the blocks computed twice to save memory, 0 to 1");
        text.Add("device", device, IsOnCpu ? "cuda where there is a GPU" : "cpu where there is none");
        if (!IsVae)
            text.Add("average_decay", 0.99, "the weights that are written are a mean over about 100 steps");
        if (!IsVae && Prompts() is { Count: > 0 } prompts)
        {
            text.Add("sample_every", Math.Max(1, steps / 5), "steps between two sheets of samples");
            text.AddObject("samples", ("prompts", prompts, "captions of the data; add one that should stay as it was"), ("frames", Lengths() is [.., var longest] ? longest : 1, "1 is a picture"));
        }

        text.Add("log_every", Math.Clamp(steps / 50, 1, 20), "steps between two lines of metrics");
        text.Add("checkpoint_every", Math.Max(1, steps / 10), "steps between two saved states");
    }

    private IEnumerable<(string, object, string)> Data(IReadOnlyList<string> annotations)
    {
        yield return ("annotations", annotations, "clips and captions, as seen from this file");
        if (AreLatents)
        {
            yield return ("max_frames", start.Lengths[^1], "longer latents are cut");
            yield break;
        }

        yield return ("sizes", Sizes(), "a clip is scaled and cropped to the one of nearest shape");
        if (Lengths() is { Count: > 0 } lengths)
            yield return ("frames", lengths, "a clip gets the longest that fits; 1 and multiples of 8");
        if (IsVae || data.Items.Any(item => item.Seconds > 0))
            yield return ("fps", start.Settings.FramesPerSecond, "frames per second that videos are brought to");
    }

    // Sizes that enough items use; the others go to the nearest of these.
    private List<string> Sizes()
    {
        var counts = data.Items.GroupBy(item => (item.Bucket.Width, item.Bucket.Height)).OrderByDescending(group => group.Count()).ToList();
        return [.. counts.Where((group, i) => i == 0 || group.Count() >= LeastShare * data.Items.Count).Select(group => $"{group.Key.Width}x{group.Key.Height}")];
    }

    // Lengths that enough videos have, and the shortest, so that none is left out; the others are cut to the next. Empty where there are images only.
    private List<int> Lengths()
    {
        var (lengths, longer) = (new List<int>(), 0);
        var videos = data.Items.Where(item => !item.Bucket.IsImage).Select(item => IsOnCpu ? Math.Min(item.Bucket.Frames, FramesOnCpu) : item.Bucket.Frames).ToList();
        foreach (var group in videos.GroupBy(frames => frames).OrderByDescending(group => group.Key))
        {
            longer += group.Count();
            if (longer < Math.Max(Batch, LeastShare * videos.Count) && group.Key > videos.Min())
                continue;
            lengths.Insert(0, group.Key);
            longer = 0;
        }

        return lengths;
    }

    private int PerStep => IsVae ? 1 : Batch;

    // As many as teach something new without hours of waiting, in round numbers.
    private int Steps()
    {
        var (epochs, least, most) = part == "lora" ? (60, 300, 2000) : (40, 1000, 20_000);
        var steps = Math.Clamp((double)data.Items.Count * epochs / PerStep, least, most);
        var unit = Math.Pow(10, Math.Floor(Math.Log10(steps)) - 1);
        return (int)(Math.Round(steps / unit) * unit);
    }

    // Large models take long for a sample on a CPU.
    private List<string> Prompts() => IsOnCpu && start.Settings.Width > 256
        ? []
        : [.. data.Items.Select(item => item.Annotation.Text).OfType<string>().Where(text => text.Length > 0).Distinct().Take(2)];
}

/// <summary>Writes a JSON object with a comment at the end of each line.</summary>
/// <param name="about">Comment at the beginning.</param>
internal sealed class CommentedJson(string about)
{
    // Comments stand in one column, but for those of longer lines.
    private const int MostAligned = 40;

    private readonly List<(string Line, string Comment)> lines = [];

    /// <summary>Adds a key.</summary>
    public void Add(string key, object value, string comment) => lines.Add(($"  {Member(key, value)},", comment));

    /// <summary>Adds an object.</summary>
    public void AddObject(string key, params ReadOnlySpan<(string Key, object Value, string Comment)> members)
    {
        lines.Add(($"  {ReadableJson.Quote(key)}: {{", ""));
        for (var i = 0; i < members.Length; i++)
            lines.Add(($"    {Member(members[i].Key, members[i].Value)}{(i < members.Length - 1 ? "," : "")}", members[i].Comment));
        lines.Add(("  },", ""));
    }

    /// <summary>The whole text.</summary>
    public string End()
    {
        var (last, comment) = lines[^1];
        lines[^1] = (last.TrimEnd(','), comment);
        var column = lines.Where(line => line.Comment.Length > 0).Max(line => Math.Min(line.Line.Length, MostAligned)) + 2;
        var text = new StringBuilder("{\n").Append("  // ").Append(about).Append('\n');
        foreach (var (line, remark) in lines)
            text.Append(remark.Length > 0 ? $"{line.PadRight(column)}// {remark}" : line).Append('\n');
        return text.Append("}\n").ToString();
    }

    private static string Member(string key, object value) => $"{ReadableJson.Quote(key)}: {Json(value)}";

    private static string Json(object value) => value switch
    {
        string text => ReadableJson.Quote(text),
        IEnumerable<string> texts => $"[{string.Join(", ", texts.Select(ReadableJson.Quote))}]",
        IEnumerable<int> numbers => $"[{string.Join(", ", numbers)}]",
        _ => JsonSerializer.Serialize(value, value.GetType()),
    };
}

/// <summary>The JSON schemas of configurations, which are part of the program.</summary>
internal static class ConfigSchemas
{
    /// <summary>Name of the file of a schema.</summary>
    /// <param name="part">Kind of training.</param>
    public static string FileOf(string part) => part == "vae" ? "vae.schema.json" : "dit.schema.json";

    /// <summary>The text of a schema.</summary>
    /// <inheritdoc cref="FileOf"/>
    public static string Read(string part)
    {
        using var stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(FileOf(part))!;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }
}
