// The optimizers' steps, on libtorch's fused ops, and their state.
#include "optimizer.h"

#include <algorithm>

#include "convert.h"
#include "env_data.h"
#include "guard.h"

namespace lopt {

struct Optimizer::Lists {
  std::vector<at::Tensor> parameters, gradients, steps;
  std::vector<std::vector<at::Tensor>> moments;
};

namespace {

// Without gaps, as a fused op walks through it.
at::Tensor DenseAs(const at::Tensor& parameter) {
  return parameter.is_non_overlapping_and_dense()
             ? at::empty_like(parameter)
             : at::empty(parameter.sizes(), parameter.options());
}

// A gradient must lie in memory as its parameter does.
at::Tensor LaidOutAs(const at::Tensor& parameter, const at::Tensor& gradient) {
  if (gradient.strides() == parameter.strides()) return gradient;
  return at::empty_like(parameter).copy_(gradient);
}

}  // namespace

const std::vector<const char*>& Optimizer::Names() const {
  static const std::vector<const char*> adam = {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"};
  static const std::vector<const char*> sgd = {"momentum_buffer"};
  return Counts() ? adam : sgd;
}

Optimizer::Optimizer(Kind kind, std::vector<Group> groups) : kind_(kind) {
  if (groups.empty()) throw RangeMistake("Expected at least one group of parameters");
  for (auto& [parameters, options] : groups) {
    Members group{.members = {}, .options = options, .rate = {}};
    for (auto& parameter : parameters) {
      if (!parameter.is_leaf() || !parameter.requires_grad())
        throw RangeMistake("Expected every parameter to be a leaf that requires a gradient");
      group.members.push_back({std::move(parameter), std::nullopt});
    }
    groups_.push_back(std::move(group));
  }
}

bool Optimizer::Needs(size_t moment, const OptimizerOptions& options) const {
  return Counts() ? moment < 2 || options.amsgrad : options.momentum != 0;
}

bool Optimizer::IsFirst(const Member& member, const OptimizerOptions& options) const {
  return !member.kept || (Needs(0, options) && !member.kept->moments[0].defined());
}

void Optimizer::Begin(Member& member, const OptimizerOptions& options) const {
  const at::Tensor parameter = member.parameter.detach();
  if (!member.kept) {
    member.kept.emplace();
    member.kept->moments.resize(Names().size());
    if (Counts()) member.kept->step = at::zeros({}, parameter.options().dtype(at::kFloat));
  }
  auto& moments = member.kept->moments;
  for (size_t i = 0; i < moments.size(); ++i)
    if (Needs(i, options) && !moments[i].defined()) moments[i] = DenseAs(parameter).zero_();
}

void Optimizer::Call(const Members& group, Lists& lists, bool is_first) const {
  const OptimizerOptions& o = group.options;
  auto& [parameters, gradients, steps, moments] = lists;
  const auto fused = [&](const auto& rate) {
    if (kind_ == Kind::kSgd) {
      at::_fused_sgd_(parameters, gradients, moments[0], o.weight_decay, o.momentum, rate,
                      o.dampening, o.nesterov, false, is_first);
      return;
    }
    at::_foreach_add_(steps, 1);
    const auto call = [&](auto adam) {
      adam(parameters, gradients, moments[0], moments[1], moments[2], steps, rate, o.beta1, o.beta2,
           o.weight_decay, o.eps, o.amsgrad, false);
    };
    if (kind_ == Kind::kAdamW)
      call([](auto&&... given) { at::_fused_adamw_(given...); });
    else
      call([](auto&&... given) { at::_fused_adam_(given...); });
  };
  if (group.rate.defined())
    fused(group.rate);
  else
    fused(o.lr);
}

// Members of one dtype and device, whose state is there.
void Optimizer::StepSome(const Members& group, std::vector<Member*> members, bool is_first) const {
  Lists lists;
  lists.moments.resize(3);
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;  // of parameters with gaps
  for (Member* member : members) {
    at::Tensor parameter = member->parameter.detach();
    if (!parameter.is_non_overlapping_and_dense()) {
      copies.emplace_back(parameter, parameter.contiguous());
      parameter = copies.back().second;
    }
    lists.gradients.push_back(LaidOutAs(parameter, member->parameter.grad()));
    lists.parameters.push_back(std::move(parameter));
    if (Counts()) lists.steps.push_back(member->kept->step);
    const auto& moments = member->kept->moments;
    for (size_t i = 0; i < moments.size(); ++i)
      if (Needs(i, group.options)) lists.moments[i].push_back(moments[i]);
  }
  Call(group, lists, is_first);
  for (auto& [parameter, copy] : copies) parameter.copy_(copy);
  // libtorch's fused steps do not say that they write.
  for (const Member* member : members) member->parameter.unsafeGetTensorImpl()->bump_version();
}

void Optimizer::Step() {
  at::NoGradGuard no_grad;
  for (auto& group : groups_) {
    std::vector<Member*> open;
    for (auto& member : group.members)
      if (member.parameter.grad().defined()) open.push_back(&member);
    while (!open.empty()) {
      const bool is_first = IsFirst(*open[0], group.options);
      const at::Tensor& some = open[0]->parameter;
      std::vector<Member*> alike;
      std::erase_if(open, [&](Member* member) {
        const at::Tensor& own = member->parameter;
        const bool is_alike = own.scalar_type() == some.scalar_type() &&
                              own.device() == some.device() &&
                              IsFirst(*member, group.options) == is_first;
        if (is_alike) alike.push_back(member);
        return is_alike;
      });
      for (Member* member : alike) Begin(*member, group.options);
      if (some.is_cuda() && !group.rate.defined())
        group.rate = at::full({}, group.options.lr, some.options().dtype(at::kFloat));
      StepSome(group, std::move(alike), is_first);
    }
  }
}

void Optimizer::ZeroGrad() {
  for (auto& group : groups_)
    for (auto& member : group.members) member.parameter.mutable_grad() = at::Tensor();
}

void Optimizer::SetOptions(size_t group, const OptimizerOptions& options) {
  if (group >= groups_.size())
    throw RangeMistake("Expected a group below " + std::to_string(groups_.size()) +
                       " but received " + std::to_string(group));
  groups_[group].options = options;
  // In place: a captured step reads it where it lies.
  if (groups_[group].rate.defined()) groups_[group].rate.fill_(options.lr);
}

std::vector<std::optional<ParameterState>> Optimizer::State() const {
  std::vector<std::optional<ParameterState>> all;
  for (const auto& group : groups_) {
    for (const auto& [parameter, kept] : group.members) {
      all.emplace_back(std::nullopt);
      if (!kept) continue;
      ParameterState state;
      if (Counts()) state.step = static_cast<int64_t>(kept->step.item<float>());
      for (size_t i = 0; i < kept->moments.size(); ++i)
        // A copy: the next step changes the original in place.
        if (kept->moments[i].defined())
          state.tensors.emplace_back(Names()[i], kept->moments[i].clone());
      if (Counts() || !state.tensors.empty()) all.back() = std::move(state);
    }
  }
  return all;
}

void Optimizer::LoadState(const std::vector<std::optional<ParameterState>>& state) {
  std::vector<Member*> members;
  for (auto& group : groups_)
    for (auto& member : group.members) members.push_back(&member);
  if (state.size() != members.size())
    throw RangeMistake("Expected the state of " + std::to_string(members.size()) +
                       " parameters but received " + std::to_string(state.size()));
  // All is built and checked before anything is replaced, so that a refusal changes nothing.
  std::vector<std::optional<Kept>> built(state.size());
  for (size_t i = 0; i < state.size(); ++i) {
    if (!state[i]) continue;
    const at::Tensor parameter = members[i]->parameter.detach();
    Kept& kept = built[i].emplace();
    kept.moments.resize(Names().size());
    if (Counts())
      kept.step =
          at::full({}, static_cast<double>(state[i]->step), parameter.options().dtype(at::kFloat));
    for (const auto& [name, tensor] : state[i]->tensors) {
      if (tensor.sizes() != parameter.sizes())
        throw RangeMistake("The state " + name + " of parameter " + std::to_string(i) +
                           " has shape " + ShapeText(tensor.sizes()) + " but the parameter " +
                           ShapeText(parameter.sizes()));
      const auto found = std::find(Names().begin(), Names().end(), name);
      if (found == Names().end()) throw RangeMistake("This optimizer keeps no state named " + name);
      kept.moments[found - Names().begin()] = DenseAs(parameter).copy_(tensor.detach());
    }
    const size_t needed = Counts() ? 2 : 1;  // the third stands for amsgrad alone
    for (size_t m = 0; m < needed; ++m)
      if (!kept.moments[m].defined())
        throw RangeMistake("The state of parameter " + std::to_string(i) + " lacks " + Names()[m]);
  }
  for (size_t i = 0; i < state.size(); ++i) members[i]->kept = std::move(built[i]);
}

namespace {

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

namespace {

Optimizer::Kind KindOf(const std::string& name) {
  if (name == "adam") return Optimizer::Kind::kAdam;
  if (name == "adamw") return Optimizer::Kind::kAdamW;
  if (name == "sgd") return Optimizer::Kind::kSgd;
  throw RangeMistake("Expected kind to be adam, adamw or sgd but received " + name);
}

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
      info.Env(), std::make_shared<Optimizer>(KindOf(FromJs<std::string>::Get(info[0])),
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
