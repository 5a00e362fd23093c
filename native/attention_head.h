// Attention of one head of one row, in float32. Knows no tensor.
#pragma once

#include <cstdint>
#include <vector>

namespace lopt {

// The size of a head is a multiple of this.
constexpr int64_t kAttentionLanes = 16;

// Keys and values [count, size], and from one row to the next.
struct AttentionKeys {
  const float* key = nullptr;
  const float* value = nullptr;
  int64_t key_stride = 0, value_stride = 0, count = 0;
};

struct AttentionHead {
  const float* query;  // [queries, size]
  // All that a query sees: what several rows may stand behind, read where it lies, then the row's
  // own.
  AttentionKeys before, own;
  const float* bias;  // [queries, keys], added to the scores; or null
  float* out;         // [queries, size]
  // From one row to the next; 0 for a bias that all queries share.
  int64_t query_stride, bias_stride, out_stride;
  int64_t queries, size;
  float scale;
  // Query i sees the keys up to i.
  bool causal;

  int64_t Keys() const { return before.count + own.count; }
};

// Used again by one head after the other.
struct AttentionScratch {
  std::vector<float> turned;  // the keys, [size, keys]
  std::vector<float> values;  // without gaps, which would share few places of the cache
  std::vector<float> query;
  std::vector<float> scores;
};

// out = softmax(query keyT scale + bias) value. What `next` reads, the head after this one, is
// fetched meanwhile.
void AttendHead(const AttentionHead& head, const AttentionHead& next, AttentionScratch& scratch);

}  // namespace lopt
