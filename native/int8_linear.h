// Products with weights of 8 bits.
#pragma once

#include <ATen/ATen.h>

#include <tuple>

namespace lopt {

// Rows [N, K] of floats -> int8 [N, K] and float32 scales [N]: row n is about its integers times
// its scale, which makes the largest of them 127. A row of zeros has the scale 0, one that is not
// finite a scale that is not.
std::tuple<at::Tensor, at::Tensor> QuantizeRows(const at::Tensor& rows);

}  // namespace lopt
