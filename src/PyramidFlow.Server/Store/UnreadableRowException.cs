namespace PyramidFlow.Server.Store;

/// <summary>A row of the queue cannot be read: it is damaged, or was written by a program that knows more.</summary>
/// <param name="id">Id of its video.</param>
/// <param name="reason">What is wrong, for whoever runs the service.</param>
/// <param name="inner">What lies behind it.</param>
internal sealed class UnreadableRowException(string id, string reason, Exception inner) : Exception($"{id}: {reason}", inner)
{
    public string Id { get; } = id;

    public string Reason { get; } = reason;
}

/// <summary>The whole store is of a newer version than this program knows.</summary>
/// <param name="version">Version of the store.</param>
public sealed class NewerStoreException(long version)
    : Exception($"the queue was last used by a newer version of this program (its tables are version {version}, this program knows up to {JobSchema.Version}): start that version, or use another --data or --database");
