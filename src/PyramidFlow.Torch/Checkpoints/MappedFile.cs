using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;

namespace PyramidFlow.Torch.Checkpoints;

/// <summary>
/// A file mapped into memory, copy-on-write: writing to a tensor over it does not change the file. The map stays until this
/// object and every tensor over it are disposed.
/// </summary>
internal sealed unsafe class MappedFile : IDisposable
{
    private readonly MemoryMappedFile map;
    private readonly MemoryMappedViewAccessor view;
    private readonly byte* start;
    private int references = 1;
    private int disposed;

    private MappedFile(string path, FileStream stream)
    {
        Path = path;
        Length = stream.Length;
        map = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        try
        {
            view = map.CreateViewAccessor(0, Length, MemoryMappedFileAccess.CopyOnWrite);
            view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        }
        catch
        {
            view?.Dispose();
            map.Dispose();
            throw;
        }
    }

    internal string Path { get; }

    internal long Length { get; }

    /// <summary>Maps a file of at least <paramref name="minimum"/> bytes.</summary>
    /// <exception cref="CheckpointException">The file is missing, cannot be read, or is shorter.</exception>
    internal static MappedFile Open(string path, int minimum)
    {
        try
        {
            // The length of the open file; a FileInfo would return that of a link.
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
            if (stream.Length < minimum)
                throw CheckpointFault.TooShort(path, stream.Length);
            var file = new MappedFile(path, stream);
            if (!file.IsLfsPointer())
                return file;
            file.Dispose();
            throw CheckpointFault.LfsPointer(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw e is FileNotFoundException or DirectoryNotFoundException ? CheckpointFault.Missing(path, e)
                : Directory.Exists(path) ? CheckpointFault.WeightsIsFolder(path, e)
                : CheckpointFault.Unreadable(path, e);
        }
    }

    /// <summary>Address of a byte; the caller checks that it lies in the file.</summary>
    internal nint Address(long offset)
    {
        ObjectDisposedException.ThrowIf(disposed != 0, typeof(MappedFile));
        return (nint)(start + offset);
    }

    /// <summary>Bytes of the file; the caller checks that they lie in it.</summary>
    internal ReadOnlySpan<byte> Bytes(long offset, long length) => new((void*)Address(offset), checked((int)length));

    /// <summary>A row-major tensor over the pages of the file, or a copy if it is not aligned to the element type.</summary>
    internal Tensor Tensor(long offset, long[] shape, ElementType type)
    {
        var address = Address(offset);
        if (shape.Contains(0))
            return Torch.Tensor.Empty(shape, type);
        Interlocked.Increment(ref references);
        var tensor = Torch.Tensor.FromMemory(address, shape, type, new Lease(this));
        if (address % type.Size() == 0)
            return tensor;
        using (tensor)
            return tensor.Clone();
    }

    /// <summary>Starts to read bytes that will be needed soon.</summary>
    internal void Prefetch(long offset, long length) => PageAdvice.Prefetch(Address(offset), length);

    /// <summary>Drops pages from memory until they are touched again. Changes to them are lost.</summary>
    internal void Drop(long offset, long length) => PageAdvice.Drop(Address(offset), length);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref disposed, 1) == 0)
            Release();
    }

    // git leaves a pointer in place of a large file when git-lfs is not installed.
    private bool IsLfsPointer() => Bytes(0, Math.Min(Length, 64)).StartsWith("version https://git-lfs"u8);

    private void Release()
    {
        if (Interlocked.Decrement(ref references) > 0)
            return;
        view.SafeMemoryMappedViewHandle.ReleasePointer();
        view.Dispose();
        map.Dispose();
    }

    private sealed class Lease(MappedFile file) : IDisposable
    {
        public void Dispose() => file.Release();
    }
}

/// <summary>Advises Linux which pages of a mapped file are needed soon or no longer; does nothing on other systems.</summary>
internal static unsafe partial class PageAdvice
{
    private const int WillNeed = 3, DontNeed = 4;

    /// <summary>Starts to read all pages that overlap the range; returns at once.</summary>
    internal static void Prefetch(nint address, long length) => Advise(address, length, WillNeed, outward: true);

    /// <summary>
    /// Drops the pages that lie wholly in the range; the next access reads them again. Pages at the edges stay, because their other
    /// bytes may have been changed.
    /// </summary>
    internal static void Drop(nint address, long length) => Advise(address, length, DontNeed, outward: false);

    // Ignores errors: advice affects only speed and memory.
    private static void Advise(nint address, long length, int advice, bool outward)
    {
        if (!OperatingSystem.IsLinux())
            return;
        nint page = Environment.SystemPageSize;
        var (start, end) = outward
            ? (address / page * page, (address + (nint)length + page - 1) / page * page)
            : ((address + page - 1) / page * page, (address + (nint)length) / page * page);
        if (end > start)
            _ = madvise((void*)start, (nuint)(end - start), advice);
    }

    // Not posix_madvise, whose DONTNEED does nothing in glibc.
    [LibraryImport("libc")]
    private static partial int madvise(void* address, nuint length, int advice);
}
