using System.Collections.Concurrent;

namespace PyramidFlow.Torch;

/// <summary>
/// Copies tensors from host memory, such as mapped pages of a checkpoint, to a GPU while it computes. Two page-locked buffers
/// alternate on their own streams: one is filled while the other is sent.
/// </summary>
internal sealed class DeviceUpload
{
    private const long BufferBytes = 32L << 20;

    private static readonly ConcurrentDictionary<int, Lazy<DeviceUpload>> Known = new();

    private readonly Device device;
    private readonly Lock gate = new();
    private readonly (DeviceStream Stream, Tensor Buffer)[] lanes;

    private DeviceUpload(Device device)
    {
        this.device = device;
        lanes = [Lane(), Lane()];

        (DeviceStream, Tensor) Lane() => (new DeviceStream(device), TensorScope.Release(Tensor.PageLocked([BufferBytes])));
    }

    /// <summary>The uploader of a GPU; it lives as long as the process.</summary>
    internal static DeviceUpload To(Device device) =>
        Known.GetOrAdd(Math.Max(0, device.Index), index => new Lazy<DeviceUpload>(() => new DeviceUpload(new Device(DeviceType.Cuda, index)))).Value;

    /// <summary>Copies a contiguous tensor from host memory to the device; the copy is complete on return.</summary>
    internal Tensor Send(Tensor source)
    {
        lock (gate)
        {
            using var scope = new TensorScope();
            Tensor target;
            // Allocated on an upload stream: memory freed by other streams may still be in use by their queued work.
            using (lanes[0].Stream.Use())
                target = Tensor.Empty(source.Shape, source.Type, device);
            lanes[0].Stream.Synchronize();
            var (from, to) = (Bytes(source), Bytes(target));
            var total = from.Size(0);
            for (var (at, lane) = (0L, 0); at < total; at += BufferBytes, lane = 1 - lane)
            {
                using var inner = new TensorScope();
                var (stream, buffer) = lanes[lane];
                var count = Math.Min(BufferBytes, total - at);
                var part = buffer.Narrow(0, 0, count);
                stream.Synchronize();
                part.CopyFrom(from.Narrow(0, at, count));
                using var turn = stream.Use();
                to.Narrow(0, at, count).CopyFrom(part, wait: false);
            }

            lanes[0].Stream.Synchronize();
            lanes[1].Stream.Synchronize();
            return scope.Keep(target);
        }
    }

    private static Tensor Bytes(Tensor tensor) => tensor.Reshape(-1).ViewAs(ElementType.UInt8);
}

/// <summary>
/// A CUDA stream: a queue of work that runs in order, beside other streams. Other streams may read a tensor made while this one
/// is <see cref="Use">current</see> once <see cref="Synchronize"/> has returned.
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

    /// <summary>Makes the stream current on this thread until the result is disposed.</summary>
    internal IDisposable Use() => new Turn(handle);

    /// <summary>Waits until the work of the stream is done.</summary>
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
