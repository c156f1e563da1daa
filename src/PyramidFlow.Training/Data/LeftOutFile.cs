using System.Text;
using System.Text.Json.Serialization;
using PyramidFlow.Media;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Torch.Formats;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Data;

/// <summary>
/// The list of all items that a training left out, in its folder. It is written with every checkpoint and at the end, and a run that goes on keeps what its earlier parts found,
/// since an item is read only where a step needs it.
/// </summary>
/// <param name="run">Folder of the run.</param>
/// <param name="faults">Faults of this process; those it has already are known to all processes.</param>
internal sealed class LeftOutFile(RunFolder run, FaultLog faults)
{
    /// <summary>Name of the file in the folder of a run.</summary>
    public const string Name = "left-out.jsonl";

    private readonly int common = faults.Faults.Count;
    private readonly IReadOnlyList<LeftOutItem> earlier = run.LatestState is null ? [] : Read(run.File(Name));

    /// <summary>Writes what is known so far.</summary>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="MediaException">It cannot be created.</exception>
    public void Write() => Write(run.File(Name), All([]));

    /// <summary>Writes the list at the end of a run.</summary>
    /// <param name="group">Process group, whose processes each read their own items; rank zero writes those of all. Null trains in this process alone.</param>
    /// <returns>Sentences about the items of the list; empty if there are none.</returns>
    /// <exception cref="TrainingException">The file cannot be written.</exception>
    public IReadOnlyList<string> End(ProcessGroup? group)
    {
        var all = All(group is null ? [] : Gather(group));
        if (group is { Rank: > 0 })
            return FaultLog.Summary(all);
        var path = run.File(Name);
        WriteOrExplain(path, all);
        return [.. FaultLog.Summary(all), .. all.Count > 0 ? [$"all of them are in {path}"] : Array.Empty<string>()];
    }

    /// <summary>Writes a list, one JSON object on each line; without items the file of an earlier run is deleted.</summary>
    /// <exception cref="TrainingException">The file cannot be written.</exception>
    public static void WriteOrExplain(string path, IReadOnlyList<LeftOutItem> items)
    {
        try
        {
            Write(path, items);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or MediaException)
        {
            throw TrainingFault.LeftOutNotWritten(path, e);
        }
    }

    private static void Write(string path, IReadOnlyList<LeftOutItem> items)
    {
        if (items.Count == 0)
        {
            File.Delete(path);
            return;
        }

        using var file = PartialFile.Create(path);
        foreach (var item in items)
            file.Stream.Write(Line(item));
        file.Commit();
    }

    private static byte[] Line(LeftOutItem item) => Encoding.UTF8.GetBytes(ReadableJson.Serialize(item, LeftOutJson.Default.LeftOutItem) + "\n");

    private static List<LeftOutItem> Read(string path)
    {
        if (!File.Exists(path))
            return [];
        using var file = File.OpenRead(path);
        return [.. Parse(file)];
    }

    // A line that is no item is not one that a run has written.
    private static IEnumerable<LeftOutItem> Parse(Stream lines)
    {
        foreach (var (_, line) in StrictLines.Read(lines))
        {
            LeftOutItem item;
            try
            {
                item = StrictJson.Deserialize(line, LeftOutJson.Default.LeftOutItem);
            }
            catch (MalformedTextException)
            {
                continue;
            }

            yield return item;
        }
    }

    private List<LeftOutItem> All(IEnumerable<LeftOutItem> others) =>
        [.. faults.Faults.Select(LeftOutItem.Of).Concat(others).Concat(earlier).DistinctBy(item => (item.File, item.Line)).OrderBy(item => item.File, StringComparer.Ordinal).ThenBy(item => item.Line)];

    // What each process has found by itself: each one fills its own part of a text, and the sum is the whole.
    private List<LeftOutItem> Gather(ProcessGroup group)
    {
        byte[] own = [.. faults.Faults.Skip(common).SelectMany(fault => Line(LeftOutItem.Of(fault)))];
        var lengths = new int[group.WorldSize];
        lengths[group.Rank] = own.Length;
        group.AllReduce(lengths.AsSpan());
        var all = new byte[lengths.Sum()];
        if (all.Length == 0)
            return [];
        own.CopyTo(all, lengths.Take(group.Rank).Sum());
        group.AllReduce(all.AsSpan());
        return [.. Parse(new MemoryStream(all))];
    }
}

/// <summary>An item that was left out, as a line of a list.</summary>
/// <param name="File">The annotation file, the folder with texts or the shard.</param>
/// <param name="Line">Number of the line or of the item, from 1; 0 is a whole shard.</param>
/// <param name="Item">Path of the video, image or latents, after that of its shard; null where the line names none.</param>
/// <param name="Kind">Kind of the fault.</param>
/// <param name="Code">Code of the cause.</param>
/// <param name="Reason">The cause as a sentence.</param>
public sealed record LeftOutItem(
    string File, int Line, string? Item, [property: JsonConverter(typeof(SnakeCaseEnumConverter<DataFaultKind>))] DataFaultKind Kind, string Code, string Reason)
{
    /// <summary>The item of a fault.</summary>
    public static LeftOutItem Of(DataFault fault) => new(fault.File, fault.Line, fault.Item, fault.Kind, fault.Error.Code, fault.Reason);

    /// <inheritdoc/>
    public override string ToString() => TrainingFault.Item(File, Line, Reason, Item);
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(LeftOutItem))]
internal sealed partial class LeftOutJson : JsonSerializerContext;
