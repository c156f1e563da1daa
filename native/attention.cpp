// Attention on the CPU, and its gradients, without a tensor of all scores. Heads, rows of the batch and blocks of queries are
// divided among threads (for gradients heads and rows). On CPUs with AVX-512 the blocks are those of attention_block.cpp. On others the scores of a
// thread stay in its cache; scores and weights have the tensors' element type, and the softmax between them is float32.
#include "attention_block.h"
#include "fused.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

using namespace pf;

namespace {

constexpr int64_t cached = 2 << 20;            // bytes of scores of a thread
constexpr int64_t least = 32;                  // least queries in a block
constexpr int most_parts = 8;                  // parts of keys and values

// Rows of scores in parts [rows, width] that lie one after another in `x`.
template <typename T>
PF_INLINE void softmax(T* x, int64_t rows, const int64_t* widths, int count, float scale, float* scratch) {
    T* parts[most_parts];
    for (int part = 0; part < count; x += rows * widths[part++]) parts[part] = x;
    for (int64_t row = 0; row < rows; row++) {
        float most = -INFINITY, sum = 0;
        for (int part = 0; part < count; part++) {
            const T* from = parts[part] + row * widths[part];
#pragma omp simd reduction(max : most)
            for (int64_t i = 0; i < widths[part]; i++) most = load(from[i]) > most ? load(from[i]) : most;
        }
        float* wide = scratch;
        for (int part = 0; part < count; wide += widths[part++]) {
            const T* from = parts[part] + row * widths[part];
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < widths[part]; i++) {
                wide[i] = exponential((load(from[i]) - most) * scale);
                sum += wide[i];
            }
        }
        float share = 1.0f / sum;
        wide = scratch;
        for (int part = 0; part < count; wide += widths[part++]) {
            T* to = parts[part] + row * widths[part];
#pragma omp simd
            for (int64_t i = 0; i < widths[part]; i++) store(to[i], wide[i] * share);
        }
    }
}

// Replaces the gradients of the weights p = softmax(scale s) by the gradients of s.
template <typename T>
PF_INLINE void softmax_gradient(const T* p, T* g, int64_t width, float scale) {
    float mean = 0;
#pragma omp simd reduction(+ : mean)
    for (int64_t i = 0; i < width; i++) mean += load(p[i]) * load(g[i]);
#pragma omp simd
    for (int64_t i = 0; i < width; i++) store(g[i], load(p[i]) * (load(g[i]) - mean) * scale);
}

#define PF_SOFTMAX(T) (T* x, int64_t rows, const int64_t* widths, int count, float scale, float* scratch)
PF_BOTH_TYPES(softmax, PF_SOFTMAX, { softmax(x, rows, widths, count, scale, scratch); })

#define PF_SOFTMAX_GRADIENT(T) (const T* p, T* g, int64_t rows, int64_t width, float scale)
PF_BOTH_TYPES(softmax_gradient, PF_SOFTMAX_GRADIENT, {
    for (int64_t row = 0; row < rows; row++) softmax_gradient(p + row * width, g + row * width, width, scale);
})

// Queries [first, first + count), which attend to keys [0, keys).
struct Range {
    int64_t first, count, keys;
};

// Divides ranges into blocks whose scores fit the cache.
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
    TORCH_CHECK(parts.keys.size() <= most_parts, "keys come in at most ", most_parts, " parts");
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

// Whether attention_block.cpp takes heads of a width, and the CPU has its instructions. The check stands here, in a file that every CPU can run.
bool has_vectors(bool bfloat16, int64_t width) {
#ifdef PF_ATTENTION_BLOCK
    return width <= attention_width && width % 4 == 0 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && (!bfloat16 || __builtin_cpu_supports("avx512bf16"));
#else
    return false;
#endif
}

// Whether attention_block.cpp applies: features of a row are neighbours too.
bool vectorised(const at::Tensor& q, const Parts& parts) {
    auto neighbours = [](const at::Tensor& x) { return x.stride(3) == 1; };
    return has_vectors(q.scalar_type() == at::kBFloat16, q.size(3)) && neighbours(q)
        && std::all_of(parts.keys.begin(), parts.keys.end(), neighbours) && std::all_of(parts.values.begin(), parts.values.end(), neighbours);
}

#ifndef PF_ATTENTION_BLOCK
}  // namespace

// Never called: has_vectors is false.
void pf::attention_block(const AttentionBlock<float>&, const AttentionKeys<float>*, int) {}
void pf::attention_block(const AttentionBlock<bf16>&, const AttentionKeys<bf16>*, int) {}
void pf::attention_gradient(const AttentionBlock<float>&, const AttentionKeys<float>*, int, const AttentionGradients<float>&) {}
void pf::attention_gradient(const AttentionBlock<bf16>&, const AttentionKeys<bf16>*, int, const AttentionGradients<bf16>&) {}

namespace {
#endif

// Ranges in blocks of attention_block.cpp.
std::vector<Range> vector_blocks(const Range* ranges, int count) {
    std::vector<Range> blocks;
    for (int i = 0; i < count; i++) {
        auto [first, queries, keys] = ranges[i];
        for (int64_t at = 0; at < queries; at += attention_queries) blocks.push_back({first + at, std::min<int64_t>(attention_queries, queries - at), keys});
    }
    return blocks;
}

template <typename T>
T* row_of(const at::Tensor& x, int64_t head, int64_t row, int64_t token) {
    return data<T>(x) + head * x.stride(0) + row * x.stride(1) + token * x.stride(2);
}

// Padding of the text, the first `text` tokens: a row of the batch, of `count` that repeat, has so many words at the beginning of the text, or at its end.
struct Padding {
    const int64_t* words;
    int64_t count, text, words_at_end;
};

// The first `keys` tokens without the padding of a row, as pieces of the parts.
template <typename T>
void see(std::vector<AttentionKeys<T>>& pieces, const Parts& parts, int64_t head, int64_t row, int64_t keys, const Padding& padding) {
    auto hidden = keys, shown = keys;          // tokens [hidden, shown) are padding
    if (padding.words) {
        auto words = padding.words[row % padding.count];
        hidden = std::min(keys, padding.words_at_end ? 0 : words);
        shown = std::min(keys, padding.words_at_end ? padding.text - words : padding.text);
    }
    pieces.clear();
    int64_t at = 0;
    for (size_t part = 0; part < parts.keys.size() && at < keys; at += parts.keys[part++].size(2)) {
        auto &k = parts.keys[part], &v = parts.values[part];
        auto end = std::min(at + k.size(2), keys);
        auto add = [&](int64_t from, int64_t to) {
            if (from < to) pieces.push_back({row_of<T>(k, head, row, from - at), row_of<T>(v, head, row, from - at), k.stride(2), v.stride(2), to - from, from});
        };
        add(at, std::min(end, hidden));
        add(std::max(at, shown), end);
    }
}

template <typename T>
AttentionBlock<T> block_of(const at::Tensor& q, const at::Tensor& y, const at::Tensor& exponents, int64_t head, int64_t row, const Range& block, double scale) {
    return {row_of<T>(q, head, row, block.first), q.stride(2), static_cast<int>(block.count), static_cast<int>(q.size(3)), static_cast<float>(scale),
            row_of<T>(y, head, row, block.first), y.stride(2), exponents.defined() ? row_of<float>(exponents, head, row, block.first) : nullptr};
}

// Attends in such blocks. The heads of a query are neighbours in the result, [heads, b, nq, d]. Fills exponents [heads, b, nq] where they are defined.
template <typename T>
at::Tensor attend(const at::Tensor& q, const Parts& parts, const at::Tensor& exponents, const Range* ranges, int count, const Padding& padding, double scale) {
    auto blocks = vector_blocks(ranges, count);
    auto rows = q.size(1), each = static_cast<int64_t>(blocks.size());
    auto out = at::empty({rows, q.size(2), q.size(0), q.size(3)}, q.options()).permute({2, 0, 1, 3});
    at::parallel_for(0, q.size(0) * rows * each, 1, [&](int64_t first, int64_t end) {
        std::vector<AttentionKeys<T>> seen;
        for (int64_t task = first; task < end; task++) {
            auto head = task / each / rows, row = task / each % rows;
            auto& block = blocks[task % each];
            see(seen, parts, head, row, block.keys, padding);
            attention_block(block_of<T>(q, out, exponents, head, row, block, scale), seen.data(), static_cast<int>(seen.size()));
        }
    });
    return out;
}

// The gradients of q, k and v from dy, [heads, b, n, d] each. A thread takes all queries of a head of a row, and adds up the gradients of keys and values.
template <typename T>
std::array<at::Tensor, 3> differentiate(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& y, const at::Tensor& exponents,
                                        const at::Tensor& dy, const Range* ranges, int count, const Padding& padding, double scale) {
    Parts parts{{k}, {v}, k.size(2)};
    auto blocks = vector_blocks(ranges, count);
    auto rows = q.size(1), width = q.size(3), padded = (width + 15) / 16 * 16;
    auto gq = at::empty(q.sizes(), q.options()), gk = at::empty(k.sizes(), k.options()), gv = at::empty(v.sizes(), v.options());
    at::parallel_for(0, q.size(0) * rows, 1, [&](int64_t first, int64_t end) {
        at::NoGradGuard no_grad;
        auto sums = at::empty({2, k.size(2), padded}, q.options().dtype(at::kFloat));
        std::vector<AttentionKeys<T>> seen;
        for (int64_t task = first; task < end; task++) {
            auto head = task / rows, row = task % rows;
            sums.zero_();
            for (auto& block : blocks) {
                see(seen, parts, head, row, block.keys, padding);
                attention_gradient(block_of<T>(q, y, exponents, head, row, block, scale), seen.data(), static_cast<int>(seen.size()),
                    {row_of<T>(dy, head, row, block.first), dy.stride(2), row_of<T>(gq, head, row, block.first), gq.stride(2), data<float>(sums),
                     data<float>(sums) + sums.stride(0), padded});
            }
            gk[head][row].copy_(sums[0].narrow(1, 0, width));
            gv[head][row].copy_(sums[1].narrow(1, 0, width));
        }
    });
    return {gq, gk, gv};
}

Padding padding_of(const Padding* given, const at::Tensor& q, const Parts& parts) {
    if (!given) return {};
    TORCH_CHECK(given->count > 0 && q.size(1) % given->count == 0 && given->text <= parts.length, "padding is that of other rows or of a longer text");
    for (int64_t row = 0; row < given->count; row++)
        TORCH_CHECK(given->words[row] > 0 && given->words[row] <= given->text, "a row has ", given->words[row], " words of ", given->text);
    return *given;
}

}  // namespace

// Whether attention of heads of a width is computed in blocks of attention_block.cpp, where the features of a row are neighbours.
PF_API int pf_vector_attention(int bfloat16, int64_t width) { return has_vectors(bfloat16 != 0, width); }

// softmax(scale q k^T) v: q [heads, b, nq, d], k and v in parts [heads, b, n, d], y [heads, b, nq, d]. `ranges` are `count` triples
// (first query, number of queries, number of keys that they attend to), one after another. The scores of each part are a matrix of
// their own, because libtorch computes a product into a part of a wider matrix in a copy. `exponents` is null, or takes what gradients need besides y
// ([heads, b, nq]; null where they need nothing). `padding` is null, or a Padding for which pf_vector_attention must hold.
PF_API int pf_fused_attention(Handle qh, const Handle* key_handles, const Handle* value_handles, int part_count, const int64_t* range_values,
                              int count, const Padding* padding, double scale, Handle* y, Handle* exponents) {
    return pf::guarded<int>(-1, [&] {
        auto q = pf::borrow(qh);
        auto parts = parts_of(key_handles, value_handles, part_count);
        auto ranges = reinterpret_cast<const Range*>(range_values);
        if (!fit(q, parts, ranges, count)) return 0;
        if (exponents) *exponents = nullptr;
        auto hidden = padding_of(padding, q, parts);
        if (vectorised(q, parts)) {
            auto powers = exponents ? at::empty({q.size(0), q.size(1), q.size(2)}, q.options().dtype(at::kFloat)) : at::Tensor();
            *y = pf::give(q.scalar_type() == at::kFloat ? attend<float>(q, parts, powers, ranges, count, hidden, scale)
                                                           : attend<bf16>(q, parts, powers, ranges, count, hidden, scale));
            if (exponents) *exponents = pf::give(std::move(powers));
            return 1;
        }
        TORCH_CHECK(!padding, "padding is left out on CPUs with AVX-512 only");
        auto blocks = blocks_of(ranges, count, q.element_size(), 1);
        auto rows = q.size(1), each = static_cast<int64_t>(blocks.size());
        auto out = at::empty(q.sizes(), q.options());
        at::parallel_for(0, q.size(0) * rows * each, 1, [&](int64_t first, int64_t end) {
            at::NoGradGuard no_grad;
            auto buffer = scratch(blocks, q.options());
            std::vector<float> wide(parts.length);
            std::vector<at::Tensor> scores(part_count);
            std::vector<int64_t> widths(part_count);
            for (int64_t task = first; task < end; task++) {
                auto head = task / each / rows, row = task / each % rows;
                auto& block = blocks[task % each];
                auto query = q[head][row].narrow(0, block.first, block.count), target = out[head][row].narrow(0, block.first, block.count);
                auto all = buffer.of(block);
                int used = 0;
                for (int64_t at = 0; at < block.keys; at += widths[used++]) {
                    widths[used] = std::min(parts.keys[used].size(2), block.keys - at);
                    scores[used] = buffer.buffer.narrow(0, block.count * at, block.count * widths[used]).view({block.count, widths[used]});
                    at::mm_out(scores[used], query, parts.keys[used][head][row].narrow(0, 0, widths[used]).t());
                }
                PF_CALL(all, softmax, data<T>(all), block.count, widths.data(), used, static_cast<float>(scale), wide.data());
                for (int part = 0; part < used; part++) {
                    auto values = parts.values[part][head][row].narrow(0, 0, widths[part]);
                    if (part == 0) at::mm_out(target, scores[part], values);
                    else target.addmm_(scores[part], values);
                }
            }
        });
        *y = pf::give(std::move(out));
        return 1;
    });
}

// Computes the gradients of q, k and v from `dy`, the gradient of y, with the exponents that came with y (null for none). The weights are computed
// again, block by block. The gradients of keys and values are accumulated in float32.
PF_API int pf_fused_attention_backward(Handle qh, Handle kh, Handle vh, Handle yh, Handle exponentsh, Handle dyh, const int64_t* range_values, int count,
                                       const Padding* padding, double scale, Handle* dq, Handle* dk, Handle* dv) {
    return pf::guarded<int>(-1, [&] {
        auto q = pf::borrow(qh), k = pf::borrow(kh), v = pf::borrow(vh), dy = pf::borrow(dyh);
        auto ranges = reinterpret_cast<const Range*>(range_values);
        TORCH_CHECK(fit(q, {{k}, {v}, k.size(2)}, ranges, count) && dy.sizes() == q.sizes() && dy.scalar_type() == q.scalar_type(),
                    "attention of ", q.sizes(), " has no gradients from ", dy.sizes());
        if (exponentsh) {
            auto y = pf::borrow(yh), exponents = pf::borrow(exponentsh);
            if (dy.stride(3) != 1) dy = dy.contiguous();
            auto hidden = padding_of(padding, q, {{k}, {v}, k.size(2)});
            auto [gq, gk, gv] = q.scalar_type() == at::kFloat ? differentiate<float>(q, k, v, y, exponents, dy, ranges, count, hidden, scale)
                                                               : differentiate<bf16>(q, k, v, y, exponents, dy, ranges, count, hidden, scale);
            *dq = pf::give(std::move(gq));
            *dk = pf::give(std::move(gk));
            *dv = pf::give(std::move(gv));
            return 1;
        }
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
                    PF_CALL(weights, softmax, data<T>(weights), block.count, &block.keys, 1, static_cast<float>(scale), wide.data());
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
