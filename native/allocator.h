// Memory of CPU tensors.
#pragma once

#include <napi.h>

namespace lopt {

// The first environment of a process puts it in libtorch's place; `exports.releaseMemory` gives
// back what is kept.
void DefineAllocator(Napi::Env env, Napi::Object exports);

}  // namespace lopt
