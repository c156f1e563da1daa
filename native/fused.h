// Common parts of the one-pass CPU kernels: element types, instruction sets, e^x.
#pragma once
#include "shim.h"

#include <cstring>

// The compiler generates these functions for several instruction sets, and the loader selects the one for the CPU.
#if defined(__x86_64__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__)
#define PF_EACH_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PF_EACH_CPU
#endif
#define PF_INLINE inline __attribute__((always_inline))

namespace pf {

using bf16 = uint16_t;
template <typename To, typename From>
PF_INLINE To bits(From from) {
    To to;
    std::memcpy(&to, &from, sizeof(to));
    return to;
}

PF_INLINE float load(float x) { return x; }
PF_INLINE float load(bf16 x) { return bits<float>(static_cast<uint32_t>(x) << 16); }
PF_INLINE void store(float& to, float x) { to = x; }
PF_INLINE void store(bf16& to, float x) {      // rounds to nearest, ties to even; NaN stays NaN
    uint32_t b = bits<uint32_t>(x);
    to = (b & 0x7fffffffu) > 0x7f800000u ? 0x7fc0 : static_cast<bf16>((b + 0x7fffu + ((b >> 16) & 1)) >> 16);
}

// e^x: 2^n times a polynomial over half a step of ln 2 (the coefficients of Cephes' expf); 2 units in the last place.
PF_INLINE float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    constexpr float nearest = 12582912.0f;     // 1.5 * 2^23: adding it rounds to an integer
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

template <typename T>
T* data(const at::Tensor& x) { return static_cast<T*>(x.data_ptr()); }

inline bool applies(const at::Tensor& x) {
    return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16)
        && !(at::GradMode::is_enabled() && x.requires_grad());
}

}  // namespace pf

// Defines one function for each element type.
#define PF_BOTH_TYPES(NAME, PARAMETERS, BODY)                     \
    PF_EACH_CPU void NAME##_float PARAMETERS(float) BODY          \
    PF_EACH_CPU void NAME##_bf16 PARAMETERS(bf16) BODY

// Calls NAME_float or NAME_bf16 with pointers of that type.
#define PF_CALL(TENSOR, NAME, ...)                                                             \
    do {                                                                                       \
        if ((TENSOR).scalar_type() == at::kFloat) { using T = float; NAME##_float(__VA_ARGS__); } \
        else { using T = bf16; NAME##_bf16(__VA_ARGS__); }                                     \
    } while (0)
