#include "reading.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include "convert.h"
#include "env_data.h"
#include "guard.h"
#include "tensor.h"

namespace lopt {
namespace {

Reading Begin(const at::Tensor& tensor) {
  const at::Device device = tensor.device();
  if (device.is_cpu()) return {ToTravel(tensor), nullptr};
  Reading reading{ToTravel(tensor, /*non_blocking=*/true),
                  std::make_shared<c10::Event>(device.type())};
  reading.arrived->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  return reading;
}

Napi::Value BeginRead(const Napi::CallbackInfo& info) {
  return EnvData::Of(info.Env())
      .executor->Submit(
          info.Env(), Blame::kCaller, "read",
          [tensor = UnwrapTensor(info[0])] { return Begin(tensor); },
          [](Napi::Env env, Reading reading) {
            return Handle<Reading>::New(env, std::move(reading));
          });
}

Napi::Value FinishRead(const Napi::CallbackInfo& info) {
  const Reading reading = Handle<Reading>::Get(info[0]);
  Handle<Reading>::Dispose(info[0]);
  return EnvData::Of(info.Env())
      .executor->Submit(
          info.Env(), Blame::kTorch, "read",
          [reading] {
            if (reading.arrived) reading.arrived->synchronize();
            return reading.travelling;
          },
          [](Napi::Env env, at::Tensor travelling) { return TypedArrayFrom(env, travelling); });
}

}  // namespace

void DefineReading(Napi::Env env, Napi::Object exports) {
  Define<BeginRead>(env, exports, "beginRead");
  Define<FinishRead>(env, exports, "finishRead");
}

}  // namespace lopt
