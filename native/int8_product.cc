// Products of integers: oneDNN's, which libtorch has as `_int_mm`, with VNNI where the CPU has it.
// It packs the weights anew for each product, so that few rows, those of decoding, get them at a
// fraction of the memory's rate: few_rows.cc reads them as they lie. A CPU that oneDNN has no
// product of integers for is avx2_product.cc's.
#include "int8_product.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "avx2_product.h"
#include "few_rows.h"
#include "parallel.h"

namespace lopt {
namespace {

using at::Tensor;

// More rows are oneDNN's.
constexpr int64_t kMostFewRows = 32;

// A thread multiplies so many pairs of numbers at least.
constexpr int64_t kPairsOfAThread = 1 << 19;

// Columns that a thread takes at once.
constexpr int64_t kColumns = 4;

// Calls `multiply` with ranges of the outputs, on several threads.
void ForColumns(int64_t M, int64_t N, int64_t K,
                c10::function_ref<void(int64_t begin, int64_t end)> multiply) {
  const int64_t least = std::max<int64_t>(1, kPairsOfAThread / (kColumns * K * M));
  ParallelFor((N + kColumns - 1) / kColumns, least, [&](int64_t begin, int64_t end) {
    multiply(begin * kColumns, std::min(N, end * kColumns));
  });
}

Tensor ProductOfFewRows(const Tensor& rows, const Tensor& weight) {
  const int64_t M = rows.size(0);
  const int64_t K = rows.size(1);
  const int64_t N = weight.size(0);
  const auto* x = rows.const_data_ptr<int8_t>();
  std::vector<int32_t> excess(M);
  for (int64_t m = 0; m < M; ++m) excess[m] = ExcessOf(x + m * K, K);
  Tensor sums = at::empty({M, N}, rows.options().dtype(at::kInt));
  const FewRows product{.rows = x,
                        .weight = weight.const_data_ptr<int8_t>(),
                        .excess = excess.data(),
                        .out = sums.mutable_data_ptr<int32_t>(),
                        .M = M,
                        .N = N,
                        .K = K};
  ForColumns(M, N, K, [&](int64_t begin, int64_t end) { MultiplyFewRows(product, begin, end); });
  return sums;
}

Tensor ProductByAvx2(const Tensor& rows, const Tensor& weight) {
  const int64_t M = rows.size(0);
  const int64_t K = rows.size(1);
  const int64_t N = weight.size(0);
  Tensor sums = at::empty({M, N}, rows.options().dtype(at::kInt));
  const Int8Factors product{.rows = rows.const_data_ptr<int8_t>(),
                            .weight = weight.const_data_ptr<int8_t>(),
                            .out = sums.mutable_data_ptr<int32_t>(),
                            .M = M,
                            .N = N,
                            .K = K};
  ForColumns(M, N, K, [&](int64_t begin, int64_t end) { MultiplyByAvx2(product, begin, end); });
  return sums;
}

}  // namespace

Tensor Int8Product(const Tensor& rows, const Tensor& weight) {
  const bool suits = rows.numel() > 0 && weight.is_contiguous();
  if (suits && rows.size(0) <= kMostFewRows && MultipliesFewRows())
    return ProductOfFewRows(rows, weight);
  if (suits && MultipliesByAvx2()) return ProductByAvx2(rows, weight);
  return at::_int_mm(rows, weight.t());
}

}  // namespace lopt
