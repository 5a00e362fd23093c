// Products of a frozen model whose weights are int8, each row with a scale of its own (an output
// channel). The rows of the other factor are quantized in the same way for each product (dynamic
// quantization by token: Dettmers et al. 2022, arXiv:2208.07339, section 2; Xiao et al. 2022,
// arXiv:2211.10438, table 2), and integers are multiplied: oneDNN's int8 product, which libtorch
// has as `_int_mm`, with VNNI where the CPU has it.
#include "int8_linear.h"

#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace lopt {
namespace {

using at::Tensor;

// One source for several CPUs: which one runs is found when the addon is loaded.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define LOPT_FOR_CPUS __attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#else
#define LOPT_FOR_CPUS
#endif

// Rows below this many numbers are not worth another thread.
constexpr int64_t kNumbersOfAThread = 1 << 14;

// Its inverse is still a number.
constexpr float kSmallest = 1e-35F;

int64_t RowsOfAThread(int64_t numbers) {
  return std::max<int64_t>(1, kNumbersOfAThread / std::max<int64_t>(1, numbers));
}

// Rounds to the nearest integer, ties to even, by the bits of a float: faster than a call, and
// every compiler makes it a vector's. `x` is at most 127 in magnitude.
inline float Rounded(float x) {
  constexpr float kShift = 12582912.0F;  // 1.5 * 2^23
  return (x + kShift) - kShift;
}

LOPT_FOR_CPUS
float QuantizeRow(const float* row, int8_t* out, int64_t size) {
  // Magnitudes are ordered as their bits are, infinities and NaNs above all numbers.
  int32_t largest_bits = 0;
  for (int64_t i = 0; i < size; ++i)
    largest_bits = std::max(largest_bits, std::bit_cast<int32_t>(row[i]) & 0x7fffffff);
  const float largest = std::bit_cast<float>(largest_bits);
  if (!std::isfinite(largest)) {  // the scale alone says so, and spreads to all that the row gives
    std::fill(out, out + size, static_cast<int8_t>(1));
    return std::numeric_limits<float>::quiet_NaN();
  }
  if (largest < kSmallest) {
    std::fill(out, out + size, static_cast<int8_t>(0));
    return 0.0F;
  }
  const float inverse = 127.0F / largest;
  for (int64_t i = 0; i < size; ++i) out[i] = static_cast<int8_t>(Rounded(row[i] * inverse));
  return largest / 127.0F;
}

LOPT_FOR_CPUS
void ScaleRow(const int32_t* sums, float row_scale, const float* scales, const float* bias,
              float* out, int64_t size) {
  if (bias == nullptr) {
    for (int64_t i = 0; i < size; ++i)
      out[i] = static_cast<float>(sums[i]) * (row_scale * scales[i]);
    return;
  }
  for (int64_t i = 0; i < size; ++i)
    out[i] = static_cast<float>(sums[i]) * (row_scale * scales[i]) + bias[i];
}

// x [M, K], weight int8 [N, K], scale [N], bias [N] -> x weightT + bias, [M, N] in x's dtype.
// Batches of rows too.
Tensor Int8Linear(const Tensor& x, const Tensor& weight, const Tensor& scale,
                  const std::optional<Tensor>& bias) {
  TORCH_CHECK(weight.dim() == 2 && weight.scalar_type() == at::kChar && x.dim() >= 1 &&
                  x.size(-1) == weight.size(1) && scale.numel() == weight.size(0),
              "int8_linear: ", x.sizes(), " x ", weight.sizes(), " with ", scale.sizes(),
              " scales do not align");
  TORCH_CHECK(x.is_cpu(), "int8_linear: only on a CPU");
  const int64_t N = weight.size(0);
  std::vector<int64_t> shape(x.sizes().begin(), x.sizes().end() - 1);
  shape.push_back(N);
  const auto [rows, row_scales] = QuantizeRows(x.reshape({-1, x.size(-1)}));
  const int64_t M = rows.size(0);
  Tensor out = at::empty({M, N}, rows.options().dtype(at::kFloat));
  if (M > 0) {
    const Tensor sums = at::_int_mm(rows, weight.t());
    const Tensor column_scales = scale.to(at::kFloat).contiguous();
    const Tensor added = bias ? bias->to(at::kFloat).contiguous() : Tensor();
    const auto* from = sums.const_data_ptr<int32_t>();
    const auto* of_rows = row_scales.const_data_ptr<float>();
    const auto* of_columns = column_scales.const_data_ptr<float>();
    const float* offset = bias ? added.const_data_ptr<float>() : nullptr;
    auto* to = out.mutable_data_ptr<float>();
    at::parallel_for(0, M, RowsOfAThread(N), [=](int64_t begin, int64_t end) {
      for (int64_t m = begin; m < end; ++m)
        ScaleRow(from + m * N, of_rows[m], of_columns, offset, to + m * N, N);
    });
  }
  return out.view(shape).to(x.scalar_type());
}

}  // namespace

std::tuple<Tensor, Tensor> QuantizeRows(const Tensor& rows) {
  TORCH_CHECK(rows.dim() == 2, "quantizeRows: expected a matrix but received ", rows.sizes());
  const Tensor from = rows.to(at::kFloat).contiguous();
  const int64_t N = from.size(0);
  const int64_t K = from.size(1);
  Tensor quantized = at::empty({N, K}, from.options().dtype(at::kChar));
  Tensor scales = at::empty({N}, from.options());
  const auto* values = from.const_data_ptr<float>();
  auto* out = quantized.mutable_data_ptr<int8_t>();
  auto* of_rows = scales.mutable_data_ptr<float>();
  at::parallel_for(0, N, RowsOfAThread(K), [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) of_rows[n] = QuantizeRow(values + n * K, out + n * K, K);
  });
  return {quantized, scales};
}

// No gradient: a backbone of int8 weights is not trained through.
TORCH_LIBRARY(lopt, library) {
  library.def("int8_linear(Tensor x, Tensor weight, Tensor scale, Tensor? bias) -> Tensor");
}

TORCH_LIBRARY_IMPL(lopt, CPU, library) { library.impl("int8_linear", &Int8Linear); }

}  // namespace lopt
