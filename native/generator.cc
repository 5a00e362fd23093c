// Generators of random numbers: made, and their state read and set.
#include "generator.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cstring>
#include <mutex>

#include "guard.h"

namespace lopt {
namespace {

Napi::Value Create(const Napi::CallbackInfo& info) {
  const int64_t seed = FromJs<int64_t>::Get(info[0]);
  if (seed < 0)
    throw RangeMistake("Expected seed to be 0 or more but received " + std::to_string(seed));
  return Handle<at::Generator>::New(info.Env(),
                                    at::detail::createCPUGenerator(static_cast<uint64_t>(seed)));
}

Napi::Value State(const Napi::CallbackInfo& info) {
  at::Generator generator = FromJs<at::Generator>::Get(info[0]);
  at::Tensor state;
  {
    std::lock_guard lock(generator.mutex());
    state = generator.get_state();
  }
  auto bytes = Napi::Uint8Array::New(info.Env(), state.nbytes());
  std::memcpy(bytes.Data(), state.const_data_ptr(), state.nbytes());
  return bytes;
}

// libtorch checks the two counters of a state one by one only; together they lead past its end.
void CheckState(const at::Tensor& state) {
  struct Beginning {  // of a CPU generator's state (ATen/CPUGeneratorImpl.cpp)
    uint64_t seed;
    int32_t left;
    int32_t seeded;
    uint64_t next;
  } beginning;
  constexpr uint64_t kWords = 624;  // of a Mersenne twister
  if (state.nbytes() < sizeof beginning) throw RangeMistake("This is no state of a generator");
  std::memcpy(&beginning, state.const_data_ptr(), sizeof beginning);
  if (beginning.left < 0 || beginning.next > kWords ||
      static_cast<uint64_t>(beginning.left) + beginning.next > kWords + 1)
    throw RangeMistake("This is no state of a generator");
}

Napi::Value SetState(const Napi::CallbackInfo& info) {
  at::Generator generator = FromJs<at::Generator>::Get(info[0]);
  if (!info[1].IsTypedArray()) throw TypeMistake("Expected state to be a Uint8Array");
  const auto size = static_cast<int64_t>(info[1].As<Napi::TypedArray>().ElementLength());
  const at::Tensor state = TensorFromTypedArray(info[1], {size}, at::kByte, at::kCPU);
  CheckState(state);
  std::lock_guard lock(generator.mutex());
  generator.set_state(state);
  return info.Env().Undefined();
}

}  // namespace

void DefineGenerator(Napi::Env env, Napi::Object exports) {
  Define<Create>(env, exports, "generatorCreate");
  Define<State>(env, exports, "generatorState");
  Define<SetState>(env, exports, "generatorSetState");
}

}  // namespace lopt
