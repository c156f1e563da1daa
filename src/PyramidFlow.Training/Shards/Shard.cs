using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Serialization;
using PyramidFlow.Media;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Shards;

/// <summary>What the header of a member tells, kept so that it is read once.</summary>
internal sealed record MemberHeader
{
    /// <summary>Width of a video or picture, in pixels.</summary>
    public int Width { get; init; }

    /// <summary>Height of a video or picture, in pixels.</summary>
    public int Height { get; init; }

    /// <summary>Frames in a second of a video.</summary>
    public double Fps { get; init; }

    /// <summary>Number of frames of a video, where it is stated.</summary>
    public long? Frames { get; init; }

    /// <summary>Identity of the model that latents come from, where they say it.</summary>
    public string? Encoder { get; init; }

    /// <summary>Length of a video, in units of 100 ns.</summary>
    public long Ticks { get; init; }

    /// <summary>Shape of latents, [1, c, t, h, w].</summary>
    public long[]? Shape { get; init; }
}

/// <summary>The index of a shard: what lies where in which version.</summary>
/// <param name="Shard">Name of the shard.</param>
/// <param name="Version">The version that was read.</param>
/// <param name="Members">All members with a name of the layout, in their order.</param>
/// <param name="Damage">Where the shard ends before its end; null where it is whole.</param>
internal sealed record ShardIndex(string Shard, ShardVersion Version, IReadOnlyList<TarMember> Members, TarDamage? Damage)
{
    private const long MostBytes = 1L << 30;

    /// <summary>Path of the file of an index; null where none is kept.</summary>
    public static string? PathOf(string shard, ShardOptions options) => options.IndexFolder is null ? null
        : System.IO.Path.Combine(options.IndexFolder, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(shard)))[..32] + ".json");

    /// <summary>Reads an index; null where there is none that can be used, and the shard is read again.</summary>
    public static ShardIndex? Read(string? path, string shard)
    {
        if (path is null || !File.Exists(path))
            return null;
        try
        {
            var index = StrictJson.Deserialize(StrictText.ReadBytes(path, MostBytes), ShardIndexJson.Default.ShardIndex);
            return index.Shard == shard && index.Members.All(member => member.Offset >= 0 && member.Size >= 0 && (member.Flaw is not null || member.Size <= index.Version.Size - member.Offset))
                ? index : null;
        }
        catch (Exception e) when (e is MalformedTextException or IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Writes the index. An existing file is replaced when the new one is complete; without room for it the shard is read again the next time.</summary>
    public void Write(string? path)
    {
        if (path is null)
            return;
        try
        {
            using var file = PartialFile.Create(path);
            file.Stream.Write(Encoding.UTF8.GetBytes(ReadableJson.Serialize(this, ShardIndexJson.Default.ShardIndex)));
            file.Commit();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or MediaException)
        {
            // A cache that cannot be written costs time and nothing else.
        }
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(ShardIndex))]
internal sealed partial class ShardIndexJson : JsonSerializerContext;

/// <summary>A shard whose members are known, and are read one by one in any order.</summary>
internal sealed class Shard
{
    private readonly ShardSource source;
    private readonly ShardOptions options;
    private int newHeaders;

    private Shard(ShardSource source, ShardIndex index, ShardOptions options) => (this.source, Index, this.options) = (source, index, options);

    /// <summary>What lies where.</summary>
    public ShardIndex Index { get; }

    /// <summary>Name of the shard.</summary>
    public string Name => source.Name;

    /// <summary>Opens a shard; reads its headers unless an earlier run has kept them.</summary>
    /// <exception cref="TrainingException">It is missing, refused or unreachable, no shard, or another version than an earlier run has indexed.</exception>
    public static async Task<Shard> OpenAsync(ShardAddress address, ShardOptions options, CancellationToken cancellationToken)
    {
        var source = ShardSource.Create(address, options);
        var version = await source.FindVersionAsync(cancellationToken).ConfigureAwait(false);
        var path = ShardIndex.PathOf(address.Name, options);
        if (ShardIndex.Read(path, address.Name) is { } kept)
        {
            if (kept.Version.IsSame(version))
                return new Shard(source, kept, options);
            if (!options.TakesChanges)
                throw TrainingFault.ShardChanged(address.Name, kept.Version.ToString(), version.ToString());
        }

        var (members, damage) = await TarScanner.ScanAsync(source, version.Size, cancellationToken).ConfigureAwait(false);
        if (damage is { Offset: 0 })
            throw TrainingFault.NoShard(address.Name, version.Size == 0 ? TrainingFault.TarEmpty : damage.Reason);
        var index = new ShardIndex(address.Name, version, members, damage);
        index.Write(path);
        return new Shard(source, index, options);
    }

    /// <summary>A shard as an earlier run has indexed it; null where none did. Asks neither disk nor server whether it is the same.</summary>
    public static Shard? FindKnown(ShardAddress address, ShardOptions options) =>
        ShardIndex.Read(ShardIndex.PathOf(address.Name, options), address.Name) is { } index ? new Shard(ShardSource.Create(address, options), index, options) : null;

    /// <summary>Puts a member into a file of its own.</summary>
    /// <param name="member">The member.</param>
    /// <param name="cancellationToken">Cancels the reading.</param>
    /// <returns>The file, deleted when it is disposed; null where the member is larger than the spool.</returns>
    /// <exception cref="TrainingException">The shard is missing, refused, unreachable, or another version than indexed.</exception>
    public async Task<SpoolFile?> SpoolAsync(TarMember member, CancellationToken cancellationToken) => member.Size > options.Spool.Most ? null
        : await options.Spool.AddAsync(Path.GetExtension(member.Name), member.Size, async stream =>
        {
            var copied = await source.CopyAsync(member.Offset, member.Size, stream, cancellationToken).ConfigureAwait(false);
            if (copied != member.Size)
                throw TrainingFault.ShardUnreadable(Name, TrainingFault.TarCut, null);
        }, cancellationToken).ConfigureAwait(false);

    /// <summary>Largest member that <see cref="SpoolAsync"/> takes.</summary>
    public long MostBytes => options.Spool.Most;

    /// <summary>Keeps what the header of a member tells.</summary>
    public void Keep(TarMember member, MemberHeader header)
    {
        member.Header = header;
        Interlocked.Increment(ref newHeaders);
    }

    /// <summary>Writes the index if there is more to keep than it holds.</summary>
    public void Save()
    {
        if (Interlocked.Exchange(ref newHeaders, 0) > 0)
            Index.Write(ShardIndex.PathOf(Name, options));
    }
}
