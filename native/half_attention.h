// In what a CPU computes attention of half precision.
#pragma once

#include <napi.h>

namespace lopt {

// The first environment of a process chooses for all.
void DefineHalfAttention(Napi::Env env, Napi::Object exports);

}  // namespace lopt
