// Records the ops that run in the process: name, thread, time, and where their inputs lie.
#pragma once

#include <napi.h>

namespace lopt {

void DefineRecorder(Napi::Env env, Napi::Object exports);

}  // namespace lopt
