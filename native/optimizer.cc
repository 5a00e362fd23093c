// torch::optim's Adam, AdamW and SGD behind one class, with state that is read out and put back.
#include "optimizer.h"

#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include <type_traits>

#include "convert.h"
#include "env_data.h"
#include "guard.h"

namespace lopt {
namespace {

// What differs between kinds: how options are built, and which tensors a parameter's state holds.
template <class Options, class State>
struct AdamKind {
  static Options Build(const OptimizerOptions& o) {
    return Options(o.lr)
        .betas({o.beta1, o.beta2})
        .eps(o.eps)
        .weight_decay(o.weight_decay)
        .amsgrad(o.amsgrad);
  }
  template <class Visit>
  static void Visit_(State& state, Visit visit) {
    visit(
        "exp_avg", [&]() -> at::Tensor { return state.exp_avg(); },
        [&](at::Tensor t) { state.exp_avg(std::move(t)); });
    visit(
        "exp_avg_sq", [&]() -> at::Tensor { return state.exp_avg_sq(); },
        [&](at::Tensor t) { state.exp_avg_sq(std::move(t)); });
    visit(
        "max_exp_avg_sq", [&]() -> at::Tensor { return state.max_exp_avg_sq(); },
        [&](at::Tensor t) { state.max_exp_avg_sq(std::move(t)); });
  }
};

struct Adam : AdamKind<torch::optim::AdamOptions, torch::optim::AdamParamState> {
  using Torch = torch::optim::Adam;
  using Options = torch::optim::AdamOptions;
  using State = torch::optim::AdamParamState;
};
struct AdamW : AdamKind<torch::optim::AdamWOptions, torch::optim::AdamWParamState> {
  using Torch = torch::optim::AdamW;
  using Options = torch::optim::AdamWOptions;
  using State = torch::optim::AdamWParamState;
};
struct Sgd {
  using Torch = torch::optim::SGD;
  using Options = torch::optim::SGDOptions;
  using State = torch::optim::SGDParamState;
  static Options Build(const OptimizerOptions& o) {
    return Options(o.lr)
        .momentum(o.momentum)
        .dampening(o.dampening)
        .weight_decay(o.weight_decay)
        .nesterov(o.nesterov);
  }
  template <class Visit>
  static void Visit_(State& state, Visit visit) {
    visit(
        "momentum_buffer", [&]() -> at::Tensor { return state.momentum_buffer(); },
        [&](at::Tensor t) { state.momentum_buffer(std::move(t)); });
  }
};

template <class State>
constexpr bool kCountsSteps = !std::is_same_v<State, torch::optim::SGDParamState>;

template <class Kind>
class TorchOptimizer final : public Optimizer {
  using State_ = typename Kind::State;

 public:
  explicit TorchOptimizer(const std::vector<Group>& groups)
      : optimizer_(ParamGroups(groups), Kind::Build(groups.at(0).options)) {}

  void Step() override { optimizer_.step(); }
  void ZeroGrad() override { optimizer_.zero_grad(/*set_to_none=*/true); }

  void SetOptions(size_t group, const OptimizerOptions& options) override {
    if (group >= optimizer_.param_groups().size())
      throw RangeMistake("Expected a group below " +
                         std::to_string(optimizer_.param_groups().size()) + " but received " +
                         std::to_string(group));
    optimizer_.param_groups()[group].set_options(
        std::make_unique<typename Kind::Options>(Kind::Build(options)));
  }

  std::vector<std::optional<ParameterState>> State() override {
    std::vector<std::optional<ParameterState>> all;
    for (const auto& group : optimizer_.param_groups()) {
      for (const auto& parameter : group.params()) {
        auto found = optimizer_.state().find(parameter.unsafeGetTensorImpl());
        if (found == optimizer_.state().end()) {
          all.emplace_back(std::nullopt);
          continue;
        }
        auto& held = static_cast<State_&>(*found->second);
        ParameterState state;
        if constexpr (kCountsSteps<State_>) state.step = held.step();
        Kind::Visit_(held, [&](const char* name, auto get, auto) {
          // A copy: the next step changes the original in place.
          if (at::Tensor tensor = get(); tensor.defined())
            state.tensors.emplace_back(name, tensor.clone());
        });
        all.emplace_back(std::move(state));
      }
    }
    return all;
  }

  void LoadState(const std::vector<std::optional<ParameterState>>& state) override {
    std::vector<at::Tensor> parameters;
    for (const auto& group : optimizer_.param_groups())
      parameters.insert(parameters.end(), group.params().begin(), group.params().end());
    if (state.size() != parameters.size())
      throw RangeMistake("Expected the state of " + std::to_string(parameters.size()) +
                         " parameters but received " + std::to_string(state.size()));
    // All is built and checked before anything is replaced, so that a refusal changes nothing.
    std::vector<std::pair<void*, std::unique_ptr<State_>>> built;
    for (size_t i = 0; i < state.size(); ++i) {
      if (!state[i]) continue;
      auto held = std::make_unique<State_>();
      if constexpr (kCountsSteps<State_>) held->step(state[i]->step);
      for (const auto& [name, tensor] : state[i]->tensors) {
        if (tensor.sizes() != parameters[i].sizes())
          throw RangeMistake("The state " + name + " of parameter " + std::to_string(i) +
                             " has shape " + ShapeText(tensor.sizes()) + " but the parameter " +
                             ShapeText(parameters[i].sizes()));
        bool known = false;
        Kind::Visit_(*held, [&, &name = name, &tensor = tensor](const char* slot, auto, auto set) {
          if (name != slot) return;
          set(tensor.detach().to(parameters[i].options()).clone());
          known = true;
        });
        if (!known) throw RangeMistake("This optimizer keeps no state named " + name);
      }
      Kind::Visit_(*held, [&](const std::string& slot, auto get, auto) {
        if (slot != "max_exp_avg_sq" && !get().defined())
          throw RangeMistake("The state of parameter " + std::to_string(i) + " lacks " + slot);
      });
      built.emplace_back(parameters[i].unsafeGetTensorImpl(), std::move(held));
    }
    optimizer_.state().clear();
    for (auto& [key, held] : built) optimizer_.state()[key] = std::move(held);
  }

 private:
  static std::vector<torch::optim::OptimizerParamGroup> ParamGroups(
      const std::vector<Group>& groups) {
    std::vector<torch::optim::OptimizerParamGroup> result;
    for (const auto& group : groups)
      result.emplace_back(group.parameters,
                          std::make_unique<typename Kind::Options>(Kind::Build(group.options)));
    return result;
  }

  typename Kind::Torch optimizer_;
};

OptimizerOptions OptionsFrom(const Napi::Value& value) {
  if (!value.IsObject()) throw TypeMistake("Expected options to be an object");
  const auto o = value.As<Napi::Object>();
  return {Property<double>(o, "lr"),        Property<double>(o, "weightDecay"),
          Property<double>(o, "beta1"),     Property<double>(o, "beta2"),
          Property<double>(o, "eps"),       Property<double>(o, "momentum"),
          Property<double>(o, "dampening"), Property<bool>(o, "amsgrad"),
          Property<bool>(o, "nesterov")};
}

}  // namespace

template <>
struct FromJs<Optimizer::Group> {
  static Optimizer::Group Get(const Napi::Value& value) {
    if (!value.IsObject()) throw TypeMistake("Expected a group to be an object");
    const auto group = value.As<Napi::Object>();
    return {Property<std::vector<at::Tensor>>(group, "parameters"),
            OptionsFrom(group.Get("options"))};
  }
};

template <>
struct FromJs<ParameterState> {
  static ParameterState Get(const Napi::Value& value) {
    if (!value.IsObject()) throw TypeMistake("Expected a parameter's state to be an object");
    const auto object = value.As<Napi::Object>();
    ParameterState state{Property<int64_t>(object, "step"), {}};
    if (!object.Get("tensors").IsObject()) throw TypeMistake("Expected tensors to be an object");
    const auto tensors = object.Get("tensors").As<Napi::Object>();
    const auto names = tensors.GetPropertyNames();
    for (uint32_t i = 0; i < names.Length(); ++i) {
      const Napi::Value name = names.Get(i);
      state.tensors.emplace_back(name.ToString().Utf8Value(), Property<at::Tensor>(tensors, name));
    }
    return state;
  }
};

Napi::Value ToJs(Napi::Env env, ParameterState state) {
  auto tensors = Napi::Object::New(env);
  for (auto& [name, tensor] : state.tensors) tensors.Set(name, ToJs(env, std::move(tensor)));
  auto object = Napi::Object::New(env);
  object.Set("step", ToJs(env, state.step));
  object.Set("tensors", tensors);
  return object;
}

std::shared_ptr<Optimizer> Optimizer::Create(const std::string& kind, std::vector<Group> groups) {
  if (groups.empty()) throw RangeMistake("Expected at least one group of parameters");
  for (const auto& group : groups)
    for (const auto& parameter : group.parameters)
      if (!parameter.is_leaf() || !parameter.requires_grad())
        throw RangeMistake("Expected every parameter to be a leaf that requires a gradient");
  if (kind == "adam") return std::make_shared<TorchOptimizer<Adam>>(groups);
  if (kind == "adamw") return std::make_shared<TorchOptimizer<AdamW>>(groups);
  if (kind == "sgd") return std::make_shared<TorchOptimizer<Sgd>>(groups);
  throw RangeMistake("Expected kind to be adam, adamw or sgd but received " + kind);
}

namespace {

const std::shared_ptr<Optimizer>& Self(const Napi::CallbackInfo& info) {
  return Handle<std::shared_ptr<Optimizer>>::Get(info[0]);
}

template <class Work>
Napi::Value SubmitVoid(const Napi::CallbackInfo& info, const char* where, Work work) {
  return EnvData::Of(info.Env())
      .executor->Submit(info.Env(), Blame::kCaller, where, std::move(work),
                        [](Napi::Env env) { return env.Undefined(); });
}

Napi::Value Create(const Napi::CallbackInfo& info) {
  return Handle<std::shared_ptr<Optimizer>>::New(
      info.Env(), Optimizer::Create(FromJs<std::string>::Get(info[0]),
                                    FromJs<std::vector<Optimizer::Group>>::Get(info[1])));
}

Napi::Value Step(const Napi::CallbackInfo& info) {
  return SubmitVoid(info, "step", [self = Self(info)] { self->Step(); });
}

Napi::Value ZeroGrad(const Napi::CallbackInfo& info) {
  return SubmitVoid(info, "zeroGrad", [self = Self(info)] { self->ZeroGrad(); });
}

Napi::Value SetOptions(const Napi::CallbackInfo& info) {
  const int64_t group = FromJs<int64_t>::Get(info[1]);
  if (group < 0) throw RangeMistake("Expected group to be 0 or more");
  return SubmitVoid(info, "setOptions", [self = Self(info), group, options = OptionsFrom(info[2])] {
    self->SetOptions(static_cast<size_t>(group), options);
  });
}

Napi::Value State(const Napi::CallbackInfo& info) {
  return EnvData::Of(info.Env())
      .executor->Submit(
          info.Env(), Blame::kCaller, "state", [self = Self(info)] { return self->State(); },
          [](Napi::Env env, std::vector<std::optional<ParameterState>> state) {
            return ToJs(env, std::move(state));
          });
}

Napi::Value LoadState(const Napi::CallbackInfo& info) {
  return SubmitVoid(info, "loadState",
                    [self = Self(info),
                     state = FromJs<std::vector<std::optional<ParameterState>>>::Get(info[1])] {
                      self->LoadState(state);
                    });
}

Napi::Value Dispose(const Napi::CallbackInfo& info) {
  Handle<std::shared_ptr<Optimizer>>::Dispose(info[0]);
  return info.Env().Undefined();
}

}  // namespace

void DefineOptimizer(Napi::Env env, Napi::Object exports) {
  Define<Create>(env, exports, "optimizerCreate");
  Define<Step>(env, exports, "optimizerStep");
  Define<ZeroGrad>(env, exports, "optimizerZeroGrad");
  Define<SetOptions>(env, exports, "optimizerSetOptions");
  Define<State>(env, exports, "optimizerState");
  Define<LoadState>(env, exports, "optimizerLoadState");
  Define<Dispose>(env, exports, "optimizerDispose");
}

}  // namespace lopt
