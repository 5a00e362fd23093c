// Products of a frozen model whose weights are int8, each row with a scale of its own (an output
// channel), and what stands around them. The rows of the other factor are quantized in the same way
// for each product (dynamic quantization by token: Dettmers et al. 2022, arXiv:2208.07339, section
// 2; Xiao et al. 2022, arXiv:2211.10438, table 2), and integers are multiplied. A row goes from one
// product to the next while it is in the CPU's cache: scaled, normed or activated, quantized.
#include "int8_linear.h"

#include <torch/library.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "int8_product.h"
#include "parallel.h"
#include "rows.h"

namespace lopt {
namespace {

using at::Tensor;

// int8 [M, K] and float32 scales [M].
struct QuantizedRows {
  Tensor values;
  Tensor scales;
};

// int8 [N, K], float32 scales [N], float32 bias [N] or null.
struct Weight {
  Tensor values;
  Tensor scales;
  Tensor bias;

  int64_t outputs() const { return values.size(0); }
  const float* scales_of() const { return scales.const_data_ptr<float>(); }
  const float* bias_of() const { return bias.defined() ? bias.const_data_ptr<float>() : nullptr; }
};

// Mostly they are, and a call of libtorch's says so more slowly.
Tensor Floats(const Tensor& numbers) {
  const bool are = numbers.scalar_type() == at::kFloat && numbers.is_contiguous();
  return are ? numbers : numbers.to(at::kFloat).contiguous();
}

Tensor InDtype(const Tensor& numbers, at::ScalarType dtype) {
  return dtype == at::kFloat ? numbers : numbers.to(dtype);
}

Weight WeightOf(const Tensor& values, const Tensor& scales, const std::optional<Tensor>& bias,
                const Tensor& x) {
  TORCH_CHECK(values.dim() == 2 && values.scalar_type() == at::kChar && x.dim() >= 1 &&
                  x.size(-1) == values.size(1) && scales.numel() == values.size(0) &&
                  (!bias || bias->numel() == values.size(0)),
              "int8_linear: ", x.sizes(), " x ", values.sizes(), " with ", scales.sizes(),
              " scales do not align");
  return {values, Floats(scales), bias ? Floats(*bias) : Tensor()};
}

std::vector<int64_t> ShapeWith(const Tensor& x, int64_t last) {
  std::vector<int64_t> shape(x.sizes().begin(), x.sizes().end() - 1);
  shape.push_back(last);
  return shape;
}

Tensor RowsOf(const Tensor& x) { return Floats(x).view({-1, x.size(-1)}); }

QuantizedRows EmptyRows(int64_t count, int64_t size) {
  return {at::empty({count, size}, at::kChar), at::empty({count}, at::kFloat)};
}

template <class Function>
void ForEachRow(int64_t rows, int64_t numbers, const Function& function) {
  ParallelFor(rows, RowsOfAThread(numbers), [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(numbers);
    for (int64_t row = begin; row < end; ++row) function(row, scratch.data());
  });
}

QuantizedRows Quantized(const Tensor& rows) {
  const auto made = EmptyRows(rows.size(0), rows.size(1));
  const int64_t K = rows.size(1);
  const auto* from = rows.const_data_ptr<float>();
  auto* values = made.values.mutable_data_ptr<int8_t>();
  auto* scales = made.scales.mutable_data_ptr<float>();
  ParallelFor(rows.size(0), RowsOfAThread(K), [=](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) scales[m] = QuantizeRow(from + m * K, values + m * K, K);
  });
  return made;
}

struct Norm {
  const Tensor& weight;
  const std::optional<Tensor>& bias;  // none: T5's, by the root mean square
  double eps;
};

// The rows normed, then quantized.
QuantizedRows Normed(const Tensor& rows, const Norm& norm) {
  const int64_t K = rows.size(1);
  const Tensor weight = Floats(norm.weight);
  const Tensor bias = norm.bias ? Floats(*norm.bias) : Tensor();
  TORCH_CHECK(weight.numel() == K && (!bias.defined() || bias.numel() == K), "a norm of ",
              weight.sizes(), " does not fit rows of ", K);
  const auto made = EmptyRows(rows.size(0), K);
  const auto* from = rows.const_data_ptr<float>();
  const auto* by = weight.const_data_ptr<float>();
  const auto* plus = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
  auto* values = made.values.mutable_data_ptr<int8_t>();
  auto* scales = made.scales.mutable_data_ptr<float>();
  const auto eps = static_cast<float>(norm.eps);
  ForEachRow(rows.size(0), K, [=](int64_t m, float* scratch) {
    NormRow(from + m * K, by, plus, eps, scratch, K);
    scales[m] = QuantizeRow(scratch, values + m * K, K);
  });
  return made;
}

// x weightT + bias + residual, [M, N].
Tensor Linear(const QuantizedRows& x, const Weight& weight, const Tensor& residual = {}) {
  const int64_t M = x.values.size(0);
  const int64_t N = weight.outputs();
  Tensor out = at::empty({M, N}, at::kFloat);
  if (M == 0) return out;
  const Tensor sums = Int8Product(x.values, weight.values);
  const auto* from = sums.const_data_ptr<int32_t>();
  const auto* of_rows = x.scales.const_data_ptr<float>();
  const auto* of_columns = weight.scales_of();
  const auto* bias = weight.bias_of();
  const auto* before = residual.defined() ? residual.const_data_ptr<float>() : nullptr;
  auto* to = out.mutable_data_ptr<float>();
  ParallelFor(M, RowsOfAThread(N), [=](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m)
      ScaleRow(from + m * N, of_rows[m], of_columns, bias,
               before == nullptr ? nullptr : before + m * N, to + m * N, N);
  });
  return out;
}

// What the inner layer of an MLP gives the outer one: its first product activated, and times the
// second where it is gated.
QuantizedRows Activated(const QuantizedRows& x, const std::vector<Weight>& weights,
                        Activation activation) {
  const int64_t M = x.values.size(0);
  const int64_t N = weights[0].outputs();
  const auto made = EmptyRows(M, N);
  if (M == 0) return made;
  std::vector<Tensor> sums;
  for (const auto& weight : weights) sums.push_back(Int8Product(x.values, weight.values));
  const auto* of_rows = x.scales.const_data_ptr<float>();
  auto* values = made.values.mutable_data_ptr<int8_t>();
  auto* scales = made.scales.mutable_data_ptr<float>();
  const auto scaled = [&](size_t i, int64_t m, float* out) {
    ScaleRow(sums[i].const_data_ptr<int32_t>() + m * N, of_rows[m], weights[i].scales_of(),
             weights[i].bias_of(), nullptr, out, N);
  };
  ForEachRow(M, 2 * N, [&](int64_t m, float* scratch) {
    scaled(0, m, scratch);
    ActivateRow(activation, scratch, N);
    if (weights.size() == 2) {
      scaled(1, m, scratch + N);
      MultiplyRow(scratch, scratch + N, N);
    }
    scales[m] = QuantizeRow(scratch, values + m * N, N);
  });
  return made;
}

// x [.., K], weight int8 [N, K], scale [N], bias [N], residual [.., N] -> x weightT + bias +
// residual, [.., N] in x's dtype.
Tensor Int8Linear(const Tensor& x, const Tensor& weight, const Tensor& scale,
                  const std::optional<Tensor>& bias, const std::optional<Tensor>& residual) {
  const auto matrix = WeightOf(weight, scale, bias, x);
  const auto shape = ShapeWith(x, matrix.outputs());
  TORCH_CHECK(!residual || residual->numel() == c10::multiply_integers(shape),
              "int8_linear: a residual of another shape");
  const Tensor before = residual ? Floats(*residual) : Tensor();
  return InDtype(Linear(Quantized(RowsOf(x)), matrix, before).view(shape), x.scalar_type());
}

std::vector<Weight> WeightsOf(at::TensorList values, at::TensorList scales, at::TensorList biases,
                              const Tensor& x) {
  TORCH_CHECK(values.size() == scales.size() && (biases.empty() || biases.size() == values.size()),
              "int8: as many weights as scales and biases");
  std::vector<Weight> weights;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto bias = biases.empty() ? std::nullopt : std::optional(biases[i]);
    weights.push_back(WeightOf(values[i], scales[i], bias, x));
  }
  return weights;
}

// The products of x normed with each weight; biases may be none.
std::vector<Tensor> Int8Normed(const Tensor& x, const Tensor& norm_weight,
                               const std::optional<Tensor>& norm_bias, double eps,
                               at::TensorList weights, at::TensorList scales,
                               at::TensorList biases) {
  const auto matrices = WeightsOf(weights, scales, biases, x);
  const auto rows = Normed(RowsOf(x), {norm_weight, norm_bias, eps});
  std::vector<Tensor> products;
  for (const auto& matrix : matrices)
    products.push_back(
        InDtype(Linear(rows, matrix).view(ShapeWith(x, matrix.outputs())), x.scalar_type()));
  return products;
}

// x + outer(activation(inner(norm(x)))), with two inner weights activation(first) * second.
Tensor Int8Mlp(const Tensor& x, const Tensor& norm_weight, const std::optional<Tensor>& norm_bias,
               double eps, at::TensorList weights, at::TensorList scales, at::TensorList biases,
               std::string_view activation, const Tensor& weight, const Tensor& scale,
               const std::optional<Tensor>& bias) {
  const auto known = ActivationOf(activation);
  TORCH_CHECK(known, "int8_mlp: no activation ", activation);
  const auto inner = WeightsOf(weights, scales, biases, x);
  TORCH_CHECK(inner.size() == 1 || (inner.size() == 2 && inner[0].outputs() == inner[1].outputs()),
              "int8_mlp: one inner weight, or two of one shape");
  const Tensor rows = RowsOf(x);
  const auto hidden = Activated(Normed(rows, {norm_weight, norm_bias, eps}), inner, *known);
  const auto outer = WeightOf(weight, scale, bias, hidden.values);
  TORCH_CHECK(outer.outputs() == rows.size(1), "int8_mlp: the outer weight gives another size");
  return InDtype(Linear(hidden, outer, rows).view(x.sizes()), x.scalar_type());
}

}  // namespace

std::tuple<Tensor, Tensor> QuantizeRows(const Tensor& rows) {
  TORCH_CHECK(rows.dim() == 2, "quantizeRows: expected a matrix but received ", rows.sizes());
  const auto made = Quantized(Floats(rows));
  return {made.values, made.scales};
}

// No gradient: a backbone of int8 weights is not trained through.
TORCH_LIBRARY(lopt, library) {
  library.def(
      "int8_linear(Tensor x, Tensor weight, Tensor scale, Tensor? bias, Tensor? residual=None) -> "
      "Tensor");
  library.def(
      "int8_normed(Tensor x, Tensor norm_weight, Tensor? norm_bias, float eps, Tensor[] weights, "
      "Tensor[] scales, Tensor[] biases) -> Tensor[]");
  library.def(
      "int8_mlp(Tensor x, Tensor norm_weight, Tensor? norm_bias, float eps, Tensor[] weights, "
      "Tensor[] scales, Tensor[] biases, str activation, Tensor weight, Tensor scale, Tensor? "
      "bias) "
      "-> Tensor");
}

TORCH_LIBRARY_IMPL(lopt, CPU, library) {
  library.impl("int8_linear", &Int8Linear);
  library.impl("int8_normed", &Int8Normed);
  library.impl("int8_mlp", &Int8Mlp);
}

}  // namespace lopt
