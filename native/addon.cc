// The export table, and the state that an environment begins and ends with.
#include <napi.h>
#include <torch/csrc/stable/c/shim.h>
#include <torch/headeronly/version.h>

#include <string>

#include "allocator.h"
#include "autograd.h"
#include "device.h"
#include "env_data.h"
#include "generator.h"
#include "graph.h"
#include "guard.h"
#include "half_attention.h"
#include "mapped_file.h"
#include "op.h"
#include "optimizer.h"
#include "products.h"
#include "reading.h"
#include "recorder.h"
#include "script_module.h"
#include "tensor.h"

namespace lopt {
namespace {

// Of the libtorch that was loaded, which may be another than the one compiled against.
std::string RuntimeTorchVersion() {
  const uint64_t version = aoti_torch_abi_version();  // major, minor, patch in its upper bytes
  auto byte = [version](int shift) { return std::to_string((version >> shift) & 0xff); };
  return byte(56) + "." + byte(48) + "." + byte(40);
}

Napi::Value SetErrorClass(const Napi::CallbackInfo& info) {
  if (!info[0].IsFunction()) throw TypeMistake("Expected the class LoptError");
  EnvData::Of(info.Env()).error_class = Napi::Persistent(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

// [sync] Before the process ends: `process.exit` runs no cleanup hook of the main thread.
Napi::Value Shutdown(const Napi::CallbackInfo& info) {
  if (auto& executor = EnvData::Of(info.Env()).executor) {
    executor->Stop();
    Graph::ReleaseAll(executor.get());
  }
  return info.Env().Undefined();
}

void AttachState(Napi::Env env) {
  auto data = std::make_unique<EnvData>();
  data->executor = std::make_unique<Executor>(env);
  EnvData* held = data.release();  // the environment owns it from here on
  env.SetInstanceData(held);
  // Before the environment's handles go: the running job ends, what waits is dropped.
  env.AddCleanupHook([](EnvData* state) { state->executor.reset(); }, held);
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  AttachState(env);
  exports.Set("torchVersionBuilt", TORCH_VERSION);
  exports.Set("torchVersion", RuntimeTorchVersion());
  Define<SetErrorClass>(env, exports, "setErrorClass");
  Define<Shutdown>(env, exports, "shutdown");
  DefineTensor(env, exports);
  DefineReading(env, exports);
  DefineAutograd(env, exports);
  DefineGenerator(env, exports);
  DefineOptimizer(env, exports);
  DefineScriptModule(env, exports);
  DefineMappedFile(env, exports);
  DefineDevice(env, exports);
  DefineGraph(env, exports);
  DefineRecorder(env, exports);
  DefineProducts(env, exports);
  DefineHalfAttention(env, exports);
  DefineAllocator(env, exports);
  OpTables tables{env, Napi::Object::New(env), Napi::Object::New(env)};
  DefineOps(tables);
  exports.Set("ops", tables.ops);
  exports.Set("jobs", tables.jobs);
  return exports;
}

}  // namespace
}  // namespace lopt

static Napi::Object Init(Napi::Env env, Napi::Object exports) { return lopt::Init(env, exports); }
NODE_API_MODULE(lopt, Init)
