// torch::optim behind one class: kinds, groups, options, and state that can be taken and given.
#pragma once

#include <ATen/ATen.h>
#include <napi.h>
#include <torch/optim/optimizer.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "handle.h"

namespace lopt {

// The options of all kinds together; a kind takes those that it has.
struct OptimizerOptions {
  double lr, weight_decay, beta1, beta2, eps, momentum, dampening;
  bool amsgrad, nesterov;
};

struct ParameterState {
  int64_t step = 0;
  std::vector<std::pair<std::string, at::Tensor>> tensors;
};

// One kind of optimizer. Only the executor's thread calls it after it was made.
class Optimizer {
 public:
  struct Group {
    std::vector<at::Tensor> parameters;
    OptimizerOptions options;
  };

  static std::shared_ptr<Optimizer> Create(const std::string& kind, std::vector<Group> groups);
  virtual ~Optimizer() = default;

  virtual void Step() = 0;
  virtual void ZeroGrad() = 0;
  virtual void SetOptions(size_t group, const OptimizerOptions& options) = 0;
  // One entry a parameter in the order of the groups, none before its first step.
  virtual std::vector<std::optional<ParameterState>> State() = 0;
  virtual void LoadState(const std::vector<std::optional<ParameterState>>& state) = 0;
};

template <>
struct HandleKind<std::shared_ptr<Optimizer>> {
  static constexpr napi_type_tag kTag = {0x6c6f70742d6f7074ULL, 0x696d697a65723a7fULL};
  static constexpr const char* kName = "an optimizer";
};

void DefineOptimizer(Napi::Env env, Napi::Object exports);

}  // namespace lopt
