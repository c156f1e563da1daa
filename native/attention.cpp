// Attention without the scores of all queries, and its gradients, on the CPU. Threads share out heads, rows of the batch and
// blocks of queries (for gradients heads and rows), and each works on scores that stay in its cache. Scores and weights are of
// the tensors' element type, the softmax between them is float32.
#include "fused.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

using namespace pf;

namespace {

constexpr int64_t cached = 2 << 20;            // bytes of scores that a thread works on
constexpr int64_t least = 32;                  // queries in a block

template <typename T>
PF_INLINE void softmax(T* x, int64_t width, float scale, float* scratch) {
    float most = -INFINITY, sum = 0;
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < width; i++) most = load(x[i]) > most ? load(x[i]) : most;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < width; i++) {
        scratch[i] = exponential((load(x[i]) - most) * scale);
        sum += scratch[i];
    }
    float share = 1.0f / sum;
#pragma omp simd
    for (int64_t i = 0; i < width; i++) store(x[i], scratch[i] * share);
}

// From weights p = softmax(scale s) and their gradients to those of s, which take the gradients' place.
template <typename T>
PF_INLINE void softmax_gradient(const T* p, T* g, int64_t width, float scale) {
    float mean = 0;
#pragma omp simd reduction(+ : mean)
    for (int64_t i = 0; i < width; i++) mean += load(p[i]) * load(g[i]);
#pragma omp simd
    for (int64_t i = 0; i < width; i++) store(g[i], load(p[i]) * (load(g[i]) - mean) * scale);
}

#define PF_SOFTMAX(T) (T* x, int64_t rows, int64_t width, float scale, float* scratch)
PF_BOTH_TYPES(softmax, PF_SOFTMAX, {
    for (int64_t row = 0; row < rows; row++) softmax(x + row * width, width, scale, scratch);
})

#define PF_SOFTMAX_GRADIENT(T) (const T* p, T* g, int64_t rows, int64_t width, float scale)
PF_BOTH_TYPES(softmax_gradient, PF_SOFTMAX_GRADIENT, {
    for (int64_t row = 0; row < rows; row++) softmax_gradient(p + row * width, g + row * width, width, scale);
})

// Queries [first, first + count) that see keys [0, keys).
struct Range {
    int64_t first, count, keys;
};

// Ranges cut into blocks whose scores fit the cache.
std::vector<Range> blocks_of(const Range* ranges, int count, int64_t element, int64_t buffers) {
    std::vector<Range> blocks;
    for (int i = 0; i < count; i++) {
        auto [first, queries, keys] = ranges[i];
        auto block = std::max(least, cached / buffers / (keys * element) / least * least);
        for (int64_t at = 0; at < queries; at += block) blocks.push_back({first + at, std::min(block, queries - at), keys});
    }
    return blocks;
}

// Keys and values in parts that follow one another, [heads, b, n, d] each, so that what is kept and what is new need no copy into one tensor.
struct Parts {
    std::vector<at::Tensor> keys, values;
    int64_t length = 0;
};

Parts parts_of(const Handle* keys, const Handle* values, int count) {
    Parts parts;
    for (int i = 0; i < count; i++) {
        parts.keys.push_back(pf::borrow(keys[i]));
        parts.values.push_back(pf::borrow(values[i]));
        parts.length += parts.keys.back().size(2);
    }
    return parts;
}

bool fit(const at::Tensor& q, const Parts& parts, const Range* ranges, int count) {
    if (!applies(q) || q.dim() != 4 || q.numel() == 0 || parts.length == 0) return false;
    for (size_t i = 0; i < parts.keys.size(); i++) {
        auto &k = parts.keys[i], &v = parts.values[i];
        if (!applies(k) || !applies(v) || k.scalar_type() != q.scalar_type() || v.scalar_type() != q.scalar_type()) return false;
        TORCH_CHECK(k.sizes() == v.sizes() && k.dim() == 4 && k.size(0) == q.size(0) && k.size(1) == q.size(1) && k.size(3) == q.size(3),
                    "queries ", q.sizes(), ", keys ", k.sizes(), " and values ", v.sizes(), " do not fit");
    }
    int64_t next = 0;
    for (int i = 0; i < count; i++) {
        auto [first, queries, keys] = ranges[i];
        TORCH_CHECK(first == next && queries > 0 && keys > 0 && keys <= parts.length, "ranges must follow one another and see keys that are there");
        next += queries;
    }
    TORCH_CHECK(next == q.size(2), "ranges hold ", next, " queries of ", q.size(2));
    return true;
}

// Scratch memory of a thread: rows of scores or of their gradients.
struct Scores {
    at::Tensor buffer;
    at::Tensor of(const Range& block) { return buffer.narrow(0, 0, block.count * block.keys).view({block.count, block.keys}); }
};

Scores scratch(const std::vector<Range>& blocks, const at::TensorOptions& options) {
    int64_t most = 0;
    for (auto& block : blocks) most = std::max(most, block.count * block.keys);
    return {at::empty({most}, options)};
}

}  // namespace

// softmax(scale q k^T) v: q [heads, b, nq, d], k and v in parts [heads, b, n, d], y [heads, b, nq, d], which lies in memory as [b, nq, heads, d].
// `ranges` are `count` triples (first query, queries, keys that they see), one after another. No head's matrix is copied.
PF_API int pf_fused_attention(Handle qh, const Handle* key_handles, const Handle* value_handles, int part_count, const int64_t* range_values,
                              int count, double scale, Handle* y) {
    return pf::guarded<int>(-1, [&] {
        auto q = pf::borrow(qh);
        auto parts = parts_of(key_handles, value_handles, part_count);
        auto ranges = reinterpret_cast<const Range*>(range_values);
        if (!fit(q, parts, ranges, count)) return 0;
        auto blocks = blocks_of(ranges, count, q.element_size(), 1);
        auto rows = q.size(1), each = static_cast<int64_t>(blocks.size());
        auto out = at::empty({rows, q.size(2), q.size(0), q.size(3)}, q.options()).permute({2, 0, 1, 3});
        at::parallel_for(0, q.size(0) * rows * each, 1, [&](int64_t first, int64_t end) {
            at::NoGradGuard no_grad;
            auto buffer = scratch(blocks, q.options());
            std::vector<float> wide(parts.length);
            for (int64_t task = first; task < end; task++) {
                auto head = task / each / rows, row = task / each % rows;
                auto& block = blocks[task % each];
                auto scores = buffer.of(block);
                auto query = q[head][row].narrow(0, block.first, block.count), target = out[head][row].narrow(0, block.first, block.count);
                // Of each part the keys that the block sees.
                auto each_part = [&](const std::vector<at::Tensor>& tensors, auto work) {
                    int64_t at = 0;
                    for (auto& part : tensors) {
                        auto seen = std::min(part.size(2), block.keys - at);
                        if (seen <= 0) break;
                        work(part[head][row].narrow(0, 0, seen), scores.narrow(1, at, seen), at);
                        at += part.size(2);
                    }
                };
                each_part(parts.keys, [&](const at::Tensor& k, at::Tensor some, int64_t) { at::mm_out(some, query, k.t()); });
                PF_CALL(scores, softmax, data<T>(scores), block.count, block.keys, static_cast<float>(scale), wide.data());
                each_part(parts.values, [&](const at::Tensor& v, at::Tensor some, int64_t at) {
                    if (at == 0) at::mm_out(target, some, v);
                    else target.addmm_(some, v);
                });
            }
        });
        *y = pf::give(std::move(out));
        return 1;
    });
}

// The gradients of q, k and v from that of y, `dy`. The weights are computed again, block by block. Gradients of keys and values are
// summed up in float32.
PF_API int pf_fused_attention_backward(Handle qh, Handle kh, Handle vh, Handle dyh, const int64_t* range_values, int count,
                                       double scale, Handle* dq, Handle* dk, Handle* dv) {
    return pf::guarded<int>(-1, [&] {
        auto q = pf::borrow(qh), k = pf::borrow(kh), v = pf::borrow(vh), dy = pf::borrow(dyh);
        auto ranges = reinterpret_cast<const Range*>(range_values);
        TORCH_CHECK(fit(q, {{k}, {v}, k.size(2)}, ranges, count) && dy.sizes() == q.sizes() && dy.scalar_type() == q.scalar_type(),
                    "attention of ", q.sizes(), " has no gradients from ", dy.sizes());
        auto blocks = blocks_of(ranges, count, q.element_size(), 2);
        auto rows = q.size(1);
        auto gq = at::empty(q.sizes(), q.options()), gk = at::empty(k.sizes(), k.options()), gv = at::empty(v.sizes(), v.options());
        at::parallel_for(0, q.size(0) * rows, 1, [&](int64_t first, int64_t end) {
            at::NoGradGuard no_grad;
            auto weight_buffer = scratch(blocks, q.options()), gradient_buffer = scratch(blocks, q.options());
            std::vector<float> wide(k.size(2));
            auto sums = at::empty({2, k.size(2), k.size(3)}, q.options().dtype(at::kFloat));
            auto add = [](at::Tensor sum, const at::Tensor& a, const at::Tensor& b) {
                if (a.scalar_type() == at::kFloat) sum.addmm_(a, b);
                else sum.add_(at::mm(a, b));
            };
            for (int64_t task = first; task < end; task++) {
                auto head = task / rows, row = task % rows;
                sums.zero_();
                for (auto& block : blocks) {
                    auto query = q[head][row].narrow(0, block.first, block.count), seen = k[head][row].narrow(0, 0, block.keys);
                    auto given = dy[head][row].narrow(0, block.first, block.count);
                    auto weights = weight_buffer.of(block), gradients = gradient_buffer.of(block);
                    at::mm_out(weights, query, seen.t());
                    PF_CALL(weights, softmax, data<T>(weights), block.count, block.keys, static_cast<float>(scale), wide.data());
                    add(sums[1].narrow(0, 0, block.keys), weights.t(), given);
                    at::mm_out(gradients, given, v[head][row].narrow(0, 0, block.keys).t());
                    PF_CALL(weights, softmax_gradient, data<T>(weights), data<T>(gradients), block.count, block.keys, static_cast<float>(scale));
                    auto target = gq[head][row].narrow(0, block.first, block.count);
                    at::mm_out(target, gradients, seen);
                    add(sums[0].narrow(0, 0, block.keys), gradients.t(), query);
                }
                gk[head][row].copy_(sums[0]);
                gv[head][row].copy_(sums[1]);
            }
        });
        *dq = pf::give(std::move(gq));
        *dk = pf::give(std::move(gk));
        *dv = pf::give(std::move(gv));
        return 1;
    });
}
