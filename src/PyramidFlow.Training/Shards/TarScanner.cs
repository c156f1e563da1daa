using System.Text;
using System.Text.Json.Serialization;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Shards;

/// <summary>Why a member of a shard cannot be used.</summary>
internal enum MemberFlaw
{
    /// <summary>It is a link.</summary>
    Link,

    /// <summary>It is a device, a pipe or of an unknown kind.</summary>
    Special,

    /// <summary>It is stored without its empty parts.</summary>
    Sparse,

    /// <summary>Its name is absolute, leads out of its folder, or is no plain UTF-8.</summary>
    Name,

    /// <summary>It goes on after the end of the shard.</summary>
    Cut,
}

/// <summary>A member of a shard.</summary>
/// <param name="Name">Name without a leading <c>./</c>, on one line.</param>
/// <param name="Offset">First byte of its content in the shard.</param>
/// <param name="Size">Size of its content.</param>
internal sealed record TarMember(string Name, long Offset, long Size)
{
    /// <summary>Content of a short caption; null for other members.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public byte[]? Content { get; init; }

    /// <summary>Why it cannot be used, or null.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    [JsonConverter(typeof(JsonStringEnumConverter<MemberFlaw>))]
    public MemberFlaw? Flaw { get; init; }

    /// <summary>What is known from its own header, such as the size of a picture; null until it was read once.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public MemberHeader? Header { get; set; }
}

/// <summary>Where a tar archive ends before its end.</summary>
/// <param name="Offset">Byte from which on nothing is known.</param>
/// <param name="Reason">What is wrong there.</param>
internal sealed record TarDamage(long Offset, string Reason);

/// <summary>Lists the members of a tar archive by its headers; contents are skipped, except those of short captions.</summary>
internal static class TarScanner
{
    // A text that is longer is no caption.
    private const int MostCaptionBytes = 256 << 10;

    private const int MostMembers = 1_000_000, MostExtensionsInARow = 16, MostExtensionBytes = 1 << 20, MostNameBytes = 4096;
    private const long MostKeptBytes = 256L << 20;

    /// <summary>Lists the members.</summary>
    /// <param name="source">The archive.</param>
    /// <param name="size">Its size.</param>
    /// <param name="cancellationToken">Cancels the reading.</param>
    /// <returns>The members with a name of the layout, in their order, and the place from which on the archive cannot be read; null where it ends well.</returns>
    public static async Task<(List<TarMember> Members, TarDamage? Damage)> ScanAsync(ITarBytes source, long size, CancellationToken cancellationToken)
    {
        var scan = new Scan(new TarWindow(source, size, cancellationToken), size);
        try
        {
            await scan.RunAsync().ConfigureAwait(false);
            return (scan.Members, null);
        }
        catch (InvalidDataException e)
        {
            return (scan.Members, new TarDamage(scan.At, e.Message));
        }
    }

    private sealed class Scan(TarWindow window, long size)
    {
        private byte[]? longName;
        private PaxRecords pax;
        private int extensions, all;
        private long kept;

        public List<TarMember> Members { get; } = [];

        // The header that is being read.
        public long At { get; private set; }

        public async Task RunAsync()
        {
            while (true)
            {
                var block = await WholeAsync(At, TarHeader.BlockBytes).ConfigureAwait(false);
                if (TarHeader.IsEnd(block.Span))
                {
                    await EndAsync().ConfigureAwait(false);
                    return;
                }

                var header = TarHeader.Parse(block.Span);
                if (++all > MostMembers)
                    throw new InvalidDataException(TrainingFault.TarTooManyMembers);
                if (header.Kind is TarKind.PaxOfNext or TarKind.PaxOfAll or TarKind.LongName or TarKind.LongTarget)
                    await ExtendAsync(header).ConfigureAwait(false);
                else
                    await AddAsync(header).ConfigureAwait(false);
            }
        }

        private async ValueTask<ReadOnlyMemory<byte>> WholeAsync(long offset, int count)
        {
            var bytes = await window.ReadAsync(offset, count).ConfigureAwait(false);
            return bytes.Length == count ? bytes : throw new InvalidDataException(TrainingFault.TarCut);
        }

        // What follows one empty block is no archive, and two archives in a row would lose the second one.
        private async ValueTask EndAsync()
        {
            var next = await window.ReadAsync(At + TarHeader.BlockBytes, TarHeader.BlockBytes).ConfigureAwait(false);
            if (extensions > 0)
                throw new InvalidDataException(TrainingFault.TarCut);
            if (!TarHeader.IsEnd(next.Span))
                throw new InvalidDataException(TrainingFault.TarGoesOn);
        }

        private async ValueTask ExtendAsync(TarHeader header)
        {
            if (++extensions > MostExtensionsInARow || header.Size > MostExtensionBytes)
                throw new InvalidDataException(TrainingFault.TarTooManyExtensions);
            var content = await WholeAsync(At + TarHeader.BlockBytes, (int)header.Size).ConfigureAwait(false);
            switch (header.Kind)
            {
                case TarKind.LongName:
                    longName = content.Span.TrimEnd((byte)0).ToArray();
                    break;
                case TarKind.PaxOfNext:
                    pax = PaxRecords.Parse(content.Span);
                    break;
                case TarKind.PaxOfAll when PaxRecords.Parse(content.Span) != default:
                    throw new InvalidDataException(TrainingFault.PaxOfAll);
            }

            At += TarHeader.BlockBytes + Padded(header.Size);
        }

        private async ValueTask AddAsync(TarHeader header)
        {
            var name = pax.Path ?? longName ?? header.Name;
            var length = pax.Size ?? header.Size;
            // Readers disagree on whether content follows such a header, so that an archive could show other members to each of them.
            if (length != 0 && header.Kind is TarKind.Folder or TarKind.Link)
                throw new InvalidDataException(TrainingFault.TarContentOfNone);
            var isSparse = pax.IsSparse;
            (longName, pax, extensions) = (null, default, 0);
            var offset = At + TarHeader.BlockBytes;
            var isCut = length > size - offset;
            if (name.Length > MostNameBytes)
                throw new InvalidDataException(TrainingFault.TarNameTooLong);
            var (text, isPlain) = NameOf(name);
            if (header.Kind != TarKind.Folder && MemberName.Split(text) is var (_, field))
            {
                MemberFlaw? flaw = header.Kind switch
                {
                    TarKind.Link => MemberFlaw.Link,
                    TarKind.Special => MemberFlaw.Special,
                    _ => isSparse || header.Kind == TarKind.Sparse ? MemberFlaw.Sparse : !isPlain ? MemberFlaw.Name : isCut ? MemberFlaw.Cut : null,
                };
                byte[]? content = null;
                if (flaw is null && MemberName.IsText(field) && length <= MostCaptionBytes)
                    content = (await WholeAsync(offset, (int)length).ConfigureAwait(false)).ToArray();
                kept += name.Length + (content?.Length ?? 0);
                if (kept > MostKeptBytes)
                    throw new InvalidDataException(TrainingFault.TarTooManyMembers);
                Members.Add(new TarMember(text, offset, length) { Flaw = flaw, Content = content });
            }

            if (isCut)
                throw new InvalidDataException(TrainingFault.TarCut);
            At = offset + Padded(length);
        }

        private static long Padded(long length) => (length + TarHeader.BlockBytes - 1) / TarHeader.BlockBytes * TarHeader.BlockBytes;
    }

    // tar writes ./NAME for the files of a folder that is named by a dot.
    private static (string Text, bool IsPlain) NameOf(byte[] utf8)
    {
        ReadOnlySpan<byte> rest = utf8;
        while (rest.StartsWith("./"u8))
            rest = rest[2..];
        string name;
        try
        {
            name = StrictText.Decode(rest);
        }
        catch (MalformedTextException)
        {
            return (StrictText.OneLine(Encoding.UTF8.GetString(rest), MostNameBytes), false);
        }

        var isPlain = !name.Any(char.IsControl) && !name.StartsWith('/') && !name.Split('/', '\\').Contains("..");
        return (StrictText.OneLine(name, MostNameBytes), isPlain);
    }
}

/// <summary>Reads parts of a tar archive.</summary>
internal interface ITarBytes
{
    /// <summary>Reads bytes; fewer than asked for only at the end of the archive.</summary>
    ValueTask<byte[]> ReadAsync(long offset, int count, CancellationToken cancellationToken);
}

/// <summary>
/// Reads headers with few requests: what lies near the last one comes with it, such as the caption beside a clip, and the contents of large members are skipped.
/// </summary>
internal sealed class TarWindow(ITarBytes source, long size, CancellationToken cancellationToken)
{
    // A request costs about as much as these bytes.
    private const int Wide = 256 << 10, Narrow = 16 << 10;

    private byte[] held = [];
    private long start;

    /// <summary>The bytes of a place; fewer than asked for only at the end.</summary>
    public async ValueTask<ReadOnlyMemory<byte>> ReadAsync(long offset, int count)
    {
        count = (int)Math.Clamp(size - offset, 0, count);
        if (count == 0)
            return default;
        if (offset < start || offset + count > start + held.Length)
        {
            var isNear = held.Length > 0 && offset >= start && offset - (start + held.Length) <= Wide;
            var length = (int)Math.Min(Math.Max(count, isNear ? Wide : Narrow), size - offset);
            held = await source.ReadAsync(offset, length, cancellationToken).ConfigureAwait(false);
            start = offset;
        }

        return held.AsMemory((int)(offset - start), Math.Min(count, held.Length - (int)(offset - start)));
    }
}

/// <summary>Names of the members of an item, which share the part up to the first dot: <c>KEY.FIELD</c>, such as <c>000001.mp4</c> and <c>000001.txt</c>.</summary>
internal static class MemberName
{
    /// <summary>Splits a name; null for names without a key or a field, such as hidden files.</summary>
    public static (string Key, string Field)? Split(string name)
    {
        var file = name.LastIndexOf('/') + 1;
        var dot = name.IndexOf('.', file);
        return dot > file && dot + 1 < name.Length ? (name[..dot], name[(dot + 1)..].ToLowerInvariant()) : null;
    }

    /// <summary>Whether a field is a caption.</summary>
    public static bool IsText(string field) => field is "txt" or "json";
}
