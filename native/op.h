// From a C++ function to two JavaScript ones: a template takes the function's signature and derives
// the conversions. `ops.NAME` calls it on the spot, `jobs.NAME` on the executor's thread.
#pragma once

#include <napi.h>

#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "convert.h"
#include "env_data.h"
#include "guard.h"

namespace lopt {

template <class Function>
struct Signature : Signature<decltype(&Function::operator())> {};
template <class Function, class Result_, class... Args>
struct Signature<Result_ (Function::*)(Args...) const> {
  using Result = Result_;
  using Arguments = std::tuple<std::decay_t<Args>...>;
};

// The name, then the operands: `matmul: [8, 20, 768] x [512, 4]`, with dtypes where they differ.
template <class Arguments>
std::string Describe(const char* name, const Arguments& arguments) {
  std::vector<at::Tensor> tensors;
  auto collect = [&tensors]<class T>(const T& argument) {
    if constexpr (std::is_same_v<T, at::Tensor>) tensors.push_back(argument);
    if constexpr (std::is_same_v<T, Operand>) tensors.push_back(argument.tensor);
    if constexpr (std::is_same_v<T, std::vector<at::Tensor>>)
      tensors.insert(tensors.end(), argument.begin(), argument.end());
  };
  std::apply([&](const auto&... argument) { (collect(argument), ...); }, arguments);
  bool mixed = false;
  for (const auto& tensor : tensors) mixed |= tensor.scalar_type() != tensors[0].scalar_type();
  std::string text = name;
  for (size_t i = 0; i < tensors.size(); ++i) {
    text += (i == 0 ? ": " : " x ") + ShapeText(tensors[i].sizes());
    if (mixed) text += std::string(" ") + DtypeName(tensors[i].scalar_type());
  }
  return text;
}

template <class Function>
class Op {
  using Result = typename Signature<Function>::Result;
  using Arguments = typename Signature<Function>::Arguments;
  static constexpr size_t kArity = std::tuple_size_v<Arguments>;

  template <size_t I>
  static auto Argument(const Napi::CallbackInfo& info) {
    try {
      return FromJs<std::tuple_element_t<I, Arguments>>::Get(info[I]);
    } catch (const TypeMistake& mistake) {
      throw TypeMistake("argument " + std::to_string(I + 1) + ": " + mistake.what());
    }
  }

  static Arguments Convert(const Napi::CallbackInfo& info) {
    return [&]<size_t... I>(std::index_sequence<I...>) {
      // Braces: left to right, so that the first wrong argument is the one reported.
      return Arguments{Argument<I>(info)...};
    }
    (std::make_index_sequence<kArity>());
  }

  static const char* Name(const Napi::CallbackInfo& info) {
    return static_cast<const char*>(info.Data());
  }

 public:
  static Napi::Value Call(const Napi::CallbackInfo& info) {
    std::string where = Name(info);
    try {
      const Arguments arguments = Convert(info);
      try {
        return ToJs(info.Env(), std::apply(Function{}, arguments));
      } catch (...) {
        where = Describe(Name(info), arguments);
        throw;
      }
    } catch (...) {
      throw ToJsError(info.Env(), std::current_exception(), Blame::kCaller, where);
    }
  }

  static Napi::Value Submit(const Napi::CallbackInfo& info) {
    try {
      Arguments arguments = Convert(info);
      std::string where = Describe(Name(info), arguments);
      auto work = [arguments = std::move(arguments)] { return std::apply(Function{}, arguments); };
      auto& executor = *EnvData::Of(info.Env()).executor;
      if constexpr (std::is_void_v<Result>) {
        return executor.Submit(info.Env(), Blame::kCaller, std::move(where), std::move(work),
                               [](Napi::Env env) { return env.Undefined(); });
      } else {
        return executor.Submit(
            info.Env(), Blame::kCaller, std::move(where), std::move(work),
            [](Napi::Env env, Result result) { return ToJs(env, std::move(result)); });
      }
    } catch (...) {
      throw ToJsError(info.Env(), std::current_exception(), Blame::kCaller, Name(info));
    }
  }
};

// The two tables that ops are put into.
struct OpTables {
  Napi::Env env;
  Napi::Object ops;
  Napi::Object jobs;

  // A pure function. `name` must be a literal.
  template <class Function>
  void Pure(const char* name, Function) {
    ops.Set(name, Napi::Function::New<&Op<Function>::Call>(env, name, const_cast<char*>(name)));
    Job(name, Function{});
  }
  // One that changes a tensor, or autograd state: a job only.
  template <class Function>
  void Job(const char* name, Function) {
    jobs.Set(name, Napi::Function::New<&Op<Function>::Submit>(env, name, const_cast<char*>(name)));
  }
};

void DefineOps(OpTables& tables);

}  // namespace lopt
