// Backward, gradients, grad mode, clipping. All but grad mode are jobs: a `.grad` is a pointer that
// nothing guards, so one thread alone touches it.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include "autograd.h"
#include "op.h"

namespace lopt {
namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

std::vector<Tensor> Defined(const std::vector<OptionalTensor>& tensors) {
  std::vector<Tensor> result;
  result.reserve(tensors.size());
  for (const auto& tensor : tensors) result.push_back(tensor.value_or(Tensor()));
  return result;
}

// Without a host synchronisation: the factor stays a tensor on the gradients' device.
Tensor ClipGradNorm(const std::vector<Tensor>& parameters, double max_norm) {
  at::NoGradGuard no_grad;
  if (!(max_norm > 0)) throw RangeMistake("Expected maxNorm above 0");
  std::vector<Tensor> gradients;
  std::vector<Tensor> norms;
  for (const auto& parameter : parameters) {
    if (!parameter.grad().defined()) continue;
    gradients.push_back(parameter.grad());
    norms.push_back(at::linalg_vector_norm(gradients.back()));
  }
  if (gradients.empty()) throw RangeMistake("clipGradNorm: none of the parameters has a gradient");
  const Tensor total = at::linalg_vector_norm(at::stack(norms));
  const Tensor factor = at::clamp_max(max_norm / (total + 1e-6), 1.0);
  for (auto& gradient : gradients) gradient.mul_(factor.to(gradient.scalar_type()));
  return total;
}

Napi::Value SetGradEnabled(const Napi::CallbackInfo& info) {
  at::GradMode::set_enabled(FromJs<bool>::Get(info[0]));
  return info.Env().Undefined();
}

}  // namespace

void DefineAutograd(Napi::Env env, Napi::Object exports) {
  Define<SetGradEnabled>(env, exports, "setGradEnabled");
  OpTables t{env, exports, exports};
  t.Job("setRequiresGrad", [](const Tensor& a, bool requires_grad) {
    if (!a.is_leaf()) throw RangeMistake("Only a leaf's requiresGrad can be changed: use detach()");
    a.set_requires_grad(requires_grad);
  });
  t.Job("backward",
        [](const Tensor& a, const OptionalTensor& gradient, bool retain_graph, bool create_graph) {
          torch::autograd::backward({a}, {gradient.value_or(Tensor())}, retain_graph, create_graph);
        });
  t.Job("gradients", [](const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                        const std::optional<std::vector<OptionalTensor>>& grad_outputs,
                        bool retain_graph, bool create_graph, bool allow_unused) {
    return torch::autograd::grad(outputs, inputs,
                                 grad_outputs ? Defined(*grad_outputs) : std::vector<Tensor>(),
                                 retain_graph, create_graph, allow_unused);
  });
  t.Job("grad", [](const Tensor& a) { return a.grad(); });
  t.Job("setGrad", [](const Tensor& a, const OptionalTensor& gradient) {
    if (gradient && gradient->sizes() != a.sizes())
      throw RangeMistake("Expected a gradient of shape " + ShapeText(a.sizes()) + " but received " +
                         ShapeText(gradient->sizes()));
    a.mutable_grad() = gradient.value_or(Tensor());
  });
  t.Job("clipGradNorm", [](const std::vector<Tensor>& parameters, double max_norm) {
    return ClipGradNorm(parameters, max_norm);
  });
}

}  // namespace lopt
