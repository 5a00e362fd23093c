// Random number generators. They live on the CPU, so that one seed draws the same numbers for
// every device.
#pragma once

#include <ATen/core/Generator.h>
#include <napi.h>

#include "convert.h"
#include "handle.h"

namespace lopt {

template <>
struct HandleKind<at::Generator> {
  static constexpr napi_type_tag kTag = {0x6c6f70742d67656eULL, 0x657261746f7210c3ULL};
  static constexpr const char* kName = "a generator";
};

template <>
struct FromJs<at::Generator> {
  static at::Generator Get(const Napi::Value& value) { return Handle<at::Generator>::Get(value); }
};

void DefineGenerator(Napi::Env env, Napi::Object exports);

}  // namespace lopt
