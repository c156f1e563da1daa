// Attention of a block of queries, with AVX-512: scores never leave the first caches. A vector holds 16 queries, so keys and values are read where
// they lie, one number (or pair) at a time, and maxima and sums of the softmax need no reduction within a vector. bfloat16 is multiplied in pairs
// with sums in float32 (AVX512-BF16), so two features of the queries, two weights and two values share a lane. Scores are float32; weights are rounded
// to the element type before the product with the values, and their sum divides the result.
//
// CMakeLists.txt compiles this file for these instructions. It includes no header whose inline functions other files share: the linker keeps one
// copy of such a function, which would then need these instructions everywhere.
#include "attention_block.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__AVX512BF16__)
#include <immintrin.h>

namespace pf {

namespace {

constexpr int lanes = 16, vectors = attention_queries / lanes;
constexpr int keys_at_once = 64;               // their scores stay in the first cache
constexpr int tile = 4;                        // keys or features whose sums stay in registers

// Numbers that share one lane: two in bfloat16.
template <typename T> constexpr int packed = 4 / sizeof(T);

inline __m512 multiply_add(__m512 sum, __m512i a, int32_t b, uint16_t) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(_mm512_set1_epi32(b)));
}
inline __m512 multiply_add(__m512 sum, __m512i a, int32_t b, float) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(_mm512_set1_epi32(b)), sum);
}

inline int32_t lane(const void* from) {
    int32_t value;
    __builtin_memcpy(&value, from, sizeof(value));
    return value;
}

// 2^x: 2^n times a polynomial over the rest, which is at most a half (1 at 0, interpolated at Chebyshev points); within 2e-7 of the result.
inline __m512 power_of_two(__m512 x) {
    const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 r = _mm512_sub_ps(x, n);
    __m512 p = _mm512_set1_ps(1.33813021e-3f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.66636837e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.55038117e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.40223497e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.93147182e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

// Rows become columns.
inline void transpose(__m512i (&x)[lanes]) {
    __m512i y[lanes];
    for (int i = 0; i < lanes; i += 2) {
        y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
    for (int i = 0; i < lanes; i += 4) {
        x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
        x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
        x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
        x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        y[i] = _mm512_shuffle_i32x4(x[i], x[i + 4], 0x88);
        y[i + 4] = _mm512_shuffle_i32x4(x[i], x[i + 4], 0xdd);
        y[i + 8] = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0x88);
        y[i + 12] = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        x[i] = _mm512_shuffle_i32x4(y[i], y[i + 8], 0x88);
        x[i + 4] = _mm512_shuffle_i32x4(y[i + 4], y[i + 12], 0x88);
        x[i + 8] = _mm512_shuffle_i32x4(y[i], y[i + 8], 0xdd);
        x[i + 12] = _mm512_shuffle_i32x4(y[i + 4], y[i + 12], 0xdd);
    }
}

inline __mmask16 first(int count) { return static_cast<__mmask16>(count >= lanes ? 0xffff : (1 << count) - 1); }

// Weights of two neighbouring keys, or of one.
inline __m512i pack(__m512 even, __m512 odd) {
    const auto low = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(even)));
    const auto high = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(odd)));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

inline void store_row(float* to, __m512i x, __mmask16 some) { _mm512_mask_storeu_epi32(to, some, x); }
inline void store_row(uint16_t* to, __m512i x, __mmask16 some) {
    _mm256_mask_storeu_epi16(to, some, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_castsi512_ps(x))));
}

// sums[t][v] += sum over i < count of a[i][v] * b[i, t], where b moves by `next` bytes with i and by `other` bytes with t. The sums stay in registers.
template <typename T, int V, int Tile>
inline void multiply(__m512 (&sums)[tile][vectors], const __m512i (*a)[vectors], const char* b, int64_t next, int64_t other, int count) {
    for (int i = 0; i < count; i++, b += next) {
        for (int t = 0; t < Tile; t++) {
            const int32_t value = lane(b + t * other);
            for (int v = 0; v < V; v++) sums[t][v] = multiply_add(sums[t][v], a[i][v], value, T{});
        }
    }
}

// The work on one block of at most 16 V queries. Keys come `keys_at_once` at a time; largest scores, sums and results go on from one group to the next.
template <typename T, int V>
class Attention {
public:
    Attention(const T* q, int64_t step, int queries, int width, float scale)
        : queries(queries), width(width), scale(_mm512_set1_ps(scale * 1.44269504f)) {     // weights are powers of two
        for (int j = 0; j < width / packed<T>; j += lanes) {
            const int some = width / packed<T> - j;
            for (int v = 0; v < V; v++) {
                __m512i rows[lanes];
                for (int i = 0; i < lanes; i++) {
                    const int row = v * lanes + i;
                    rows[i] = row < queries ? _mm512_maskz_loadu_epi32(first(some), q + row * step + j * packed<T>) : _mm512_setzero_si512();
                }
                transpose(rows);
                for (int i = 0; i < lanes && i < some; i++) query[j + i][v] = rows[i];
            }
        }
        for (int v = 0; v < V; v++) {
            most[v] = _mm512_set1_ps(-__builtin_inff());
            total[v] = _mm512_setzero_ps();
            for (int d = 0; d < width; d++) sums[d][v] = _mm512_setzero_ps();
        }
    }

    void see(const AttentionKeys<T>& keys) {
        for (int64_t from = 0; from < keys.count; from += keys_at_once) {
            const int count = static_cast<int>(keys.count - from < keys_at_once ? keys.count - from : keys_at_once);
            score(keys.k + from * keys.k_step, keys.k_step, count);
            weigh(count);
            add(keys.v + from * keys.v_step, keys.v_step, count);
        }
    }

    void write(T* y, int64_t step) const {
        for (int v = 0; v < V; v++) {
            const __m512 share = _mm512_div_ps(_mm512_set1_ps(1.0f), total[v]);
            for (int d = 0; d < width; d += lanes) {
                __m512i rows[lanes];
                for (int i = 0; i < lanes; i++) rows[i] = d + i < width ? _mm512_castps_si512(_mm512_mul_ps(sums[d + i][v], share)) : _mm512_setzero_si512();
                transpose(rows);
                for (int i = 0; i < lanes && v * lanes + i < queries; i++) store_row(y + (v * lanes + i) * step + d, rows[i], first(width - d));
            }
        }
    }

private:
    template <int Tile>
    void score(const T* k, int64_t step, int key, __m512 (&larger)[vectors]) {
        __m512 products[tile][vectors];
        for (int t = 0; t < Tile; t++)
            for (int v = 0; v < V; v++) products[t][v] = _mm512_setzero_ps();
        multiply<T, V, Tile>(products, query, reinterpret_cast<const char*>(k + key * step), sizeof(int32_t), step * sizeof(T), width / packed<T>);
        for (int t = 0; t < Tile; t++) {
            for (int v = 0; v < V; v++) {
                scores[key + t][v] = products[t][v];
                larger[v] = _mm512_max_ps(larger[v], products[t][v]);
            }
        }
    }

    // Scores of a group of keys. What was summed up before is relative to the largest score so far, which may grow.
    void score(const T* k, int64_t step, int count) {
        __m512 larger[vectors];
        for (int v = 0; v < V; v++) larger[v] = most[v];
        int key = 0;
        for (; key + tile <= count; key += tile) score<tile>(k, step, key, larger);
        for (; key < count; key++) score<1>(k, step, key, larger);
        for (int v = 0; v < V; v++) {
            if (begun && _mm512_cmp_ps_mask(most[v], larger[v], _CMP_LT_OQ) != 0) {
                const __m512 less = power_of_two(_mm512_mul_ps(_mm512_sub_ps(most[v], larger[v]), scale));
                total[v] = _mm512_mul_ps(total[v], less);
                for (int d = 0; d < width; d++) sums[d][v] = _mm512_mul_ps(sums[d][v], less);
            }
            most[v] = larger[v];
        }
        begun = true;
    }

    __m512 weight(int key, int v) { return power_of_two(_mm512_mul_ps(_mm512_sub_ps(scores[key][v], most[v]), scale)); }

    void weigh(int count) {
        for (int key = 0; key < count; key += packed<T>) {
            for (int v = 0; v < V; v++) {
                __m512 even = weight(key, v), odd = _mm512_setzero_ps();
                if constexpr (packed<T> == 1) {
                    weights[key][v] = _mm512_castps_si512(even);
                } else {
                    if (key + 1 < count) odd = weight(key + 1, v);
                    weights[key / 2][v] = pack(even, odd);
                }
                total[v] = _mm512_add_ps(total[v], _mm512_add_ps(even, odd));
            }
        }
    }

    // Adds the weighted values of a group of keys.
    void add(const T* values, int64_t step, int count) {
        const char* from = reinterpret_cast<const char*>(values);
        int64_t next = step * static_cast<int64_t>(sizeof(T));
        if constexpr (packed<T> == 2) {
            for (int key = 0; key < count; key += 2) {
                const T* even = values + key * step;
                for (int d = 0; d < width; d += lanes) {
                    const auto some = first(width - d);
                    const auto low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, even + d));
                    const auto high = key + 1 < count ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, even + step + d)) : _mm512_setzero_si512();
                    _mm512_store_si512(pairs[key / 2] + d, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
                }
            }
            from = reinterpret_cast<const char*>(pairs);
            next = sizeof(pairs[0]);
        }
        for (int d = 0; d < width; d += tile) {
            __m512 some[tile][vectors];
            for (int t = 0; t < tile; t++)
                for (int v = 0; v < V; v++) some[t][v] = sums[d + t][v];
            multiply<T, V, tile>(some, weights, from + d * sizeof(int32_t), next, sizeof(int32_t), (count + packed<T> - 1) / packed<T>);
            for (int t = 0; t < tile; t++)
                for (int v = 0; v < V; v++) sums[d + t][v] = some[t][v];
        }
    }

    const int queries, width;
    const __m512 scale;
    bool begun = false;
    __m512 most[vectors], total[vectors];                       // largest score and sum of weights of a query
    __m512i query[attention_width / packed<T>][vectors];        // by feature or pair of features
    __m512 scores[keys_at_once][vectors];                       // by key
    __m512i weights[keys_at_once / packed<T>][vectors];         // by key or pair of keys
    alignas(64) int32_t pairs[keys_at_once / 2][attention_width];   // values of two neighbouring keys
    __m512 sums[attention_width][vectors];                      // weighted values, by feature
};

template <typename T, int V>
void attend(const AttentionBlock<T>& block, const AttentionKeys<T>* parts, int count) {
    Attention<T, V> attention(block.q, block.q_step, block.queries, block.width, block.scale);
    for (int part = 0; part < count; part++) attention.see(parts[part]);
    attention.write(block.y, block.y_step);
}

template <typename T>
void choose(const AttentionBlock<T>& block, const AttentionKeys<T>* parts, int count) {
    switch ((block.queries + lanes - 1) / lanes) {
        case 1: return attend<T, 1>(block, parts, count);
        case 2: return attend<T, 2>(block, parts, count);
        case 3: return attend<T, 3>(block, parts, count);
        default: return attend<T, 4>(block, parts, count);
    }
}

}  // namespace

bool has_attention_block(bool bfloat16) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")
        && (!bfloat16 || __builtin_cpu_supports("avx512bf16"));
}

void attention_block(const AttentionBlock<float>& block, const AttentionKeys<float>* parts, int count) { choose(block, parts, count); }
void attention_block(const AttentionBlock<uint16_t>& block, const AttentionKeys<uint16_t>* parts, int count) { choose(block, parts, count); }

}  // namespace pf

#else

namespace pf {

bool has_attention_block(bool) { return false; }
void attention_block(const AttentionBlock<float>&, const AttentionKeys<float>*, int) {}
void attention_block(const AttentionBlock<uint16_t>&, const AttentionKeys<uint16_t>*, int) {}

}  // namespace pf
#endif
