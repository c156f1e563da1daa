using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>A stream that is refused as soon as it turns out longer than allowed, whatever its sender said before.</summary>
/// <param name="inner">The bytes; stays open.</param>
/// <param name="most">How many are allowed.</param>
/// <param name="limit">The limit to name, when some were read before.</param>
internal sealed class LimitedStream(Stream inner, long most, long? limit = null) : ReadOnlyStream
{
    private long read;

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var bytes = await inner.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
        read += bytes;
        return read <= most ? bytes
            : throw new JobException(JobFault.TooLarge, $"the file is larger than {(limit ?? most) >> 20} MiB: send a smaller one") { Parameter = "input_reference" };
    }
}
