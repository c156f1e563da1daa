using PyramidFlow.Hub.Downloads;
using static System.FormattableString;

namespace PyramidFlow.Training;

/// <content>Shards of training data. Names of shards hold no user, no password and no query.</content>
internal static partial class TrainingFault
{
    /// <summary>Code of a shard that is not there.</summary>
    public const string ShardMissingCode = "shard_missing";

    /// <summary>Reason of a file that is no tar archive, or of one that is damaged where a header belongs.</summary>
    public const string NoTarHeader = "there is no header of tar";

    /// <summary>Reason of a size that is negative, no number, or larger than any file.</summary>
    public const string TarSizeInvalid = "a member has an impossible size";

    /// <summary>Reason of a folder or link with content.</summary>
    public const string TarContentOfNone = "a folder or link has content";

    /// <summary>Reason of pax records that cannot be read.</summary>
    public const string PaxInvalid = "the pax records of a member are malformed";

    /// <summary>Reason of an archive that names or sizes all its members at once.</summary>
    public const string PaxOfAll = "pax records give all members one name or size";

    /// <summary>Reason of an archive that is not whole.</summary>
    public const string TarCut = "it ends without the end of an archive";

    /// <summary>Reason of an empty file.</summary>
    public const string TarEmpty = "it is empty";

    /// <summary>Reason of two archives in one file, or of one that is overwritten in part.</summary>
    public const string TarGoesOn = "more follows after its end";

    /// <summary>Reason of an archive that never comes to a member.</summary>
    public const string TarTooManyExtensions = "a member has too many or too long extra headers";

    /// <summary>Reason of an archive of too many members.</summary>
    public const string TarTooManyMembers = "it has more members than any shard (1000000, or 256 MiB of names and captions)";

    /// <summary>Reason of a name that is too long.</summary>
    public const string TarNameTooLong = "a member has a name of more than 4096 bytes";

    /// <summary>Reason of a caption that is too long.</summary>
    public const string CaptionTooLong = "it is longer than 256 KiB, which no caption is";

    private const string MakeAgain = "make it again with tar, without compression";

    // Names of shards.

    public static TrainingException ShardAddressInvalid(string address) =>
        new("shard_address_invalid", $"{address} is no address of shards: use one that ends with .tar, such as https://example.org/clips-{{000000..000099}}.tar", null, ("address", address));

    public static TrainingException ShardsOfOneName(string source) =>
        new("shards_of_one_name", $"the shards of {source} have one name and differ behind the ? only: give each a path of its own, with the range before the ?", null, ("source", source));

    public static TrainingException ShardRangeInvalid(string source, string range) =>
        new("shard_range_invalid", $"the range {range} of {source} is none: write the smaller number first, both with the same number of digits, such as {{000000..000099}}", null,
            ("source", source), ("range", range));

    public static TrainingException ShardsTooMany(string source, int most) =>
        new("shards_too_many", Invariant($"{source} stands for more than {most} shards: name fewer, and make them larger"), null, ("source", source), ("most", most));

    // A shard as a whole.

    /// <summary>The error for a shard that is not there.</summary>
    /// <param name="shard">The shard.</param>
    /// <param name="status">Status of HTTP; null for a file.</param>
    /// <param name="inner">The cause, or null.</param>
    public static TrainingException ShardMissing(string shard, int? status, Exception? inner = null) =>
        new(ShardMissingCode, Invariant($"{shard} does not exist{(status is null ? "" : Invariant($" ({status})"))}"), inner, ("file", shard), ("status", status));

    public static TrainingException ShardRefused(string shard, int status) =>
        new("shard_refused", Invariant($"the server refuses {shard} ({status}): check the address, and the user and password in it"), null, ("file", shard), ("status", status));

    public static TrainingException ShardRedirect(string shard, string host, string where) =>
        new("shard_redirect", $"{host} sends {shard} on {where}: name the address where it is", null, ("file", shard), ("host", host));

    public static TrainingException ShardWithoutRanges(string shard, string host, int status) =>
        new("shard_without_ranges", Invariant($"{host} serves no parts of {shard} (it answers {status}, not 206): use a server that serves ranges, or download the shards"), null,
            ("file", shard), ("host", host), ("status", status));

    public static TrainingException ShardUnreachable(string shard, HubException inner) =>
        new("shard_unreachable", $"{shard} cannot be read: {inner.Message}", inner, ("file", shard), ("reason", inner.Message));

    public static TrainingException ShardUnreadable(string shard, string reason, Exception? inner) =>
        new("shard_unreadable", $"{shard} cannot be read: {reason}", inner, ("file", shard), ("reason", reason));

    public static TrainingException NoShard(string shard, string reason) =>
        new("not_a_shard", $"{shard} is no tar archive: {reason}; {MakeAgain}", null, ("file", shard), ("reason", reason));

    public static TrainingException ShardWithoutItems(string shard) =>
        new("shard_without_items", $"{shard} holds no items: name the files of an item by what stands before the first dot, such as 000001.mp4 and 000001.txt", null, ("file", shard));

    /// <summary>The error for a shard of which the end is unknown; the items before are whole.</summary>
    /// <param name="shard">The shard.</param>
    /// <param name="offset">Byte from which on nothing is known.</param>
    /// <param name="reason">What is wrong there.</param>
    public static TrainingException ShardDamaged(string shard, long offset, string reason) =>
        new("shard_damaged", Invariant($"{shard} is damaged at byte {offset}: {reason}; what follows is left out: {MakeAgain}"), null, ("file", shard), ("offset", offset), ("reason", reason));

    /// <summary>The error for a shard of another version than the one that is indexed.</summary>
    /// <param name="shard">The shard.</param>
    /// <param name="before">The indexed version.</param>
    /// <param name="now">The version that is there.</param>
    public static TrainingException ShardChanged(string shard, string before, string now) =>
        new("shard_changed", $"{shard} has changed since it was indexed (then {before}, now {now}): put the old one back, or run data check, which takes it as it is", null,
            ("file", shard), ("before", before), ("now", now));

    public static TrainingException SpoolNotWritten(string folder, Exception inner) =>
        new("spool_not_written", $"a member of a shard cannot be put into {folder}: {inner.Message}; make room there, or set TMPDIR to another folder", inner,
            ("folder", folder), ("reason", inner.Message));

    public static TrainingException TextOfShards(string source) =>
        new("text_of_shards", $"extract text makes no annotation file of the shards {source}: run extract latents on them, and extract text on its annotation file", null, ("file", source));

    // Members of an item.

    public static TrainingException MemberLink(string member) =>
        Member("member_is_link", member, "is a link, which has no content: pack the files themselves, with tar --dereference --hard-dereference");

    public static TrainingException MemberSpecial(string member) => Member("member_no_file", member, "is no file but a device or something of an unknown kind: leave it out");

    public static TrainingException MemberSparse(string member) => Member("member_sparse", member, "is stored without its empty parts: pack it without --sparse");

    public static TrainingException MemberNamed(string member) =>
        Member("member_name_invalid", member, "has a name that is absolute, leads out of its folder or is no plain UTF-8: rename it");

    public static TrainingException MemberCut(string member) => Member("member_cut", member, $"goes on after the end of the shard, which is cut short: {MakeAgain}");

    public static TrainingException MemberRepeated(string member) => Member("member_repeated", member, "is there twice: name the files of each item by a key of its own");

    public static TrainingException MemberOfTwo(string member, string other) =>
        new("member_of_two", $"{member} and {other} are media or latents of one item: give it one of them, or another key", null, ("file", member), ("other", other));

    public static TrainingException MemberDotted(string member) =>
        Member("member_name_dotted", member, "belongs to no item, because its key ends at the first dot: rename it, such as to 000001.mp4");

    public static TrainingException MemberTooLarge(string member, long bytes, long most) =>
        new("member_too_large", Invariant($"{member} has {bytes} bytes, and a member of a shard has at most {most}: cut it into clips"), null,
            ("file", member), ("bytes", bytes), ("most", most));

    private static TrainingException Member(string code, string member, string reason) => new(code, $"{member} {reason}", null, ("file", member));
}
