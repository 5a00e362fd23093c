// Adam, AdamW and SGD as libtorch's fused ops have them: kinds, groups, options, and state that can
// be taken and given. All that changes from step to step is a tensor, so that a step can be
// captured.
#pragma once

#include <ATen/ATen.h>
#include <napi.h>

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

// Only the executor's thread calls it after it was made.
class Optimizer {
 public:
  enum class Kind { kAdam, kAdamW, kSgd };

  struct Group {
    std::vector<at::Tensor> parameters;
    OptimizerOptions options;
  };

  Optimizer(Kind kind, std::vector<Group> groups);

  // Of the parameters that have a gradient. Nothing is read back from their device.
  void Step();
  void ZeroGrad();
  void SetOptions(size_t group, const OptimizerOptions& options);
  // One entry a parameter in the order of the groups, none before its first step.
  std::vector<std::optional<ParameterState>> State() const;
  void LoadState(const std::vector<std::optional<ParameterState>>& state);

 private:
  // What is kept of a parameter, from its first step on.
  struct Kept {
    at::Tensor step;                  // float32 []; Adam's alone
    std::vector<at::Tensor> moments;  // in the order of `Names`; undefined where it is not needed
  };
  struct Member {
    at::Tensor parameter;
    std::optional<Kept> kept;
  };
  struct Members {
    std::vector<Member> members;
    OptimizerOptions options;
    at::Tensor rate;  // the learning rate where an op reads it from a GPU
  };
  // The lists that a fused op takes.
  struct Lists;

  const std::vector<const char*>& Names() const;
  bool Counts() const { return kind_ != Kind::kSgd; }
  bool Needs(size_t moment, const OptimizerOptions& options) const;
  bool IsFirst(const Member& member, const OptimizerOptions& options) const;
  void Begin(Member& member, const OptimizerOptions& options) const;
  void StepSome(const Members& group, std::vector<Member*> members, bool is_first) const;
  void Call(const Members& group, Lists& lists, bool is_first) const;

  Kind kind_;
  std::vector<Members> groups_;
};

template <>
struct HandleKind<std::shared_ptr<Optimizer>> {
  static constexpr napi_type_tag kTag = {0x6c6f70742d6f7074ULL, 0x696d697a65723a7fULL};
  static constexpr const char* kName = "an optimizer";
};

void DefineOptimizer(Napi::Env env, Napi::Object exports);

}  // namespace lopt
