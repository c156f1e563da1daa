using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace PyramidFlow.Training.Shards;

/// <summary>Where a shard is: a path, or an address of HTTP.</summary>
internal sealed partial class ShardAddress
{
    private const string Ending = ".tar";
    private const int MostShards = 100_000;

    private ShardAddress(string name, Uri? remote) => (Name, Remote) = (name, remote);

    /// <summary>Full path, or the address without user, password and query, which may be secret.</summary>
    public string Name { get; }

    /// <summary>The address as it is requested, without user and password; null for a file.</summary>
    public Uri? Remote { get; }

    /// <summary>User and password of the address as HTTP sends them (Basic); null without any.</summary>
    public string? Credentials { get; private init; }

    /// <summary>Whether a source of items is one or more shards.</summary>
    public static bool IsShard(string source) => IsRemote(source) || (source.EndsWith(Ending, StringComparison.OrdinalIgnoreCase) && !Directory.Exists(source));

    /// <summary>Whether a source is an address of HTTP.</summary>
    public static bool IsRemote(string source) =>
        source.StartsWith("https://", StringComparison.OrdinalIgnoreCase) || source.StartsWith("http://", StringComparison.OrdinalIgnoreCase);

    /// <summary>A source without what may be secret in it, for people and for files.</summary>
    public static string Shown(string source)
    {
        if (!IsRemote(source))
            return source;
        var start = source.IndexOf("://", StringComparison.Ordinal) + 3;
        // A password may have characters that would have to be escaped, so that all up to the last @ is left out.
        var host = Math.Max(start, source.LastIndexOf('@') + 1);
        var end = source.IndexOfAny(['?', '#'], host) is var query and >= 0 ? query : source.Length;
        return source[..start] + source[host..end];
    }

    /// <summary>The shards of a source; each range such as <c>{000000..000099}</c> stands for all of its numbers.</summary>
    /// <exception cref="TrainingException">An address or a range is invalid, there are too many shards, or they differ in their query only.</exception>
    public static IReadOnlyList<ShardAddress> Expand(string source)
    {
        List<string> all = [""];
        var at = 0;
        foreach (Match range in Ranges().Matches(source))
        {
            var numbers = Numbers(source, range);
            if ((long)all.Count * numbers.Count > MostShards)
                throw TrainingFault.ShardsTooMany(Shown(source), MostShards);
            var before = source[at..range.Index];
            all = [.. all.SelectMany(start => numbers.Select(number => start + before + number))];
            at = range.Index + range.Length;
        }

        var shards = all.Select(start => Parse(start + source[at..])).ToList();
        return shards.DistinctBy(shard => shard.Name).Count() == shards.Count ? shards : throw TrainingFault.ShardsOfOneName(Shown(source));
    }

    private static ShardAddress Parse(string source)
    {
        if (!IsRemote(source))
            return new ShardAddress(Path.GetFullPath(source), null);
        if (!Uri.TryCreate(source, UriKind.Absolute, out var address) || address.Host.Length == 0 || !address.AbsolutePath.EndsWith(Ending, StringComparison.OrdinalIgnoreCase))
            throw TrainingFault.ShardAddressInvalid(Shown(source));
        var remote = new UriBuilder(address) { UserName = "", Password = "", Fragment = "" }.Uri;
        return new ShardAddress(remote.GetLeftPart(UriPartial.Path), remote)
        {
            Credentials = address.UserInfo.Length > 0 ? Convert.ToBase64String(Encoding.UTF8.GetBytes(Uri.UnescapeDataString(address.UserInfo))) : null,
        };
    }

    private static List<string> Numbers(string source, Match range)
    {
        var (first, last) = (range.Groups[1].Value, range.Groups[2].Value);
        // Without zeros in front the numbers may have different lengths: {8..12}.
        var isPadded = first.Length == last.Length;
        var (from, to) = (int.Parse(first, CultureInfo.InvariantCulture), int.Parse(last, CultureInfo.InvariantCulture));
        if (from > to || (!isPadded && (first[0] == '0' && first.Length > 1)))
            throw TrainingFault.ShardRangeInvalid(Shown(source), range.Value);
        if (to - from >= MostShards)
            throw TrainingFault.ShardsTooMany(Shown(source), MostShards);
        return [.. Enumerable.Range(from, to - from + 1).Select(number => number.ToString(CultureInfo.InvariantCulture).PadLeft(isPadded ? first.Length : 0, '0'))];
    }

    [GeneratedRegex(@"\{([0-9]{1,9})\.\.([0-9]{1,9})\}", RegexOptions.CultureInvariant)]
    private static partial Regex Ranges();
}
