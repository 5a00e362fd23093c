// Which library computes the float32 matrix products of a CPU.
#pragma once

#include <napi.h>

namespace lopt {

// The first environment of a process chooses for all; `exports.products` names the choice,
// `exports.cpuFeatures` what the CPU has.
void DefineProducts(Napi::Env env, Napi::Object exports);

}  // namespace lopt
