// Norms, activations and attention of the transformer in few passes over memory, for inference on the CPU. Each function answers
// 0, and has done nothing, where it does not apply: on other devices, for other types and layouts, and where a gradient is
// recorded. Numbers are float32 inside; bfloat16 is rounded once, at the end (in attention also scores and weights are).
#include "shim.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

// The compiler makes these for several instruction sets, and the loader takes the one that the CPU has.
#if defined(__x86_64__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__)
#define PF_EACH_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PF_EACH_CPU
#endif
#define PF_INLINE inline __attribute__((always_inline))

namespace {

using bf16 = uint16_t;
constexpr int64_t grain = 16384;               // elements that are worth a thread

template <typename To, typename From>
PF_INLINE To bits(From from) {
    To to;
    std::memcpy(&to, &from, sizeof(to));
    return to;
}

PF_INLINE float load(float x) { return x; }
PF_INLINE float load(bf16 x) { return bits<float>(static_cast<uint32_t>(x) << 16); }
PF_INLINE void store(float& to, float x) { to = x; }
PF_INLINE void store(bf16& to, float x) {      // to the nearest, ties to even; what is not a number stays so
    uint32_t b = bits<uint32_t>(x);
    to = (b & 0x7fffffffu) > 0x7f800000u ? 0x7fc0 : static_cast<bf16>((b + 0x7fffu + ((b >> 16) & 1)) >> 16);
}

// e^x: 2^n times a polynomial over half a step of ln 2 (the coefficients of Cephes' expf); 2 units in the last place.
PF_INLINE float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    constexpr float nearest = 12582912.0f;     // 1.5 * 2^23: adding it leaves no places after the point
    float n = (x * 1.44269504f + nearest) - nearest;
    float r = x - n * 0.693359375f;
    r -= n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return (p * r * r + r + 1.0f) * bits<float>((static_cast<int32_t>(n) + 127) << 23);
}

// tanh's approximation of GELU: 0.5 x (1 + tanh(y / 2)) = x / (1 + e^-y), y = 2 sqrt(2 / pi) (x + 0.044715 x^3).
template <typename T>
PF_INLINE void gelu(T* x, int64_t count) {
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float v = load(x[i]);
        store(x[i], v / (1.0f + exponential(-1.5957691216f * (v + 0.044715f * v * v * v))));
    }
}

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

// (x - mean) / deviation * scale + shift
template <typename T>
PF_INLINE void modulate(const T* x, const T* scale, const T* shift, T* y, int64_t width, float eps) {
    float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < width; i++) sum += load(x[i]);
    float mean = sum / static_cast<float>(width);
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < width; i++) squares += (load(x[i]) - mean) * (load(x[i]) - mean);
    float factor = 1.0f / std::sqrt(squares / static_cast<float>(width) + eps);
#pragma omp simd
    for (int64_t i = 0; i < width; i++) store(y[i], (load(x[i]) - mean) * factor * load(scale[i]) + load(shift[i]));
}

template <typename T>
PF_INLINE void rms_norm(const T* x, const T* weight, T* y, int64_t width, float eps) {
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < width; i++) squares += load(x[i]) * load(x[i]);
    float factor = 1.0f / std::sqrt(squares / static_cast<float>(width) + eps);
#pragma omp simd
    for (int64_t i = 0; i < width; i++) store(y[i], load(x[i]) * factor * load(weight[i]));
}

// Neighbouring features as complex numbers, times those of the table.
template <typename T>
PF_INLINE void turn(const T* x, const float* table, T* y, int64_t pairs) {
#pragma omp simd
    for (int64_t i = 0; i < pairs; i++) {
        float re = load(x[2 * i]), im = load(x[2 * i + 1]), c = table[2 * i], s = table[2 * i + 1];
        store(y[2 * i], re * c - im * s);
        store(y[2 * i + 1], re * s + im * c);
    }
}

// Rows first..end of each kind of work, by element type.
#define PF_BOTH_TYPES(NAME, PARAMETERS, BODY)                     \
    PF_EACH_CPU void NAME##_float PARAMETERS(float) BODY          \
    PF_EACH_CPU void NAME##_bf16 PARAMETERS(bf16) BODY

#define PF_GELU(T) (T* x, int64_t count)
PF_BOTH_TYPES(gelu, PF_GELU, { gelu(x, count); })

#define PF_SOFTMAX(T) (T* x, int64_t first, int64_t end, int64_t width, float scale, float* scratch)
PF_BOTH_TYPES(softmax, PF_SOFTMAX, {
    for (int64_t row = first; row < end; row++) softmax(x + row * width, width, scale, scratch);
})

#define PF_MODULATE(T)                                                                                                  \
    (const T* x, const T* scale, int64_t scale_step, const T* shift, int64_t shift_step, T* y, int64_t first,          \
     int64_t end, int64_t tokens, int64_t width, float eps)
PF_BOTH_TYPES(modulate, PF_MODULATE, {
    for (int64_t row = first; row < end; row++)
        modulate(x + row * width, scale + row / tokens * scale_step, shift + row / tokens * shift_step, y + row * width, width, eps);
})

#define PF_RMS(T) (const T* x, const T* weight, T* y, int64_t first, int64_t end, int64_t width, float eps)
PF_BOTH_TYPES(rms_norm, PF_RMS, {
    for (int64_t row = first; row < end; row++) rms_norm(x + row * width, weight, y + row * width, width, eps);
})

#define PF_TURN(T) (const T* x, const float* table, T* y, int64_t first, int64_t end, int64_t tokens, int64_t heads, int64_t width)
PF_BOTH_TYPES(turn, PF_TURN, {
    for (int64_t row = first; row < end; row++)
        turn(x + row * width, table + row / heads % tokens * width, y + row * width, width / 2);
})

// Calls NAME_float or NAME_bf16 with pointers of that type.
#define PF_CALL(TENSOR, NAME, ...)                                                             \
    do {                                                                                       \
        if ((TENSOR).scalar_type() == at::kFloat) { using T = float; NAME##_float(__VA_ARGS__); } \
        else { using T = bf16; NAME##_bf16(__VA_ARGS__); }                                     \
    } while (0)

template <typename T>
T* data(const at::Tensor& x) { return static_cast<T*>(x.data_ptr()); }

bool applies(const at::Tensor& x) {
    return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16)
        && !(at::GradMode::is_enabled() && x.requires_grad());
}

// Work on rows [first, end) in as many threads as pay.
template <typename Body>
void each_row(int64_t rows, int64_t width, Body body) {
    at::parallel_for(0, rows, std::max<int64_t>(1, grain / std::max<int64_t>(1, width)), body);
}

// One number for each row of a batch and feature, [b, 1, d]: the distance from one row's to the next.
bool steps(const at::Tensor& x, const at::Tensor& per_row, int64_t* step) {
    if (!applies(per_row) || per_row.scalar_type() != x.scalar_type() || per_row.dim() != 3 || per_row.size(1) != 1
        || per_row.size(2) != x.size(2) || per_row.stride(2) != 1 || (per_row.size(0) != x.size(0) && per_row.size(0) != 1))
        return false;
    *step = per_row.size(0) == 1 ? 0 : per_row.stride(0);
    return true;
}

}  // namespace

// GELU (tanh's approximation) in place.
PF_API int pf_fused_gelu(Handle handle) {
    return pf::guarded<int>(-1, [&] {
        auto x = pf::borrow(handle);
        if (!applies(x) || !x.is_contiguous()) return 0;
        at::parallel_for(0, x.numel(), grain, [&](int64_t first, int64_t end) { PF_CALL(x, gelu, data<T>(x) + first, end - first); });
        return 1;
    });
}

// Normalises the last dimension of x [b, n, d], then scales and shifts it by [b, 1, d], into y.
PF_API int pf_fused_modulate(Handle xh, Handle scaleh, Handle shifth, double eps, Handle* y) {
    return pf::guarded<int>(-1, [&] {
        auto x = pf::borrow(xh), scale = pf::borrow(scaleh), shift = pf::borrow(shifth);
        int64_t scale_step, shift_step;
        if (!applies(x) || !x.is_contiguous() || x.dim() != 3 || !steps(x, scale, &scale_step) || !steps(x, shift, &shift_step)) return 0;
        auto out = at::empty_like(x);
        auto width = x.size(2);
        each_row(x.size(0) * x.size(1), width, [&](int64_t first, int64_t end) {
            PF_CALL(x, modulate, data<T>(x), data<T>(scale), scale_step, data<T>(shift), shift_step, data<T>(out), first, end, x.size(1), width,
                static_cast<float>(eps));
        });
        *y = pf::give(std::move(out));
        return 1;
    });
}

// Divides the last dimension of x by its root mean square and scales it by weight [d], into y.
PF_API int pf_fused_rms_norm(Handle xh, Handle weighth, double eps, Handle* y) {
    return pf::guarded<int>(-1, [&] {
        auto x = pf::borrow(xh), weight = pf::borrow(weighth);
        if (!applies(x) || !x.is_contiguous() || x.numel() == 0 || !applies(weight) || weight.scalar_type() != x.scalar_type()
            || !weight.is_contiguous() || weight.numel() != x.size(-1))
            return 0;
        auto out = at::empty_like(x);
        auto width = x.size(-1);
        each_row(x.numel() / width, width, [&](int64_t first, int64_t end) {
            PF_CALL(x, rms_norm, data<T>(x), data<T>(weight), data<T>(out), first, end, width, static_cast<float>(eps));
        });
        *y = pf::give(std::move(out));
        return 1;
    });
}

// Turns pairs of neighbouring features of x [b, n, heads, d] by the cosines and sines of table [n, 1, d / 2, 2], into y.
PF_API int pf_fused_turn(Handle xh, Handle tableh, Handle* y) {
    return pf::guarded<int>(-1, [&] {
        auto x = pf::borrow(xh), table = pf::borrow(tableh);
        if (!applies(x) || !x.is_contiguous() || x.dim() != 4 || table.scalar_type() != at::kFloat || !table.device().is_cpu()
            || !table.is_contiguous() || table.numel() != x.size(1) * x.size(3))
            return 0;
        auto out = at::empty_like(x);
        auto width = x.size(3);
        each_row(x.numel() / std::max<int64_t>(1, width), width, [&](int64_t first, int64_t end) {
            PF_CALL(x, turn, data<T>(x), data<float>(table), data<T>(out), first, end, x.size(1), x.size(2), width);
        });
        *y = pf::give(std::move(out));
        return 1;
    });
}

// softmax(scale q k^T) v without the scores of all queries: threads share out heads, rows and blocks of queries, and each works
// on scores that stay in its cache. q [heads, b, nq, d], k and v [heads, b, nk, d], y [heads, b, nq, d].
PF_API int pf_fused_attention(Handle qh, Handle kh, Handle vh, double scale, Handle* y) {
    return pf::guarded<int>(-1, [&] {
        constexpr int64_t cached = 2 << 20, least = 32;      // bytes of scores, queries
        auto q = pf::borrow(qh), k = pf::borrow(kh), v = pf::borrow(vh);
        if (!applies(q) || !applies(k) || !applies(v) || q.dim() != 4 || k.scalar_type() != q.scalar_type()
            || v.scalar_type() != q.scalar_type() || q.numel() == 0 || k.numel() == 0)
            return 0;
        TORCH_CHECK(k.sizes() == v.sizes() && k.dim() == 4 && k.size(0) == q.size(0) && k.size(1) == q.size(1) && k.size(3) == q.size(3),
                    "queries ", q.sizes(), ", keys ", k.sizes(), " and values ", v.sizes(), " do not fit");
        auto rows = q.size(1), queries = q.size(2), keys = k.size(2);
        auto block = std::min(queries, std::max(least, cached / static_cast<int64_t>(keys * q.element_size()) / least * least));
        auto blocks = (queries + block - 1) / block;
        auto out = at::empty(q.sizes(), q.options());
        at::parallel_for(0, q.size(0) * rows * blocks, 1, [&](int64_t first, int64_t end) {
            at::NoGradGuard no_grad;
            auto buffer = at::empty({block, keys}, q.options());
            std::vector<float> scratch(keys);
            for (int64_t task = first; task < end; task++) {
                auto head = task / blocks / rows, row = task / blocks % rows, from = task % blocks * block;
                auto count = std::min(block, queries - from);
                auto scores = buffer.narrow(0, 0, count);
                at::mm_out(scores, q[head][row].narrow(0, from, count), k[head][row].t());
                PF_CALL(scores, softmax, data<T>(scores), 0, count, keys, static_cast<float>(scale), scratch.data());
                auto target = out[head][row].narrow(0, from, count);
                at::mm_out(target, scores, v[head][row]);
            }
        });
        *y = pf::give(std::move(out));
        return 1;
    });
}
