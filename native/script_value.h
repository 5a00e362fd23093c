// JavaScript values <-> TorchScript's IValues, led by the types in a method's schema.
#pragma once

#include <ATen/core/function_schema.h>
#include <ATen/core/ivalue.h>
#include <napi.h>

#include <vector>

namespace lopt {

// One value a parameter of the schema after `self`; a missing one takes its default.
// Throws TypeMistake or RangeMistake naming the parameter.
std::vector<c10::IValue> ArgumentsFrom(const Napi::Array& values,
                                       const c10::FunctionSchema& schema);

Napi::Value ToJs(Napi::Env env, const c10::IValue& value);

}  // namespace lopt
