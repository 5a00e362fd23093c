// Products of integers of 8 bits.
#pragma once

#include <ATen/ATen.h>

namespace lopt {

// Rows int8 [M, K], in -127..127, and weight int8 [N, K] -> rows weightT, int32 [M, N].
at::Tensor Int8Product(const at::Tensor& rows, const at::Tensor& weight);

}  // namespace lopt
