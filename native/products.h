// Which library computes the float32 matrix products of a CPU.
#pragma once

#include <napi.h>

#include <functional>

namespace torch {
class Library;
}

namespace lopt {

// Puts kernels of our own in the place of libtorch's for a CPU.
void ReplaceCpuKernels(const std::function<void(torch::Library&)>& replace);

// The first environment of a process chooses for all; `exports.products` names the choice,
// `exports.cpuFeatures` what the CPU has.
void DefineProducts(Napi::Env env, Napi::Object exports);

}  // namespace lopt
