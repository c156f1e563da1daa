// Devices other than the CPU: their memory and their streams. The code uses interfaces of c10 that are the same for all
// devices, so it needs no CUDA headers and builds with a libtorch for CPUs too.
#include "shim.h"

#include <ATen/Context.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/version.h>

#define PF_LIBTORCH(major, minor) \
    (TORCH_VERSION_MAJOR > major || (TORCH_VERSION_MAJOR == major && TORCH_VERSION_MINOR >= minor))

// Since 2.10 the allocator of a device reports its memory through an interface that is the same for all devices.
#if PF_LIBTORCH(2, 10)
#define PF_DEVICE_STATISTICS 1
#include <c10/core/CachingDeviceAllocator.h>
#endif

namespace {

constexpr auto kind = c10::DeviceType::CUDA;

c10::impl::VirtualGuardImpl guard() { return c10::impl::VirtualGuardImpl(kind); }

// An index below 0 means the current device.
c10::Device place(int index) {
    return index < 0 ? guard().getDevice() : c10::Device(kind, static_cast<c10::DeviceIndex>(index));
}

// The allocator of a device exists after the first tensor on it.
c10::Device awake(int index) { return at::empty({1}, at::TensorOptions().dtype(at::kByte).device(place(index))).device(); }

}  // namespace

PF_API int pf_has_cuda() {
    return pf::guarded<int>(0, [] { return static_cast<int>(at::globalContext().hasCUDA()); });
}

// Convolutions of float32 are computed in float32; libtorch's default rounds their inputs to 10 bits (TF32). cuDNN's fused
// attention is off, because it needs 60 ms of preparation for each new shape, and a video has hundreds of shapes.
PF_API void pf_cuda_settings() {
    at::globalContext().setAllowTF32CuDNN(false);
#if PF_LIBTORCH(2, 5)
    at::globalContext().setSDPUseCuDNN(false);
#endif
}

// Reports bytes of tensors now and at most, bytes kept for reuse, and free and total bytes of the device. Returns 1 where this
// libtorch cannot report them.
PF_API int pf_cuda_memory(int index, int64_t* in_use, int64_t* held, int64_t* peak, int64_t* free, int64_t* total) {
    return pf::guarded<int>(-1, [&] {
#ifdef PF_DEVICE_STATISTICS
        auto device = awake(index);
        auto* allocator = c10::getDeviceAllocator(kind);
        auto statistics = allocator->getDeviceStats(device.index());
        constexpr auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
        auto memory = allocator->getMemoryInfo(device.index());
        *in_use = statistics.allocated_bytes[all].current;
        *held = statistics.reserved_bytes[all].current - *in_use;
        *peak = statistics.allocated_bytes[all].peak;
        *free = static_cast<int64_t>(memory.first);
        *total = static_cast<int64_t>(memory.second);
        return 0;
#else
        return 1;
#endif
    });
}

PF_API int pf_cuda_reset_peak(int index) {
    return pf::guarded<int>(-1, [&] {
#ifdef PF_DEVICE_STATISTICS
        auto device = awake(index);
        c10::getDeviceAllocator(kind)->resetPeakStats(device.index());
#endif
        return 0;
    });
}

// Frees the memory that is kept for reuse on all devices.
PF_API int pf_cuda_trim() {
    return pf::guarded<int>(-1, [&] {
#ifdef PF_DEVICE_STATISTICS
        if (auto* allocator = c10::getDeviceAllocator(kind); allocator->initialized()) allocator->emptyCache();
#endif
        return 0;
    });
}

// Waits until all work that this thread has launched on the device is done.
PF_API int pf_cuda_synchronize(int index) {
    return pf::guarded<int>(-1, [&] {
        auto streams = guard();
        streams.synchronizeStream(streams.getStream(place(index)));
        return 0;
    });
}

// Creates a stream other than the default one; pf_stream_free frees it.
PF_API void* pf_stream_new(int index) {
    return pf::guarded<void*>(nullptr, [&] { return new c10::Stream(guard().getStreamFromGlobalPool(awake(index))); });
}

// Makes the stream the current one of this thread. Returns the previous stream, which the caller sets again and frees.
PF_API void* pf_stream_exchange(void* stream) {
    return pf::guarded<void*>(
        nullptr, [&] { return new c10::Stream(guard().exchangeStream(*static_cast<c10::Stream*>(stream))); });
}

PF_API int pf_stream_synchronize(void* stream) {
    return pf::guarded<int>(-1, [&] {
        guard().synchronizeStream(*static_cast<c10::Stream*>(stream));
        return 0;
    });
}

PF_API void pf_stream_free(void* stream) { delete static_cast<c10::Stream*>(stream); }
