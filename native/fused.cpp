// Norms and activations of the transformer and of the VAE in few passes over memory, for inference on the CPU. A function returns 0, without
// any effect, where it does not apply: on other devices, for other types and layouts, and where a gradient is recorded.
// Intermediate numbers are float32; bfloat16 is rounded once, at the end.
#include "fused.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

using namespace pf;

namespace {

constexpr int64_t grain = 16384;               // least elements for each thread

// The tanh approximation of GELU: 0.5 x (1 + tanh(y / 2)) = x / (1 + e^-y), y = 2 sqrt(2 / pi) (x + 0.044715 x^3).
template <typename T>
PF_INLINE void gelu(T* x, int64_t count) {
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float v = load(x[i]);
        store(x[i], v / (1.0f + exponential(-1.5957691216f * (v + 0.044715f * v * v * v))));
    }
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

// Multiplies pairs of neighbouring features, as complex numbers, by those of the table.
template <typename T>
PF_INLINE void turn(const T* x, const float* table, T* y, int64_t pairs) {
#pragma omp simd
    for (int64_t i = 0; i < pairs; i++) {
        float re = load(x[2 * i]), im = load(x[2 * i + 1]), c = table[2 * i], s = table[2 * i + 1];
        store(y[2 * i], re * c - im * s);
        store(y[2 * i + 1], re * s + im * c);
    }
}

// Mean of the planes of one group of channels of one frame, and sum of the squared differences from it.
// Sums of a row are float32, sums of rows are float64: a plane may have a million numbers.
template <typename T>
PF_INLINE void group_moments(const T* x, int64_t x_step, int64_t channels, int64_t rows, int64_t width, double* moments) {
    double sum = 0, squares = 0;
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t r = 0; r < rows; r++) {
            const T* row = x + c * x_step + r * width;
            float part = 0;
#pragma omp simd reduction(+ : part)
            for (int64_t i = 0; i < width; i++) part += load(row[i]);
            sum += part;
        }
    }
    auto mean = static_cast<float>(sum / static_cast<double>(channels * rows * width));
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t r = 0; r < rows; r++) {
            const T* row = x + c * x_step + r * width;
            float part = 0;
#pragma omp simd reduction(+ : part)
            for (int64_t i = 0; i < width; i++) part += (load(row[i]) - mean) * (load(row[i]) - mean);
            squares += part;
        }
    }
    moments[0] = mean;
    moments[1] = squares;
}

// Normalises the planes of one group of channels of one frame by their mean and deviation, scales and shifts each channel, and applies SiLU.
template <typename T>
PF_INLINE void group_norm_silu(const T* x, int64_t x_step, const T* weight, const T* bias, T* y, int64_t y_step, int64_t channels, int64_t rows,
                               int64_t width, float mean, float factor) {
    for (int64_t c = 0; c < channels; c++) {
        const T* from = x + c * x_step;
        T* to = y + c * y_step;
        float scale = factor * load(weight[c]), shift = load(bias[c]);
#pragma omp simd
        for (int64_t i = 0; i < rows * width; i++) {
            float v = (load(from[i]) - mean) * scale + shift;
            store(to[i], v / (1.0f + exponential(-v)));
        }
    }
}

#define PF_GELU(T) (T* x, int64_t count)
PF_BOTH_TYPES(gelu, PF_GELU, { gelu(x, count); })

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

#define PF_GROUP_MOMENTS(T) (const T* x, const int64_t* strides, double* moments, const int64_t* sizes, int64_t groups, int64_t first, int64_t end)
PF_BOTH_TYPES(group_moments, PF_GROUP_MOMENTS, {
    auto frames = sizes[2];
    auto channels = sizes[1] / groups;
    for (int64_t task = first; task < end; task++) {
        auto channel = task / frames % groups * channels;
        auto item = task / frames / groups;
        group_moments(x + item * strides[0] + channel * strides[1] + task % frames * strides[2], strides[1], channels, sizes[3], sizes[4], moments + 2 * task);
    }
})

// Without moments they are computed, and `count` is the number of their elements.
#define PF_GROUP_NORM(T)                                                                                                \
    (const T* x, const int64_t* strides, const T* weight, const T* bias, const double* moments, double count, T* y, const int64_t* sizes, int64_t groups, \
     int64_t first, int64_t end, float eps)
PF_BOTH_TYPES(group_norm_silu, PF_GROUP_NORM, {
    auto frames = sizes[2];
    auto channels = sizes[1] / groups;
    auto plane = sizes[3] * sizes[4];
    for (int64_t task = first; task < end; task++) {
        auto frame = task % frames;
        auto channel = task / frames % groups * channels;
        auto item = task / frames / groups;
        auto from = x + item * strides[0] + channel * strides[1] + frame * strides[2];
        double own[2];
        const double* used = own;
        if (moments == nullptr) group_moments(from, strides[1], channels, sizes[3], sizes[4], own);
        else used = moments + 2 * task;
        group_norm_silu(from, strides[1], weight + channel, bias + channel, y + ((item * sizes[1] + channel) * frames + frame) * plane, frames * plane, channels,
            sizes[3], sizes[4], static_cast<float>(used[0]), static_cast<float>(1.0 / std::sqrt(used[1] / count + eps)));
    }
})

// Runs `body` on ranges [first, end) of rows, with at least `grain` elements for each thread.
template <typename Body>
void each_row(int64_t rows, int64_t width, Body body) {
    at::parallel_for(0, rows, std::max<int64_t>(1, grain / std::max<int64_t>(1, width)), body);
}

// Distance between the rows of a tensor [b, 1, d] with one number for each row of the batch and feature.
bool steps(const at::Tensor& x, const at::Tensor& per_row, int64_t* step) {
    if (!applies(per_row) || per_row.scalar_type() != x.scalar_type() || per_row.dim() != 3 || per_row.size(1) != 1
        || per_row.size(2) != x.size(2) || per_row.stride(2) != 1 || (per_row.size(0) != x.size(0) && per_row.size(0) != 1))
        return false;
    *step = per_row.size(0) == 1 ? 0 : per_row.stride(0);
    return true;
}

// Whether the pixels of each plane of x [b, c, t, h, w] are neighbours, and its channels divide into groups.
bool planes(const at::Tensor& x, int64_t groups) {
    return applies(x) && x.dim() == 5 && x.numel() > 0 && x.stride(4) == 1 && x.stride(3) == x.size(4) && groups >= 1 && x.size(1) % groups == 0;
}

}  // namespace

// GELU (tanh approximation) in place.
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

// Rotates pairs of neighbouring features of x [b, n, heads, d] by the cosines and sines of table [n, 1, d / 2, 2], into y.
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

// Mean and sum of squared differences from it of each group of channels of each frame of x [b, c, t, h, w], into y [b, groups, t, 2], float64.
PF_API int pf_fused_group_moments(Handle xh, int64_t groups, Handle* y) {
    return pf::guarded<int>(-1, [&] {
        auto x = pf::borrow(xh);
        if (!planes(x, groups)) return 0;
        auto out = at::empty({x.size(0), groups, x.size(2), 2}, x.options().dtype(at::kDouble));
        each_row(x.size(0) * groups * x.size(2), x.numel() / (x.size(0) * groups * x.size(2)), [&](int64_t first, int64_t end) {
            PF_CALL(x, group_moments, data<T>(x), x.strides().data(), data<double>(out), x.sizes().data(), groups, first, end);
        });
        *y = pf::give(std::move(out));
        return 1;
    });
}

// Normalises each frame of x [b, c, t, h, w] by itself in groups of channels, scales and shifts it by weight and bias [c], and applies SiLU, into y.
// Channels and frames of x may lie anywhere, pixels of a plane are neighbours. Where x is a part of the frames, `momentsh` has the moments of whole ones
// (pf_fused_group_moments), of `count` elements each; 0 computes them.
PF_API int pf_fused_group_norm_silu(Handle xh, Handle weighth, Handle biash, Handle momentsh, double count, int64_t groups, double eps, Handle* y) {
    return pf::guarded<int>(-1, [&] {
        auto x = pf::borrow(xh), weight = pf::borrow(weighth), bias = pf::borrow(biash);
        if (!planes(x, groups)) return 0;
        for (auto* each : {&weight, &bias}) {
            if (!applies(*each) || each->scalar_type() != x.scalar_type() || !each->is_contiguous() || each->numel() != x.size(1)) return 0;
        }
        const double* given = nullptr;
        if (momentsh) {
            const auto& moments = pf::borrow(momentsh);
            if (!moments.is_contiguous() || moments.scalar_type() != at::kDouble || moments.numel() != 2 * x.size(0) * groups * x.size(2)) return 0;
            given = data<double>(moments);
        } else {
            count = static_cast<double>(x.numel() / (x.size(0) * groups * x.size(2)));
        }
        auto out = at::empty(x.sizes(), x.options().memory_format(at::MemoryFormat::Contiguous));
        each_row(x.size(0) * groups * x.size(2), x.numel() / (x.size(0) * groups * x.size(2)), [&](int64_t first, int64_t end) {
            PF_CALL(x, group_norm_silu, data<T>(x), x.strides().data(), data<T>(weight), data<T>(bias), given, count, data<T>(out), x.sizes().data(), groups,
                first, end, static_cast<float>(eps));
        });
        *y = pf::give(std::move(out));
        return 1;
    });
}
