using System.Collections.Frozen;
using System.Text;
using PyramidFlow.Torch.Formats;
using PyramidFlow.Training.Shards;

namespace PyramidFlow.Training.Data;

/// <summary>
/// Items of shards in the layout of webdataset: the files of an item share the part of their names up to the first dot. A video or picture has its ending as its field (<c>000001.mp4</c>), latents and text features
/// have one before it (<c>000001.latent.safetensors</c>, <c>000001.text_fea.safetensors</c>), and the caption is <c>000001.txt</c>, or <c>text</c> in <c>000001.json</c>. The order is that of shards, then of members.
/// </summary>
internal static class ShardItems
{
    private const string Text = "txt", Json = "json";

    private enum Part
    {
        Video,
        Image,
        Latent,
        Features,
        Text,
        Json,
    }

    private static readonly FrozenDictionary<string, Part> Parts = TextFolder.VideoEndings.Select(ending => (ending[1..], Part.Video))
        .Concat(TextFolder.ImageEndings.Select(ending => (ending[1..], Part.Image)))
        .Concat(TensorFile.Endings.SelectMany(ending => ((string, Part)[])[("latent" + ending, Part.Latent), ("text_fea" + ending, Part.Features)]))
        .Append((Text, Part.Text)).Append((Json, Part.Json)).ToFrozenDictionary(pair => pair.Item1, pair => pair.Item2);

    /// <summary>Lists the items of shards.</summary>
    /// <param name="source">Path or address, with ranges.</param>
    /// <param name="options">How shards are read.</param>
    /// <param name="cancellationToken">Cancels the reading.</param>
    /// <returns>The items, also those without a caption, and the faults of items that cannot be used and of shards that are missing.</returns>
    /// <exception cref="TrainingException">A shard cannot be read, is none, has changed, or holds no items.</exception>
    public static async Task<(IReadOnlyList<Annotation> Items, IReadOnlyList<DataFault> Faults)> ScanAsync(string source, ShardOptions options, CancellationToken cancellationToken)
    {
        var addresses = ShardAddress.Expand(source);
        var found = new (List<Annotation> Items, List<DataFault> Faults)[addresses.Count];
        await Parallel.ForAsync(0, addresses.Count, new ParallelOptions { MaxDegreeOfParallelism = options.Parallel, CancellationToken = cancellationToken }, async (i, ct) =>
        {
            try
            {
                found[i] = ItemsOf(await Shard.OpenAsync(addresses[i], options, ct).ConfigureAwait(false));
            }
            catch (TrainingException e) when (e.Code == TrainingFault.ShardMissingCode)
            {
                found[i] = ([], [new DataFault(addresses[i].Name, 0, DataFaultKind.Missing, e) { Item = addresses[i].Name }]);
            }
        }).ConfigureAwait(false);
        return ([.. found.SelectMany(shard => shard.Items)], [.. found.SelectMany(shard => shard.Faults)]);
    }

    /// <summary>The first caption that an index knows; null without one.</summary>
    /// <exception cref="TrainingException">The name of the shards is invalid.</exception>
    public static string? FirstCaption(string source, ShardOptions options) =>
        Shard.FindKnown(ShardAddress.Expand(source)[0], options) is { } shard ? ItemsOf(shard).Items.Select(item => item.Text).FirstOrDefault(text => !string.IsNullOrWhiteSpace(text)) : null;

    /// <summary>Items as lines of an annotation file, which cannot name members.</summary>
    public static IEnumerable<((string, int) Item, ReadOnlyMemory<byte> Utf8)> Lines(IEnumerable<Annotation> items) =>
        items.Select(item => ((item.File, item.Line), (ReadOnlyMemory<byte>)Encoding.UTF8.GetBytes(item.Text is { } caption ? $"{{\"text\":{ReadableJson.Quote(caption)}}}" : "{}")));

    private static (List<Annotation> Items, List<DataFault> Faults) ItemsOf(Shard shard)
    {
        var (items, faults) = (new List<Annotation>(), new List<DataFault>());
        foreach (var group in Groups(shard.Index.Members))
        {
            var line = items.Count + faults.Count + 1;
            try
            {
                if (Item(shard, group, line) is { } item)
                    items.Add(item);
            }
            catch (BadItemException e)
            {
                faults.Add(e.Fault(shard.Name, line) with { Item = e.Error.Parameters["file"] as string });
            }
        }

        if (shard.Index.Damage is { } damage)
        {
            var error = TrainingFault.ShardDamaged(shard.Name, damage.Offset, damage.Reason);
            if (items.Count == 0)
                throw error;
            faults.Add(new DataFault(shard.Name, items.Count + faults.Count + 1, DataFaultKind.Damaged, error) { Item = shard.Name });
        }

        return items.Count + faults.Count > 0 ? (items, faults) : throw TrainingFault.ShardWithoutItems(shard.Name);
    }

    // The members of each key, in the order of the first one.
    private static List<List<(string Field, TarMember Member)>> Groups(IReadOnlyList<TarMember> members)
    {
        var (groups, byKey) = (new List<List<(string, TarMember)>>(), new Dictionary<string, List<(string, TarMember)>>(StringComparer.Ordinal));
        foreach (var member in members)
        {
            if (MemberName.Split(member.Name) is not var (key, field))
                continue;
            if (!byKey.TryGetValue(key, out var group))
                groups.Add(byKey[key] = group = []);
            group.Add((field, member));
        }

        return groups;
    }

    // Null where the members are no item.
    private static Annotation? Item(Shard shard, List<(string Field, TarMember Member)> group, int line)
    {
        var parts = new Dictionary<Part, TarMember>();
        foreach (var (field, member) in group)
        {
            if (!Parts.TryGetValue(field, out var part))
                continue;
            var path = PackedItem.PathOf(shard, member);
            if (parts.TryGetValue(part, out var other))
                throw Damaged(other.Name == member.Name ? TrainingFault.MemberRepeated(path) : TrainingFault.MemberOfTwo(PackedItem.PathOf(shard, other), path));
            parts[part] = member;
        }

        if (!parts.ContainsKey(Part.Video) && !parts.ContainsKey(Part.Image) && !parts.ContainsKey(Part.Latent))
            return DottedMedia(group) is { } dotted ? throw Damaged(TrainingFault.MemberDotted(PackedItem.PathOf(shard, dotted))) : null;
        if (parts.GetValueOrDefault(Part.Video) is { } video && parts.GetValueOrDefault(Part.Image) is { } image)
            throw Damaged(TrainingFault.MemberOfTwo(PackedItem.PathOf(shard, video), PackedItem.PathOf(shard, image)));
        if (parts.Values.FirstOrDefault(member => member.Flaw is not null) is { } flawed)
            throw Damaged(FlawOf(flawed, PackedItem.PathOf(shard, flawed)));

        var (text, frames) = Caption(shard, parts);
        string? PathOf(Part part) => parts.TryGetValue(part, out var member) ? PackedItem.PathOf(shard, member) : null;
        return new Annotation(shard.Name, line)
        {
            Video = PathOf(Part.Video), Image = PathOf(Part.Image), Latent = PathOf(Part.Latent), TextFeatures = PathOf(Part.Features), Text = text, Frames = frames,
            CaptionFile = PathOf(Part.Text) ?? PathOf(Part.Json) ?? $"{shard.Name}/{MemberName.Split(group[0].Member.Name)!.Value.Key}.{Text}",
            Packed = new PackedItem(shard, parts.Values),
        };
    }

    // A text file holds nothing but the caption, so that it counts where both are there.
    private static (string? Text, IReadOnlyList<int>? Frames) Caption(Shard shard, Dictionary<Part, TarMember> parts)
    {
        var (text, frames) = ((string?)null, (IReadOnlyList<int>?)null);
        foreach (var part in (Part[])[Part.Json, Part.Text])
        {
            if (!parts.TryGetValue(part, out var member))
                continue;
            try
            {
                var content = member.Content ?? throw new MalformedTextException(0, TrainingFault.CaptionTooLong);
                if (part == Part.Json)
                    (text, frames) = AnnotationParser.ParseCaption(content);
                else
                    text = TextFolder.OnOneLine(StrictText.Decode(content)) ?? text;
            }
            catch (Exception e) when (e is MalformedTextException or BadItemException)
            {
                throw Damaged(TrainingFault.CaptionUnreadable(PackedItem.PathOf(shard, member), e));
            }
        }

        return (text, frames);
    }

    // Such as clip.1.mp4, whose key is clip.
    private static TarMember? DottedMedia(List<(string Field, TarMember Member)> group) =>
        group.FirstOrDefault(each => each.Field.LastIndexOf('.') is var dot and > 0 && Parts.GetValueOrDefault(each.Field[(dot + 1)..], Part.Json) is Part.Video or Part.Image).Member;

    private static TrainingException FlawOf(TarMember member, string path) => member.Flaw switch
    {
        MemberFlaw.Link => TrainingFault.MemberLink(path),
        MemberFlaw.Special => TrainingFault.MemberSpecial(path),
        MemberFlaw.Sparse => TrainingFault.MemberSparse(path),
        MemberFlaw.Cut => TrainingFault.MemberCut(path),
        _ => TrainingFault.MemberNamed(path),
    };

    private static BadItemException Damaged(TrainingException error) => new(DataFaultKind.Damaged, error);
}
