using PyramidFlow.Torch.Interop;

namespace PyramidFlow.Torch;

/// <summary>
/// Work of a GPU that runs beside other work, in the order it was asked for. A tensor made while a stream is
/// <see cref="Use">used</see> may be read by other streams once <see cref="Synchronize"/> has returned.
/// </summary>
internal sealed class DeviceStream : IDisposable
{
    private nint handle;

    internal DeviceStream(Device device)
    {
        TorchRuntime.EnsureStarted();
        handle = Native.pf_stream_new(device.Index);
        if (handle == 0)
            throw Native.Error($"no stream on {device}");
    }

    /// <summary>This thread's work goes to the stream until what is returned is disposed.</summary>
    internal IDisposable Use() => new Turn(handle);

    /// <summary>Waits until its work is done.</summary>
    internal void Synchronize()
    {
        if (Native.pf_stream_synchronize(handle) < 0)
            throw Native.Error("work on a stream failed");
    }

    public void Dispose()
    {
        Native.pf_stream_free(handle);
        handle = 0;
    }

    private sealed class Turn : IDisposable
    {
        private readonly nint before;

        internal Turn(nint stream)
        {
            before = Native.pf_stream_exchange(stream);
            if (before == 0)
                throw Native.Error("the stream could not be changed");
        }

        public void Dispose()
        {
            Native.pf_stream_free(Native.pf_stream_exchange(before));
            Native.pf_stream_free(before);
        }
    }
}
