// Products of int8 on a CPU with AVX2 and without AVX-512, for which oneDNN has none: libtorch's
// would multiply number by number. Knows no tensor.
#pragma once

#include <cstdint>

namespace lopt {

bool MultipliesByAvx2();

struct Int8Factors {
  const int8_t* rows;    // [M, K]
  const int8_t* weight;  // [N, K]
  int32_t* out;          // [M, N]
  int64_t M, N, K;
};

// The outputs from `begin` to `end`.
void MultiplyByAvx2(const Int8Factors& product, int64_t begin, int64_t end);

}  // namespace lopt
