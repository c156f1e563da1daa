// Attention of a block of queries of one head, for CPUs with AVX-512.
#pragma once
#include <cstdint>

namespace pf {

constexpr int attention_queries = 64;          // most queries of a block
constexpr int attention_width = 128;           // most features of a head

// softmax(scale q k^T) v of up to 64 queries. Steps are distances between rows, in elements; features of a row are neighbours.
template <typename T>
struct AttentionBlock {
    const T* q;
    int64_t q_step;
    int queries, width;                        // width: features of a head, divisible by 4
    float scale;                               // positive
    T* y;
    int64_t y_step;
};

// Neighbouring keys and their values.
template <typename T>
struct AttentionKeys {
    const T *k, *v;
    int64_t k_step, v_step, count;
};

// Whether the CPU has the instructions for float32, or for bfloat16 too.
bool has_attention_block(bool bfloat16);

void attention_block(const AttentionBlock<float>& block, const AttentionKeys<float>* parts, int count);
void attention_block(const AttentionBlock<uint16_t>& block, const AttentionKeys<uint16_t>* parts, int count);

}  // namespace pf
