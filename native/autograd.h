// Puts backward, gradients and grad mode into the export table.
#pragma once

#include <napi.h>

namespace lopt {

void DefineAutograd(Napi::Env env, Napi::Object exports);

}  // namespace lopt
