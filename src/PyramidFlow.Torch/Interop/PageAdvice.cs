using System.Runtime.InteropServices;

namespace PyramidFlow.Torch.Interop;

/// <summary>Tells the operating system which pages of a mapped file are wanted soon or no longer; elsewhere than on Linux it is not told.</summary>
internal static unsafe partial class PageAdvice
{
    private const int WillNeed = 3, DontNeed = 4;

    /// <summary>Begins to read whole and partial pages from the disk; returns at once.</summary>
    internal static void Prefetch(nint address, long length) => Advise(address, length, WillNeed, outward: true);

    /// <summary>
    /// Takes pages out of this process's memory; the next touch reads them again. Pages that only partly lie in the range stay,
    /// for what else is on them may have been written.
    /// </summary>
    internal static void Drop(nint address, long length) => Advise(address, length, DontNeed, outward: false);

    // Advice: that it was not followed changes nothing but speed and memory.
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

    // posix_madvise would not do: its DONTNEED does nothing in glibc.
    [LibraryImport("libc")]
    private static partial int madvise(void* address, nuint length, int advice);
}
