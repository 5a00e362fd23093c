// Products of few rows of int8 with a matrix of int8 that lies as it is stored. Knows no tensor.
#pragma once

#include <cstdint>

namespace lopt {

// AVX-512 with VNNI.
bool MultipliesFewRows();

// 128 times the sum of a row.
int32_t ExcessOf(const int8_t* row, int64_t size);

struct FewRows {
  const int8_t* rows;     // [M, K]
  const int8_t* weight;   // [N, K]
  const int32_t* excess;  // [M], of each row
  int32_t* out;           // [M, N]
  int64_t M, N, K;
};

// The outputs from `begin` to `end`.
void MultiplyFewRows(const FewRows& product, int64_t begin, int64_t end);

}  // namespace lopt
