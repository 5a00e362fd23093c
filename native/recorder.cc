// Records the ops that run in the process, for profiles and for the check that a step's inputs lie
// on one device. Knows no op: libtorch's dispatcher calls it before and after each.
#include "recorder.h"

#include <ATen/record_function.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "convert.h"
#include "guard.h"

namespace lopt {
namespace {

using Clock = std::chrono::steady_clock;

// A training step runs some hundreds of ops: room for ten thousand steps, in about 2 GB at most.
constexpr size_t kMostEvents = 5'000'000;

struct Input {
  std::string device;
  at::ScalarType dtype;
  Dims shape;
};

struct Event : at::ObserverContext {
  std::string name;
  uint64_t thread = 0;
  bool is_backward = false;
  Clock::time_point begin;
  Clock::time_point end;
  std::vector<Input> inputs;
};

// The recording that is going on: one in the process, whatever environment began it.
struct Recording {
  std::mutex mutex;
  at::CallbackHandle handle = at::INVALID_CALLBACK_HANDLE;
  Clock::time_point begin;
  std::vector<Event> events;
  size_t dropped = 0;
};

Recording& Current() {
  static auto* recording = new Recording;  // ops may still end while static objects are destroyed
  return *recording;
}

void AddInput(std::vector<Input>& inputs, const at::Tensor& tensor) {
  if (tensor.defined())
    inputs.push_back({tensor.device().str(), tensor.scalar_type(), tensor.sizes().vec()});
}

std::unique_ptr<at::ObserverContext> Begin(const at::RecordFunction& function) {
  auto event = std::make_unique<Event>();
  event->name = function.name();
  event->thread = function.threadId();
  event->is_backward = function.scope() == at::RecordScope::BACKWARD_FUNCTION;
  if (function.needsInputs()) {
    for (const c10::IValue& value : function.inputs()) {
      if (value.isTensor()) AddInput(event->inputs, value.toTensor());
      if (value.isTensorList())
        for (const at::Tensor& tensor : value.toTensorVector()) AddInput(event->inputs, tensor);
    }
  }
  event->begin = Clock::now();
  return event;
}

void End(const at::RecordFunction&, at::ObserverContext* context) {
  auto& event = static_cast<Event&>(*context);
  event.end = Clock::now();
  Recording& recording = Current();
  std::lock_guard lock(recording.mutex);
  if (recording.handle == at::INVALID_CALLBACK_HANDLE) return;  // it ended while the op ran
  if (recording.events.size() < kMostEvents)
    recording.events.push_back(std::move(event));
  else
    ++recording.dropped;
}

Napi::Value Start(const Napi::CallbackInfo& info) {
  const bool with_inputs = FromJs<bool>::Get(info[0]);
  Recording& recording = Current();
  std::lock_guard lock(recording.mutex);
  if (recording.handle != at::INVALID_CALLBACK_HANDLE)
    throw RangeMistake("Ops are being recorded already: one recording at a time in a process");
  recording.begin = Clock::now();
  recording.handle = at::addGlobalCallback(
      at::RecordFunctionCallback(&Begin, &End)
          .needsInputs(with_inputs)
          .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
  return info.Env().Undefined();
}

Napi::Value EventToJs(Napi::Env env, const Event& event, Clock::time_point origin) {
  const auto microseconds = [origin](Clock::time_point time) {
    return std::chrono::duration<double, std::micro>(time - origin).count();
  };
  auto inputs = Napi::Array::New(env, event.inputs.size());
  for (uint32_t i = 0; i < event.inputs.size(); ++i) {
    auto input = Napi::Object::New(env);
    input.Set("device", ToJs(env, event.inputs[i].device));
    input.Set("dtype", ToJs(env, std::string(DtypeName(event.inputs[i].dtype))));
    input.Set("shape", ToJs(env, event.inputs[i].shape));
    inputs.Set(i, input);
  }
  auto object = Napi::Object::New(env);
  object.Set("name", ToJs(env, event.name));
  object.Set("thread", ToJs(env, static_cast<int64_t>(event.thread)));
  object.Set("backward", ToJs(env, event.is_backward));
  object.Set("startUs", ToJs(env, microseconds(event.begin)));
  object.Set("durationUs", ToJs(env, microseconds(event.end) - microseconds(event.begin)));
  object.Set("inputs", inputs);
  return object;
}

Napi::Value Stop(const Napi::CallbackInfo& info) {
  Recording& recording = Current();
  std::vector<Event> events;
  size_t dropped = 0;
  {
    std::lock_guard lock(recording.mutex);
    if (recording.handle == at::INVALID_CALLBACK_HANDLE)
      throw RangeMistake("No ops are being recorded");
    at::removeCallback(std::exchange(recording.handle, at::INVALID_CALLBACK_HANDLE));
    events.swap(recording.events);
    dropped = std::exchange(recording.dropped, 0);
  }
  auto array = Napi::Array::New(info.Env(), events.size());
  for (uint32_t i = 0; i < events.size(); ++i) {
    const Napi::HandleScope scope(info.Env());
    array.Set(i, EventToJs(info.Env(), events[i], recording.begin));
  }
  auto result = Napi::Object::New(info.Env());
  result.Set("ops", array);
  result.Set("dropped", ToJs(info.Env(), static_cast<int64_t>(dropped)));
  return result;
}

}  // namespace

void DefineRecorder(Napi::Env env, Napi::Object exports) {
  Define<Start>(env, exports, "recorderStart");
  Define<Stop>(env, exports, "recorderStop");
}

}  // namespace lopt
