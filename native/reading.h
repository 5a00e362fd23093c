// Values on their way to JavaScript: begun after what was asked for so far, and there before what
// is asked for next is done.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <napi.h>

#include <memory>

#include "handle.h"

namespace lopt {

// On the CPU, of the type that JavaScript reads; without an event it has arrived.
struct Reading {
  at::Tensor travelling;
  std::shared_ptr<c10::Event> arrived;
};

template <>
struct HandleKind<Reading> {
  static constexpr napi_type_tag kTag = {0x6c6f70742d726561ULL, 0x64696e67c2a80d14ULL};
  static constexpr const char* kName = "a reading";
};

void DefineReading(Napi::Env env, Napi::Object exports);

}  // namespace lopt
