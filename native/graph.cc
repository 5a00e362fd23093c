#include "graph.h"

#ifdef LOPT_CUDA_GRAPHS
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>

#include <map>
#include <mutex>
#include <set>
#include <utility>
#endif

#include "convert.h"
#include "env_data.h"
#include "guard.h"
#include "streams.h"

namespace lopt {

#ifdef LOPT_CUDA_GRAPHS

namespace {

namespace allocator = c10::cuda::CUDACachingAllocator;

// Of all environments. Held while a capture begins or ends and while a graph goes, which libtorch
// does not guard where several threads capture, and while memory is given back, which it refuses
// during a capture.
std::mutex mutex;
std::set<Graph*> known;
int captures = 0;  // that have begun and not ended

// What graphs use on their way is memory that all of an environment and a device share: they are
// replayed one after the other. Once the last graph of a pool has gone, libtorch takes the pool's
// id for no other capture, so that the next graph has a new one.
struct Pool {
  const at::cuda::MempoolId_t id = at::cuda::graph_pool_handle();
};

std::shared_ptr<Pool> PoolOf(c10::DeviceIndex device) {
  // On the environment's executor, where all its graphs are captured.
  thread_local std::map<c10::DeviceIndex, std::weak_ptr<Pool>> pools;
  auto pool = pools[device].lock();
  if (!pool) pools[device] = pool = std::make_shared<Pool>();
  return pool;
}

template <class Work>
bool Succeeds(Work work) {
  try {
    work();
    return true;
  } catch (const c10::Error&) {
    return false;
  }
}

}  // namespace

struct Graph::Captured {
  c10::cuda::CUDAStream stream = c10::cuda::getCurrentCUDAStream();
  std::shared_ptr<Pool> pool = PoolOf(stream.device_index());
  at::cuda::CUDAGraph graph;  // goes before the pool

  // After a capture that failed, which `CUDAGraph` leaves as it is: the allocators would go on
  // asking it what memory belongs to it, and refuse the next capture.
  bool EndAllocation() {
    Succeeds([&] { at::getHostAllocator(at::kCUDA)->end_allocate_to_pool(pool->id); });
    return Succeeds([&] { allocator::endAllocateToPool(stream.device_index(), pool->id); });
  }
  void ReleasePool() {
    Succeeds([&] { at::getHostAllocator(at::kCUDA)->release_pool(pool->id); });
    Succeeds([&] { allocator::releasePool(stream.device_index(), pool->id); });
  }
  // Whether `graph` releases the pool when it goes.
  bool HasPool() {
    return Succeeds([&] { graph.pool(); });
  }
};

Graph::Graph(at::Device device, const Executor* owner) : device_(device), owner_(owner) {
  std::lock_guard lock(mutex);
  known.insert(this);
}

Graph::~Graph() {
  // Of an environment that ended while it was captured.
  Succeeds([&] { End(); });
  std::lock_guard lock(mutex);
  captured_.reset();
  known.erase(this);
}

bool Graph::Captures(at::Device device) { return device.is_cuda(); }

void Graph::Begin() {
  if (!Captures(device_)) return;
  const c10::cuda::CUDAGuard guard(device_);
  std::lock_guard lock(mutex);
  captured_ = std::make_unique<Captured>();
  try {
    captured_->graph.capture_begin(captured_->pool->id, cudaStreamCaptureModeRelaxed);
  } catch (...) {
    if (captured_->EndAllocation()) captured_->ReleasePool();
    captured_.reset();
    throw;
  }
  is_open_ = true;
  ++captures;
}

void Graph::End() {
  if (!is_open_) return;
  const c10::cuda::CUDAStreamGuard guard(captured_->stream);
  std::lock_guard lock(mutex);
  is_open_ = false;
  --captures;
  try {
    captured_->graph.capture_end();
  } catch (...) {
    captured_->EndAllocation();
    if (!captured_->HasPool()) captured_->ReleasePool();
    captured_.reset();
    throw;
  }
}

void Graph::Replay() {
  if (captured_ == nullptr) return;
  const c10::cuda::CUDAGuard guard(device_);
  captured_->graph.replay();
}

void Graph::ReleaseAll(const Executor* owner) {
  std::lock_guard lock(mutex);
  for (Graph* graph : known) {
    if (graph->owner_ != owner) continue;
    if (std::exchange(graph->is_open_, false)) --captures;
    graph->captured_.reset();
  }
}

void BetweenCaptures(const std::function<void()>& work) {
  std::lock_guard lock(mutex);
  if (captures == 0) work();
}

#else

struct Graph::Captured {};

Graph::Graph(at::Device device, const Executor* owner) : device_(device), owner_(owner) {}
Graph::~Graph() = default;
bool Graph::Captures(at::Device) { return false; }
void Graph::Begin() {}
void Graph::End() {}
void Graph::Replay() {}
void Graph::ReleaseAll(const Executor*) {}
void BetweenCaptures(const std::function<void()>& work) { work(); }

#endif

namespace {

using GraphPointer = std::shared_ptr<Graph>;

Executor& ExecutorOf(Napi::Env env) { return *EnvData::Of(env).executor; }

template <class Work, class Settle>
Napi::Value Submit(const Napi::CallbackInfo& info, const char* where, Work work, Settle settle) {
  return ExecutorOf(info.Env())
      .Submit(info.Env(), Blame::kTorch, where, std::move(work), std::move(settle));
}

Napi::Value Create(const Napi::CallbackInfo& info) {
  return Handle<GraphPointer>::New(
      info.Env(),
      std::make_shared<Graph>(FromJs<at::Device>::Get(info[0]), &ExecutorOf(info.Env())));
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

// Once all that was asked for before is done, to `Release`, the executor takes jobs of this owner
// alone. The streams fork here on JavaScript's thread: nothing is asked of the first one meanwhile.
Napi::Value Claim(const Napi::CallbackInfo& info) {
  Executor& executor = ExecutorOf(info.Env());
  const int64_t owner = executor.owner();
  return Submit(
      info, "graph", [&executor, owner] { executor.Claim(owner); },
      [&executor, owner](Napi::Env env) {
        try {
          ForkStreams();
        } catch (...) {
          executor.Release();
          throw;
        }
        executor.SetClaimed(owner);
        StandAside(executor.IsClaimedByOther());
        return env.Undefined();
      });
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
