// TorchScript: compile from source, load, save, call. All that touches torch::jit is behind this
// header (and one line of executor.cc), so that another executor could take its place.
#pragma once

#include <napi.h>
#include <torch/script.h>

#include <memory>

#include "handle.h"

namespace lopt {

template <>
struct HandleKind<torch::jit::Module> {
  static constexpr napi_type_tag kTag = {0x6c6f70742d736372ULL, 0x6970746d6f643a11ULL};
  static constexpr const char* kName = "a TorchScript module";
};

void DefineScriptModule(Napi::Env env, Napi::Object exports);

}  // namespace lopt
