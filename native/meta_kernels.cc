// Shapes of the results of ops that PyTorch registers for the `meta` device from Python alone: with
// them a model runs on `meta` as it does anywhere else. Knows no element.
#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>
#include <ATen/OpMathType.h>
#include <torch/library.h>

#include <array>
#include <optional>
#include <tuple>

namespace lopt {
namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;
using Three = std::tuple<Tensor, Tensor, Tensor>;

Tensor IndexSelect(const Tensor& self, int64_t dim, const Tensor& index) {
  TORCH_CHECK(index.dim() <= 1, "index_select: the index must have one dimension at most");
  if (self.dim() == 0) return at::empty_like(self);
  auto shape = self.sizes().vec();
  shape[at::maybe_wrap_dim(dim, self.dim())] = index.numel();
  return at::empty(shape, self.options());
}

Tensor Where(const Tensor& condition, const Tensor& self, const Tensor& other) {
  const auto shape = at::infer_size(at::infer_size(condition.sizes(), self.sizes()), other.sizes());
  return at::empty(shape, condition.options().dtype(at::result_type(self, other)));
}

Tensor& WhereOut(const Tensor& condition, const Tensor& self, const Tensor& other, Tensor& out) {
  out.resize_(Where(condition, self, other).sizes());
  return out;
}

Tensor Abs(const Tensor& self) {
  return at::empty_like(self, self.options().dtype(c10::toRealValueType(self.scalar_type())));
}

Tensor Relu(const Tensor& self) { return at::empty_like(self); }

Tensor Flip(const Tensor& self, at::IntArrayRef) {
  return at::empty_like(self, at::MemoryFormat::Contiguous);
}

Tensor& LogicalAndOut(const Tensor& self, const Tensor& other, Tensor& out) {
  out.resize_(at::infer_size(self.sizes(), other.sizes()));
  return out;
}

Tensor LogicalNot(const Tensor& self) {
  return at::empty_like(self, self.options().dtype(at::kBool));
}

// Statistics are float32 where the input is of half precision.
Three LayerNorm(const Tensor& input, c10::SymIntArrayRef normalized_shape, const OptionalTensor&,
                const OptionalTensor&, double) {
  auto shape = input.sizes().vec();
  for (size_t i = 0; i < normalized_shape.size(); ++i) shape[shape.size() - 1 - i] = 1;
  const auto dtype = at::toOpMathType(input.scalar_type());
  const Tensor statistics = at::empty(shape, input.options().dtype(dtype));
  return {at::empty_like(input, at::MemoryFormat::Contiguous), statistics,
          at::empty_like(statistics)};
}

Three LayerNormBackward(const Tensor&, const Tensor& input, c10::SymIntArrayRef, const Tensor&,
                        const Tensor&, const OptionalTensor& weight, const OptionalTensor& bias,
                        std::array<bool, 3> wanted) {
  const auto like = [](bool is_wanted, const OptionalTensor& tensor) {
    return is_wanted && tensor ? at::empty_like(*tensor) : Tensor();
  };
  return {like(wanted[0], input), like(wanted[1], weight), like(wanted[2], bias)};
}

// In place, without a result.
void FusedAdam(at::TensorList, at::TensorList, at::TensorList, at::TensorList, at::TensorList,
               at::TensorList, double, double, double, double, double, bool, bool,
               const OptionalTensor&, const OptionalTensor&) {}

void FusedSgd(at::TensorList, at::TensorList, at::TensorList, double, double, double, double, bool,
              bool, bool, const OptionalTensor&, const OptionalTensor&) {}

}  // namespace
}  // namespace lopt

TORCH_LIBRARY_IMPL(aten, Meta, m) {
  m.impl("index_select", &lopt::IndexSelect);
  m.impl("where.self", &lopt::Where);
  m.impl("where.self_out", &lopt::WhereOut);
  m.impl("abs", &lopt::Abs);
  m.impl("relu", &lopt::Relu);
  m.impl("flip", &lopt::Flip);
  m.impl("logical_and.out", &lopt::LogicalAndOut);
  m.impl("logical_not", &lopt::LogicalNot);
  m.impl("native_layer_norm", &lopt::LayerNorm);
  m.impl("native_layer_norm_backward", &lopt::LayerNormBackward);
  m.impl("_fused_adam_", &lopt::FusedAdam);
  m.impl("_fused_adamw_", &lopt::FusedAdam);
  m.impl("_fused_sgd_", &lopt::FusedSgd);
}
