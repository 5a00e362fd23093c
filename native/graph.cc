#include "graph.h"

#ifdef LOPT_CUDA_GRAPHS
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#endif

#include <mutex>
#include <set>

#include "convert.h"
#include "env_data.h"
#include "guard.h"
#include "streams.h"

namespace lopt {

#ifdef LOPT_CUDA_GRAPHS

struct Graph::Captured {
  at::cuda::CUDAGraph graph;
};

namespace {

std::mutex mutex;
std::set<Graph*> open;

// Graphs are replayed one after the other: what one used on its way the next may use again.
at::cuda::MempoolId_t Pool() {
  static const at::cuda::MempoolId_t pool = at::cuda::graph_pool_handle();
  return pool;
}

}  // namespace

bool Graph::Captures(at::Device device) { return device.is_cuda(); }

void Graph::Begin() {
  if (!Captures(device_)) return;
  const c10::cuda::CUDAGuard guard(device_);
  captured_ = std::make_unique<Captured>();
  captured_->graph.capture_begin(Pool(), cudaStreamCaptureModeRelaxed);
  std::lock_guard lock(mutex);
  open.insert(this);
}

void Graph::End() {
  if (captured_ == nullptr) return;
  const c10::cuda::CUDAGuard guard(device_);
  captured_->graph.capture_end();
}

void Graph::Replay() {
  if (captured_ == nullptr) return;
  const c10::cuda::CUDAGuard guard(device_);
  captured_->graph.replay();
}

void Graph::ReleaseAll() {
  std::lock_guard lock(mutex);
  for (Graph* graph : open) graph->captured_.reset();
  open.clear();
}

Graph::~Graph() {
  std::lock_guard lock(mutex);
  open.erase(this);
}

#else

struct Graph::Captured {};

bool Graph::Captures(at::Device) { return false; }
void Graph::Begin() {}
void Graph::End() {}
void Graph::Replay() {}
void Graph::ReleaseAll() {}
Graph::~Graph() = default;

#endif

Graph::Graph(at::Device device) : device_(device) {}

namespace {

using GraphPointer = std::shared_ptr<Graph>;

Executor& ExecutorOf(Napi::Env env) { return *EnvData::Of(env).executor; }

template <class Work, class Settle>
Napi::Value Submit(const Napi::CallbackInfo& info, const char* where, Work work, Settle settle) {
  return ExecutorOf(info.Env())
      .Submit(info.Env(), Blame::kTorch, where, std::move(work), std::move(settle));
}

Napi::Value Create(const Napi::CallbackInfo& info) {
  return Handle<GraphPointer>::New(info.Env(),
                                   std::make_shared<Graph>(FromJs<at::Device>::Get(info[0])));
}

Napi::Value Captures(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(), Graph::Captures(FromJs<at::Device>::Get(info[0])));
}

// [sync] Whose the calls that follow are.
Napi::Value SetOwner(const Napi::CallbackInfo& info) {
  Executor& executor = ExecutorOf(info.Env());
  executor.set_owner(FromJs<int64_t>::Get(info[0]));
  StandAside(executor.IsClaimedByOther());
  return info.Env().Undefined();
}

// [sync] From here to `Release` the executor takes jobs of this owner alone.
Napi::Value Claim(const Napi::CallbackInfo& info) {
  ForkStreams();
  ExecutorOf(info.Env()).Claim();
  return info.Env().Undefined();
}

Napi::Value Release(const Napi::CallbackInfo& info) {
  const auto release = [&] {
    ExecutorOf(info.Env()).Release();
    StandAside(false);
  };
  try {
    JoinStreams();
  } catch (...) {
    release();  // on a device that is broken, too, the others are told, and do not wait for ever
    throw;
  }
  release();
  return info.Env().Undefined();
}

template <void (Graph::*Method)()>
Napi::Value Call(const Napi::CallbackInfo& info) {
  const GraphPointer graph = Handle<GraphPointer>::Get(info[0]);
  return Submit(
      info, "graph", [graph] { (*graph.*Method)(); },
      [](Napi::Env env) { return env.Undefined(); });
}

// A job: one that runs may be a replay.
Napi::Value Dispose(const Napi::CallbackInfo& info) {
  auto graph = std::make_shared<GraphPointer>(Handle<GraphPointer>::Get(info[0]));
  Handle<GraphPointer>::Dispose(info[0]);
  return Submit(
      info, "dispose", [graph] { graph->reset(); }, [](Napi::Env env) { return env.Undefined(); });
}

}  // namespace

void DefineGraph(Napi::Env env, Napi::Object exports) {
  exports.Set("graphs", ToJs(env, Graph::Captures(at::Device("cuda:0"))));
  Define<Create>(env, exports, "graphCreate");
  Define<Captures>(env, exports, "graphCaptures");
  Define<SetOwner>(env, exports, "setOwner");
  Define<Claim>(env, exports, "claimExecutor");
  Define<Release>(env, exports, "releaseExecutor");
  Define<Call<&Graph::Begin>>(env, exports, "graphBegin");
  Define<Call<&Graph::End>>(env, exports, "graphEnd");
  Define<Call<&Graph::Replay>>(env, exports, "graphReplay");
  Define<Dispose>(env, exports, "graphDispose");
}

}  // namespace lopt
