// A caching CPU allocator. malloc gives every large block back to the system when it is freed, so each operator pays
// page faults for its output; keeping freed blocks makes element-wise work several times faster.
#include "shim.h"

#include <c10/core/CPUAllocator.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

constexpr size_t alignment = 64;
constexpr size_t header = alignment;           // holds the block's size class in front of the data
constexpr size_t smallest_class = 4096;        // malloc keeps smaller blocks well enough by itself

struct Cache {
    std::mutex mutex;
    std::unordered_map<size_t, std::vector<void*>> free_blocks;
    size_t held = 0;                           // bytes in free_blocks
    size_t cap = size_t(512) << 20;
    std::atomic<int64_t> in_use{0};            // bytes handed out
    std::atomic<int64_t> peak{0};
    std::atomic<int64_t> limit{0};             // most bytes handed out at a time; 0 is no limit
};

[[noreturn]] void refuse(size_t bytes) {
    throw std::runtime_error("out of memory: " + std::to_string((bytes >> 20) + 1) + " MB more were needed");
}

// Never destroyed: tensors may be freed after static destructors have begun.
Cache& cache() {
    static auto* instance = new Cache();
    return *instance;
}

// Eight classes for each power of two, so at most an eighth of a block is wasted.
size_t size_class(size_t bytes) {
    if (bytes <= smallest_class) return (bytes + alignment - 1) / alignment * alignment;
    size_t step = size_t(1) << (63 - __builtin_clzll(bytes) - 3);
    return (bytes + step - 1) / step * step;
}

void* take(size_t bytes) {
    size_t size = size_class(bytes == 0 ? 1 : bytes);
    auto& c = cache();
    void* block = nullptr;
    int64_t limit = c.limit.load();
    if (limit > 0 && c.in_use.load() + static_cast<int64_t>(size) > limit) refuse(size);
    if (size > smallest_class) {
        std::lock_guard<std::mutex> lock(c.mutex);
        auto found = c.free_blocks.find(size);
        if (found != c.free_blocks.end() && !found->second.empty()) {
            block = found->second.back();
            found->second.pop_back();
            c.held -= size;
        }
    }
    if (!block && posix_memalign(&block, alignment, size + header) != 0) {
        refuse(size);
    }
    *static_cast<size_t*>(block) = size;
    int64_t now = c.in_use += static_cast<int64_t>(size);
    int64_t peak = c.peak.load();
    while (now > peak && !c.peak.compare_exchange_weak(peak, now)) {}
    return static_cast<char*>(block) + header;
}

void give_back(void* data) {
    if (!data) return;
    void* block = static_cast<char*>(data) - header;
    size_t size = *static_cast<size_t*>(block);
    auto& c = cache();
    c.in_use -= static_cast<int64_t>(size);
    if (size > smallest_class) {
        std::lock_guard<std::mutex> lock(c.mutex);
        if (c.held + size <= c.cap) {
            c.free_blocks[size].push_back(block);
            c.held += size;
            return;
        }
    }
    std::free(block);
}

// libtorch 1.13 declares allocate const, 2.x not, and 2.3 added copy_data: whichever the base class has is overridden,
// the others are plain members. So none of them says `override`.
struct CachingAllocator final : c10::Allocator {
    c10::DataPtr allocate(size_t bytes) { return make(bytes); }

    c10::DataPtr allocate(size_t bytes) const { return make(bytes); }

    void copy_data(void* target, const void* source, size_t bytes) const { std::memcpy(target, source, bytes); }

    c10::DeleterFnPtr raw_deleter() const override { return &give_back; }

    static c10::DataPtr make(size_t bytes) {
        void* data = take(bytes);
        return {data, data, &give_back, c10::Device(c10::DeviceType::CPU)};
    }
};

}  // namespace

// Registers the allocator; `cap` bounds the bytes kept for reuse.
PF_API void pf_allocator_install(int64_t cap) {
    static auto* allocator = new CachingAllocator();
    cache().cap = static_cast<size_t>(cap);
    c10::SetCPUAllocator(allocator, /*priority=*/100);
}

// Refuses what would go beyond so many bytes in use; 0 refuses nothing.
PF_API void pf_allocator_limit(int64_t bytes) { cache().limit = bytes; }

PF_API void pf_allocator_trim() {
    auto& c = cache();
    std::lock_guard<std::mutex> lock(c.mutex);
    for (auto& entry : c.free_blocks)
        for (void* block : entry.second) std::free(block);
    c.free_blocks.clear();
    c.held = 0;
}

// Starts the peak anew from what is in use.
PF_API void pf_allocator_reset_peak() { cache().peak = cache().in_use.load(); }

PF_API void pf_allocator_statistics(int64_t* in_use, int64_t* held, int64_t* peak) {
    auto& c = cache();
    std::lock_guard<std::mutex> lock(c.mutex);
    *in_use = c.in_use.load();
    *held = static_cast<int64_t>(c.held);
    *peak = c.peak.load();
}
