// Devices: which are there, what they hold, waiting for them; and the threads of CPU ops. Knows no
// tensor.
#include "device.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "convert.h"
#include "env_data.h"
#include "graph.h"
#include "guard.h"
#include "streams.h"

namespace lopt {
namespace {

Executor& ExecutorOf(const Napi::CallbackInfo& info) { return *EnvData::Of(info.Env()).executor; }

bool HasDevice(at::Device device) {
  if (device.is_cpu()) return true;
  if (device.is_cuda())
    return at::globalContext().hasCUDA() &&
           std::max<int>(device.index(), 0) < c10::impl::VirtualGuardImpl(at::kCUDA).deviceCount();
  return device.is_mps() && at::globalContext().hasMPS();
}

at::Device PresentDevice(const Napi::Value& value) {
  const auto device = FromJs<at::Device>::Get(value);
  if (!HasDevice(device)) throw Failure("ERR_DEVICE", "There is no device " + device.str());
  return device;
}

// Such as 13.0: of the CUDA that libtorch was built for, whether a GPU is there or not; else null.
Napi::Value CudaVersion(Napi::Env env) {
  if (!at::Context::hasCUDART()) return env.Null();
  const long version = at::Context::versionCUDART();  // 13000
  return ToJs(env, std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10));
}

Napi::Value AvailableDevices(const Napi::CallbackInfo& info) {
  std::vector<std::string> names = {"cpu"};
  if (at::globalContext().hasCUDA()) {
    const int count = c10::impl::VirtualGuardImpl(at::kCUDA).deviceCount();
    for (int i = 0; i < count; ++i) names.push_back("cuda:" + std::to_string(i));
  }
  if (at::globalContext().hasMPS()) names.emplace_back("mps");
  return ToJs(info.Env(), std::move(names));
}

Napi::Value Synchronize(const Napi::CallbackInfo& info) {
  const auto device = PresentDevice(info[0]);
  return ExecutorOf(info).Submit(
      info.Env(), Blame::kTorch, "synchronize",
      [device] {
        // Every job before this one has ended. The whole of a GPU cannot be waited for while
        // another thread captures a graph there.
        if (device.is_cpu() || WaitForStreams(device)) return;
        const c10::impl::VirtualGuardImpl guard(device.type());
        guard.synchronizeDevice(device.has_index() ? device.index() : guard.getDevice().index());
      },
      [](Napi::Env env) { return env.Undefined(); });
}

Napi::Value DeviceMemory(const Napi::CallbackInfo& info) {
  const auto device = PresentDevice(info[0]);
  auto counts = Napi::Object::New(info.Env());
  double allocated = 0, reserved = 0, peak_allocated = 0, peak_reserved = 0;
  if (!device.is_cpu()) {
    at::globalContext().lazyInitDevice(device.type());  // before its first tensor it has no books
    constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    const auto stats = at::getDeviceAllocator(device.type())
                           ->getDeviceStats(std::max<c10::DeviceIndex>(device.index(), 0));
    allocated = static_cast<double>(stats.allocated_bytes[kAll].current);
    reserved = static_cast<double>(stats.reserved_bytes[kAll].current);
    peak_allocated = static_cast<double>(stats.allocated_bytes[kAll].peak);
    peak_reserved = static_cast<double>(stats.reserved_bytes[kAll].peak);
  }
  counts.Set("allocated", ToJs(info.Env(), allocated));
  counts.Set("reserved", ToJs(info.Env(), reserved));
  counts.Set("peakAllocated", ToJs(info.Env(), peak_allocated));
  counts.Set("peakReserved", ToJs(info.Env(), peak_reserved));
  return counts;
}

Napi::Value EmptyCache(const Napi::CallbackInfo& info) {
  const auto device = PresentDevice(info[0]);
  if (!device.is_cpu())
    BetweenCaptures([&] { at::getDeviceAllocator(device.type())->emptyCache(); });
  return info.Env().Undefined();
}

Napi::Value GetNumThreads(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(), static_cast<int64_t>(ExecutorOf(info).num_threads()));
}

Napi::Value SetNumThreads(const Napi::CallbackInfo& info) {
  constexpr int64_t kMost = 1024;  // more than any machine's cores; each costs a stack
  const int64_t threads = FromJs<int64_t>::Get(info[0]);
  if (threads < 1 || threads > kMost)
    throw RangeMistake("Expected threads in 1.." + std::to_string(kMost) + " but received " +
                       std::to_string(threads));
  ExecutorOf(info).set_num_threads(static_cast<int>(threads));
  // The count is the calling thread's own: it must be set where the ops run.
  return ExecutorOf(info).Submit(
      info.Env(), Blame::kTorch, "setNumThreads",
      [threads] { at::set_num_threads(static_cast<int>(threads)); },
      [](Napi::Env env) { return env.Undefined(); });
}

// cuBLAS and cuDNN may round float32 factors to 10 bits of mantissa.
Napi::Value AllowTf32(const Napi::CallbackInfo& info) {
  const bool enabled = FromJs<bool>::Get(info[0]);
  at::globalContext().setAllowTF32CuBLAS(enabled);
  at::globalContext().setAllowTF32CuDNN(enabled);
  return info.Env().Undefined();
}

Napi::Value IsTf32Allowed(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(), at::globalContext().allowTF32CuBLAS());
}

Napi::Value PendingJobs(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(), static_cast<int64_t>(ExecutorOf(info).pending()));
}

}  // namespace

void DefineDevice(Napi::Env env, Napi::Object exports) {
  // cuDNN's attention plans anew for every shape, 27 ms a layer on an H200, and texts have many
  // lengths.
  at::globalContext().setSDPUseCuDNN(false);
  exports.Set("cudaVersion", CudaVersion(env));
  Define<AvailableDevices>(env, exports, "availableDevices");
  Define<Synchronize>(env, exports, "synchronize");
  Define<DeviceMemory>(env, exports, "deviceMemory");
  Define<EmptyCache>(env, exports, "emptyCache");
  Define<GetNumThreads>(env, exports, "getNumThreads");
  Define<SetNumThreads>(env, exports, "setNumThreads");
  Define<AllowTf32>(env, exports, "allowTf32");
  Define<IsTf32Allowed>(env, exports, "isTf32Allowed");
  Define<PendingJobs>(env, exports, "pendingJobs");
}

}  // namespace lopt
