// Attention of a block of queries of one head, for CPUs with AVX-512.
#pragma once
#include <cstdint>

namespace pf {

constexpr int attention_queries = 64;          // most queries of a block
constexpr int attention_width = 128;           // most features of a head

// y = softmax(scale q k^T) v of up to 64 queries. Steps are distances between rows, in elements; features of a row are neighbours.
template <typename T>
struct AttentionBlock {
    const T* q;
    int64_t q_step;
    int queries, width;                        // width: features of a head, divisible by 4
    float scale;                               // positive
    T* y;
    int64_t y_step;
    float* exponents;                          // of each query the e with 2^e = sum of e^(scale q k), for gradients; null where nobody asks
};

// Neighbouring keys and their values. `first` is the place of the first key among all, where its gradients go.
template <typename T>
struct AttentionKeys {
    const T *k, *v;
    int64_t k_step, v_step, count, first;
};

// Gradients: y is given, q is written, and those of keys and values are added up in float32, in rows of a multiple of 16 numbers.
template <typename T>
struct AttentionGradients {
    const T* y;
    int64_t y_step;
    T* q;
    int64_t q_step;
    float *k, *v;
    int64_t key_step;
};

void attention_block(const AttentionBlock<float>& block, const AttentionKeys<float>* parts, int count);
void attention_block(const AttentionBlock<uint16_t>& block, const AttentionKeys<uint16_t>* parts, int count);

// `block` is that of attention_block, with y and exponents as it left them.
void attention_gradient(const AttentionBlock<float>& block, const AttentionKeys<float>* parts, int count, const AttentionGradients<float>& gradients);
void attention_gradient(const AttentionBlock<uint16_t>& block, const AttentionKeys<uint16_t>* parts, int count, const AttentionGradients<uint16_t>& gradients);

}  // namespace pf
