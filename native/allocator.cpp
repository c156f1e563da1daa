// A caching CPU allocator. malloc returns every freed large block to the system, so each operator pays page faults for its
// output. Kept blocks make element-wise work several times faster. Memory in use and memory kept together never exceed the
// most that was in use (or `cap`): a new block frees the kept blocks that were freed longest ago.
#include "shim.h"

#include <c10/core/CPUAllocator.h>

#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <list>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_map>

namespace {

constexpr size_t alignment = 64;
constexpr size_t header = alignment;           // holds the block's size class in front of the data
constexpr size_t smallest_class = 4096;        // malloc itself keeps smaller blocks for reuse
constexpr size_t huge_page = size_t(2) << 20;  // one page fault instead of 512; blocks of two or more request them

struct Cache {
    std::mutex mutex;                          // guards the next five
    std::list<void*> freed;                    // blocks kept for reuse, the one freed longest ago first
    std::unordered_map<size_t, std::list<std::list<void*>::iterator>> by_size;
    size_t held = 0;                           // bytes in freed
    size_t cap = size_t(512) << 20;
    size_t high_water = 0;                     // most bytes in use since the last trim
    std::atomic<int64_t> in_use{0};            // bytes in use
    std::atomic<int64_t> peak{0};
    std::atomic<int64_t> limit{0};             // most bytes that may be in use; 0 is no limit
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

void* from_system(size_t size) {
    bool is_huge = size >= 2 * huge_page;
    void* block = nullptr;
    if (posix_memalign(&block, is_huge ? huge_page : alignment, size + header) != 0) refuse(size);
    // A request that may be refused without effect. The rest that does not fill a huge page is left out, so none is wasted.
    if (is_huge) madvise(block, (size + header) / huge_page * huge_page, MADV_HUGEPAGE);
    return block;
}

size_t size_of(void* block) { return *static_cast<size_t*>(block); }

// The caller of the following functions holds the mutex.
void* from_cache(Cache& c, size_t size) {
    auto found = c.by_size.find(size);
    if (found == c.by_size.end() || found->second.empty()) return nullptr;
    auto newest = found->second.back();
    found->second.pop_back();
    void* block = *newest;
    c.freed.erase(newest);
    c.held -= size;
    return block;
}

void drop_oldest(Cache& c) {
    void* block = c.freed.front();
    size_t size = size_of(block);
    c.by_size[size].pop_front();
    c.freed.pop_front();
    c.held -= size;
    std::free(block);
}

void stay_within(Cache& c) {
    size_t bound = c.high_water > c.cap ? c.high_water : c.cap;
    size_t in_use = static_cast<size_t>(c.in_use.load());
    while (!c.freed.empty() && in_use + c.held > bound) drop_oldest(c);
}

void* take(size_t bytes) {
    size_t size = size_class(bytes == 0 ? 1 : bytes);
    auto& c = cache();
    void* block = nullptr;
    int64_t limit = c.limit.load();
    if (limit > 0 && c.in_use.load() + static_cast<int64_t>(size) > limit) refuse(size);
    int64_t now = c.in_use += static_cast<int64_t>(size);
    if (size > smallest_class) {
        std::lock_guard<std::mutex> lock(c.mutex);
        if (static_cast<size_t>(now) > c.high_water) c.high_water = static_cast<size_t>(now);
        block = from_cache(c, size);
        if (!block) stay_within(c);
    }
    try {
        if (!block) block = from_system(size);
    } catch (...) {
        c.in_use -= static_cast<int64_t>(size);
        throw;
    }
    *static_cast<size_t*>(block) = size;
    int64_t peak = c.peak.load();
    while (now > peak && !c.peak.compare_exchange_weak(peak, now)) {}
    return static_cast<char*>(block) + header;
}

void give_back(void* data) {
    if (!data) return;
    void* block = static_cast<char*>(data) - header;
    size_t size = size_of(block);
    auto& c = cache();
    c.in_use -= static_cast<int64_t>(size);
    if (size <= smallest_class) {
        std::free(block);
        return;
    }
    std::lock_guard<std::mutex> lock(c.mutex);
    try {
        auto& same = c.by_size[size];
        c.freed.push_back(block);
        try {
            same.push_back(std::prev(c.freed.end()));
        } catch (...) {
            c.freed.pop_back();
            throw;
        }
    } catch (...) {                            // no memory for the list entry
        std::free(block);
        return;
    }
    c.held += size;
    stay_within(c);
}

// libtorch 1.13 declares allocate const, 2.x does not, and 2.3 added copy_data. The members that the base class has are
// overrides, the others are plain members; so none has the keyword `override`.
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

// Registers the allocator. Freed memory is kept while it and the memory in use are at most `cap` bytes, or the most that was in use.
PF_API void pf_allocator_install(int64_t cap) {
    static auto* allocator = new CachingAllocator();
    {
        std::lock_guard<std::mutex> lock(cache().mutex);
        cache().cap = static_cast<size_t>(cap);
    }
    c10::SetCPUAllocator(allocator, /*priority=*/100);
}

// Refuses allocations that would bring the bytes in use above the limit; 0 refuses none.
PF_API void pf_allocator_limit(int64_t bytes) { cache().limit = bytes; }

// Frees kept memory beyond so many bytes. The most in use then counts as the current bytes in use plus those bytes.
PF_API void pf_allocator_trim(int64_t bytes) {
    auto& c = cache();
    std::lock_guard<std::mutex> lock(c.mutex);
    while (!c.freed.empty() && c.held > static_cast<size_t>(bytes)) drop_oldest(c);
    c.high_water = static_cast<size_t>(c.in_use.load() + bytes);
}

// Resets the peak to the bytes in use.
PF_API void pf_allocator_reset_peak() { cache().peak = cache().in_use.load(); }

PF_API void pf_allocator_statistics(int64_t* in_use, int64_t* held, int64_t* peak) {
    auto& c = cache();
    std::lock_guard<std::mutex> lock(c.mutex);
    *in_use = c.in_use.load();
    *held = static_cast<int64_t>(c.held);
    *peak = c.peak.load();
}
