// Devices: which there are, their memory, synchronisation, threads.
#pragma once

#include <napi.h>

namespace lopt {

void DefineDevice(Napi::Env env, Napi::Object exports);

}  // namespace lopt
