// Attention of a block of queries, with AVX-512: scores never leave the first caches. A vector holds 16 queries, so keys and values are read where
// they lie, one number (or pair) at a time, and maxima and sums of the softmax need no reduction within a vector. bfloat16 is multiplied in pairs
// with sums in float32 (AVX512-BF16), so two features of the queries, two weights and two values share a lane. Scores are float32; weights are rounded
// to the element type before the product with the values, and their sum divides the result.
//
// CMakeLists.txt compiles this file for these instructions. It includes no header whose inline functions other files share: the linker keeps one
// copy of such a function, which would then need these instructions everywhere.
#include "attention_block.h"

#ifdef __AVX512BF16__
#include <immintrin.h>

namespace pf {

namespace {

constexpr int lanes = 16, vectors = attention_queries / lanes;
constexpr int keys_at_once = 64;               // their scores stay in the first cache
constexpr int tile = 4;                        // keys or features whose sums stay in registers
constexpr float log2_e = 1.44269504f;

template <int N> struct Number { static constexpr int value = N; };

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

// Weights of one key, or of two neighbouring ones.
inline __m512i pack(__m512 one, __m512, float) { return _mm512_castps_si512(one); }
inline __m512i pack(__m512 even, __m512 odd, uint16_t) {
    const auto low = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(even)));
    const auto high = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(odd)));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

inline __m512 load_row(const float* from, __mmask16 some) { return _mm512_maskz_loadu_ps(some, from); }
inline __m512 load_row(const uint16_t* from, __mmask16 some) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, from)), 16));
}
inline void store_row(float* to, __m512i x, __mmask16 some) { _mm512_mask_storeu_epi32(to, some, x); }
inline void store_row(uint16_t* to, __m512i x, __mmask16 some) {
    _mm256_mask_storeu_epi16(to, some, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_castsi512_ps(x))));
}

// sums[t][v] += sum over i < count of a[i, v] * b[i, t]. `a` moves by `a_next` bytes with i and holds V vectors; b is a number (or pair) that moves by
// `b_next` bytes with i and by `b_other` with t. The sums stay in registers.
template <typename T, int V, int Tile>
inline void multiply(__m512 (&sums)[tile][vectors], const void* a, int64_t a_next, const void* b, int64_t b_next, int64_t b_other, int count) {
    const char *vector = static_cast<const char*>(a), *number = static_cast<const char*>(b);
    for (int i = 0; i < count; i++, vector += a_next, number += b_next) {
        for (int t = 0; t < Tile; t++) {
            const int32_t value = lane(number + t * b_other);
            for (int v = 0; v < V; v++) sums[t][v] = multiply_add(sums[t][v], _mm512_loadu_si512(vector + v * sizeof(__m512i)), value, T{});
        }
    }
}

// Rows of queries as vectors of 16 V queries, by feature or pair of features. Queries that are not there are zero.
template <typename T, int V>
inline void by_feature(__m512i (*to)[vectors], const T* rows, int64_t step, int queries, int width) {
    for (int j = 0; j < width / packed<T>; j += lanes) {
        const int some = width / packed<T> - j;
        for (int v = 0; v < V; v++) {
            __m512i square[lanes];
            for (int i = 0; i < lanes; i++) {
                const int row = v * lanes + i;
                square[i] = row < queries ? _mm512_maskz_loadu_epi32(first(some), rows + row * step + j * packed<T>) : _mm512_setzero_si512();
            }
            transpose(square);
            for (int i = 0; i < lanes && i < some; i++) to[j + i][v] = square[i];
        }
    }
}

// Rows as vectors of features: one row, or a pair of neighbouring rows, to a row of `to`. Rows and features that are not there are zero.
template <typename T>
inline void by_row(int32_t (*to)[attention_width], const T* rows, int64_t step, int count, int all, int width) {
    for (int row = 0; row < all; row += packed<T>) {
        for (int d = 0; d < width; d += lanes) {
            const auto some = first(width - d);
            const T* from = rows + row * step + d;
            if constexpr (packed<T> == 2) {
                const auto low = row < count ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, from)) : _mm512_setzero_si512();
                const auto high = row + 1 < count ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, from + step)) : _mm512_setzero_si512();
                _mm512_store_si512(to[row / 2] + d, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
            } else {
                _mm512_store_si512(to[row] + d, row < count ? _mm512_maskz_loadu_epi32(some, from) : _mm512_setzero_si512());
            }
        }
    }
}

// The reverse of by_feature, for float32 sums by feature, of which each is multiplied by the factor of its query.
template <typename T, int V>
inline void write(T* to, int64_t step, const __m512 (*sums)[vectors], const __m512* factors, int queries, int width) {
    for (int v = 0; v < V; v++) {
        for (int d = 0; d < width; d += lanes) {
            __m512i square[lanes];
            for (int i = 0; i < lanes; i++) square[i] = d + i < width ? _mm512_castps_si512(_mm512_mul_ps(sums[d + i][v], factors[v])) : _mm512_setzero_si512();
            transpose(square);
            for (int i = 0; i < lanes && v * lanes + i < queries; i++) store_row(to + (v * lanes + i) * step + d, square[i], first(width - d));
        }
    }
}

// scores[key] = query . row, for the rows of a group of keys; both by feature.
template <typename T, int V, typename Take>
inline void products_with(const __m512i (*query)[vectors], const T* rows, int64_t step, int count, int width, Take take) {
    auto some = [&](auto size, int key) {
        constexpr int Tile = decltype(size)::value;
        __m512 sums[tile][vectors];
        for (int t = 0; t < Tile; t++)
            for (int v = 0; v < V; v++) sums[t][v] = _mm512_setzero_ps();
        multiply<T, V, Tile>(sums, query, sizeof(*query), rows + key * step, sizeof(int32_t), step * sizeof(T), width / packed<T>);
        for (int t = 0; t < Tile; t++)
            for (int v = 0; v < V; v++) take(key + t, v, sums[t][v]);
    };
    int key = 0;
    for (; key + tile <= count; key += tile) some(Number<tile>{}, key);
    for (; key < count; key++) some(Number<1>{}, key);
}

// sums[feature] += sum over keys of weight * value, with weights by key or pair of keys.
template <typename T, int V>
inline void add_weighted(__m512 (*sums)[vectors], const __m512i (*weights)[vectors], const T* values, int64_t step, int count, int width,
                         int32_t (*pairs)[attention_width]) {
    const char* from = reinterpret_cast<const char*>(values);
    int64_t next = step * static_cast<int64_t>(sizeof(T));
    if constexpr (packed<T> == 2) {
        by_row(pairs, values, step, count, count, width);
        from = reinterpret_cast<const char*>(pairs);
        next = sizeof(*pairs);
    }
    for (int d = 0; d < width; d += tile) {
        __m512 some[tile][vectors];
        for (int t = 0; t < tile; t++)
            for (int v = 0; v < V; v++) some[t][v] = sums[d + t][v];
        multiply<T, V, tile>(some, weights, sizeof(*weights), from + d * sizeof(int32_t), next, sizeof(int32_t), (count + packed<T> - 1) / packed<T>);
        for (int t = 0; t < tile; t++)
            for (int v = 0; v < V; v++) sums[d + t][v] = some[t][v];
    }
}

inline int group(int64_t from, int64_t count) { return static_cast<int>(count - from < keys_at_once ? count - from : keys_at_once); }

// Attention of at most 16 V queries. Keys come `keys_at_once` at a time; largest scores, sums and results go on from one group to the next.
template <typename T, int V>
class Attention {
public:
    explicit Attention(const AttentionBlock<T>& block) : block(block), scale(_mm512_set1_ps(block.scale * log2_e)) {
        by_feature<T, V>(query, block.q, block.q_step, block.queries, block.width);
        for (int v = 0; v < V; v++) {
            most[v] = _mm512_set1_ps(-__builtin_inff());
            total[v] = _mm512_setzero_ps();
            for (int d = 0; d < block.width; d++) sums[d][v] = _mm512_setzero_ps();
        }
    }

    void see(const AttentionKeys<T>& keys) {
        for (int64_t from = 0; from < keys.count; from += keys_at_once) {
            const int count = group(from, keys.count);
            score(keys.k + from * keys.k_step, keys.k_step, count);
            weigh(count);
            add_weighted<T, V>(sums, weights, keys.v + from * keys.v_step, keys.v_step, count, block.width, pairs);
        }
    }

    void finish() const {
        __m512 shares[vectors];
        for (int v = 0; v < V; v++) shares[v] = _mm512_div_ps(_mm512_set1_ps(1.0f), total[v]);
        write<T, V>(block.y, block.y_step, sums, shares, block.queries, block.width);
        if (!block.exponents) return;
        alignas(64) float largest[attention_queries], all[attention_queries];
        for (int v = 0; v < V; v++) {
            _mm512_store_ps(largest + v * lanes, _mm512_mul_ps(most[v], scale));
            _mm512_store_ps(all + v * lanes, total[v]);
        }
        for (int row = 0; row < block.queries; row++) block.exponents[row] = largest[row] + __builtin_log2f(all[row]);
    }

private:
    // Scores of a group of keys. What was summed up before is relative to the largest score so far, which may grow.
    void score(const T* k, int64_t step, int count) {
        __m512 larger[vectors];
        for (int v = 0; v < V; v++) larger[v] = most[v];
        products_with<T, V>(query, k, step, count, block.width, [&](int key, int v, __m512 product) {
            scores[key][v] = product;
            larger[v] = _mm512_max_ps(larger[v], product);
        });
        for (int v = 0; v < V; v++) {
            if (begun && _mm512_cmp_ps_mask(most[v], larger[v], _CMP_LT_OQ) != 0) {
                const __m512 less = power_of_two(_mm512_mul_ps(_mm512_sub_ps(most[v], larger[v]), scale));
                total[v] = _mm512_mul_ps(total[v], less);
                for (int d = 0; d < block.width; d++) sums[d][v] = _mm512_mul_ps(sums[d][v], less);
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
                if (packed<T> == 2 && key + 1 < count) odd = weight(key + 1, v);
                weights[key / packed<T>][v] = pack(even, odd, T{});
                total[v] = _mm512_add_ps(total[v], _mm512_add_ps(even, odd));
            }
        }
    }

    const AttentionBlock<T>& block;
    const __m512 scale;
    bool begun = false;
    __m512 most[vectors], total[vectors];                       // largest score and sum of weights of a query
    __m512i query[attention_width / packed<T>][vectors];
    __m512 scores[keys_at_once][vectors];
    __m512i weights[keys_at_once / packed<T>][vectors];
    alignas(64) int32_t pairs[keys_at_once / 2][attention_width];   // values of two neighbouring keys
    __m512 sums[attention_width][vectors];                      // weighted values, by feature
};

// Gradients of at most 16 V queries, and their part of those of keys and values. With p the weights, g the gradient of y and c = g . y of a query:
// dv = p^T g, ds = p (g v^T - c) scale, dq = ds k, dk = ds^T q. Weights are computed again from the scores and the exponents.
template <typename T, int V>
class AttentionGradient {
public:
    AttentionGradient(const AttentionBlock<T>& block, const T* g, int64_t g_step) : block(block) {
        by_feature<T, V>(query, block.q, block.q_step, block.queries, block.width);
        by_feature<T, V>(given, g, g_step, block.queries, block.width);
        by_row(query_rows, block.q, block.q_step, block.queries, attention_queries, block.width);
        by_row(given_rows, g, g_step, block.queries, attention_queries, block.width);
        alignas(64) float dot[attention_queries] = {}, exponent[attention_queries];
        for (int row = 0; row < attention_queries; row++) {
            exponent[row] = row < block.queries ? block.exponents[row] : __builtin_inff();      // the others have no weights
            if (row >= block.queries) continue;
            for (int d = 0; d < block.width; d += lanes) {
                const auto some = first(block.width - d);
                dot[row] += _mm512_reduce_add_ps(_mm512_mul_ps(load_row(g + row * g_step + d, some), load_row(block.y + row * block.y_step + d, some)));
            }
        }
        for (int v = 0; v < V; v++) {
            common[v] = _mm512_load_ps(dot + v * lanes);
            exponents[v] = _mm512_load_ps(exponent + v * lanes);
            for (int d = 0; d < block.width; d++) sums[d][v] = _mm512_setzero_ps();
        }
    }

    // Adds to the gradients of keys and values, rows of `gradient_step` numbers that are a multiple of 16.
    void see(const AttentionKeys<T>& keys, float* key_gradients, float* value_gradients, int64_t gradient_step) {
        const __m512 scale = _mm512_set1_ps(block.scale), power = _mm512_set1_ps(block.scale * log2_e);
        for (int64_t from = 0; from < keys.count; from += keys_at_once) {
            const int count = group(from, keys.count);
            const T *k = keys.k + from * keys.k_step, *values = keys.v + from * keys.v_step;
            products_with<T, V>(query, k, keys.k_step, count, block.width, [&](int key, int v, __m512 score) {
                weights[key][v] = power_of_two(_mm512_fmsub_ps(score, power, exponents[v]));
                store_row(weight_rows[key] + v * lanes, _mm512_castps_si512(weights[key][v]), 0xffff);
            });
            products_with<T, V>(given, values, keys.v_step, count, block.width, [&](int key, int v, __m512 product) {
                gradients[key][v] = _mm512_mul_ps(_mm512_mul_ps(weights[key][v], _mm512_sub_ps(product, common[v])), scale);
                store_row(gradient_rows[key] + v * lanes, _mm512_castps_si512(gradients[key][v]), 0xffff);
            });
            add_rows(value_gradients + from * gradient_step, gradient_step, given_rows, weight_rows, count);
            add_rows(key_gradients + from * gradient_step, gradient_step, query_rows, gradient_rows, count);
            for (int key = 0; key < count; key += packed<T>) {
                for (int v = 0; v < V; v++)
                    packed_gradients[key / packed<T>][v] = pack(gradients[key][v], key + 1 < count ? gradients[key + packed<T> - 1][v] : _mm512_setzero_ps(), T{});
            }
            add_weighted<T, V>(sums, packed_gradients, k, keys.k_step, count, block.width, pairs);
        }
    }

    void finish(T* query_gradients, int64_t step) const {
        __m512 one[vectors];
        for (int v = 0; v < V; v++) one[v] = _mm512_set1_ps(1.0f);
        write<T, V>(query_gradients, step, sums, one, block.queries, block.width);
    }

private:
    // to[key] += sum over queries of numbers[key, query] * rows[query].
    void add_rows(float* to, int64_t step, const int32_t (*rows)[attention_width], const T (*numbers)[attention_queries], int count) {
        for (int d = 0; d < block.width; d += vectors * lanes) {
            switch ((block.width - d + lanes - 1) / lanes) {
                case 1: add_rows<1>(to + d, step, rows[0] + d, numbers, count); break;
                case 2: add_rows<2>(to + d, step, rows[0] + d, numbers, count); break;
                case 3: add_rows<3>(to + d, step, rows[0] + d, numbers, count); break;
                default: add_rows<4>(to + d, step, rows[0] + d, numbers, count); break;
            }
        }
    }

    template <int Features>
    void add_rows(float* to, int64_t step, const int32_t* rows, const T (*numbers)[attention_queries], int count) {
        auto some = [&](auto size, int key) {
            constexpr int Tile = decltype(size)::value;
            __m512 added[tile][vectors];
            for (int t = 0; t < Tile; t++)
                for (int v = 0; v < Features; v++) added[t][v] = _mm512_loadu_ps(to + (key + t) * step + v * lanes);
            multiply<T, Features, Tile>(added, rows, attention_width * sizeof(int32_t), numbers[key], sizeof(int32_t), sizeof(*numbers), V * lanes / packed<T>);
            for (int t = 0; t < Tile; t++)
                for (int v = 0; v < Features; v++) _mm512_storeu_ps(to + (key + t) * step + v * lanes, added[t][v]);
        };
        int key = 0;
        for (; key + tile <= count; key += tile) some(Number<tile>{}, key);
        for (; key < count; key++) some(Number<1>{}, key);
    }

    const AttentionBlock<T>& block;
    __m512 common[vectors], exponents[vectors];
    __m512i query[attention_width / packed<T>][vectors], given[attention_width / packed<T>][vectors];
    alignas(64) int32_t query_rows[attention_queries / packed<T>][attention_width], given_rows[attention_queries / packed<T>][attention_width];
    __m512 weights[keys_at_once][vectors], gradients[keys_at_once][vectors];
    alignas(64) T weight_rows[keys_at_once][attention_queries], gradient_rows[keys_at_once][attention_queries];
    __m512i packed_gradients[keys_at_once / packed<T>][vectors];
    alignas(64) int32_t pairs[keys_at_once / 2][attention_width];
    __m512 sums[attention_width][vectors];
};

// Calls `work` with the number of vectors that hold the queries.
template <typename Work>
inline void with_vectors(int queries, Work work) {
    switch ((queries + lanes - 1) / lanes) {
        case 1: return work(Number<1>{});
        case 2: return work(Number<2>{});
        case 3: return work(Number<3>{});
        default: return work(Number<4>{});
    }
}

template <typename T>
void attend(const AttentionBlock<T>& block, const AttentionKeys<T>* parts, int count) {
    with_vectors(block.queries, [&](auto size) {
        Attention<T, decltype(size)::value> attention(block);
        for (int part = 0; part < count; part++) attention.see(parts[part]);
        attention.finish();
    });
}

template <typename T>
void differentiate(const AttentionBlock<T>& block, const AttentionKeys<T>* parts, int count, const AttentionGradients<T>& gradients) {
    with_vectors(block.queries, [&](auto size) {
        AttentionGradient<T, decltype(size)::value> gradient(block, gradients.y, gradients.y_step);
        for (int part = 0; part < count; part++) {
            const int64_t at = parts[part].first * gradients.key_step;
            gradient.see(parts[part], gradients.k + at, gradients.v + at, gradients.key_step);
        }
        gradient.finish(gradients.q, gradients.q_step);
    });
}

}  // namespace

void attention_block(const AttentionBlock<float>& block, const AttentionKeys<float>* parts, int count) { attend(block, parts, count); }
void attention_block(const AttentionBlock<uint16_t>& block, const AttentionKeys<uint16_t>* parts, int count) { attend(block, parts, count); }
void attention_gradient(const AttentionBlock<float>& block, const AttentionKeys<float>* parts, int count, const AttentionGradients<float>& gradients) {
    differentiate(block, parts, count, gradients);
}
void attention_gradient(const AttentionBlock<uint16_t>& block, const AttentionKeys<uint16_t>* parts, int count, const AttentionGradients<uint16_t>& gradients) {
    differentiate(block, parts, count, gradients);
}

}  // namespace pf

#endif
