using PyramidFlow.Server.Jobs;

namespace PyramidFlow.Server.Files;

/// <summary>A stream that is refused as soon as it turns out longer than allowed, whatever its sender said before.</summary>
/// <param name="inner">The bytes; stays open.</param>
/// <param name="most">How many are allowed.</param>
/// <param name="limit">The limit to name, when some were read before.</param>
internal sealed class LimitedStream(Stream inner, long most, long? limit = null) : Stream
{
    private long read;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position { get => read; set => throw new NotSupportedException(); }

    public override int Read(byte[] buffer, int offset, int count) => Count(inner.Read(buffer, offset, count));

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        Count(await inner.ReadAsync(buffer, cancellationToken).ConfigureAwait(false));

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    private int Count(int bytes)
    {
        read += bytes;
        return read <= most ? bytes
            : throw new JobException(JobFault.TooLarge, $"the file is larger than {(limit ?? most) >> 20} MiB: send a smaller one") { Parameter = "input_reference" };
    }
}
