#include "streams.h"

#ifdef LOPT_CUDA_GRAPHS
#include <c10/core/Event.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#endif

namespace lopt {

#ifdef LOPT_CUDA_GRAPHS

namespace {

constexpr int kMostDevices = 64;

struct Streams {
  c10::cuda::CUDAStream main, aside;
};

std::mutex mutex;
std::array<std::optional<Streams>, kMostDevices> known;
std::atomic<int> named = 0;  // how often a GPU was named for the first time

template <class Work>
void Each(Work work) {
  std::lock_guard lock(mutex);
  for (const auto& streams : known)
    if (streams) work(*streams);
}

// What is asked of `later` from now on waits for what was asked of `earlier`.
void Wait(c10::cuda::CUDAStream later, c10::cuda::CUDAStream earlier) {
  c10::Event event(c10::DeviceType::CUDA);
  event.record(earlier);
  event.block(later);
}

}  // namespace

void UseStreamOf(at::Device device) {
  if (!device.is_cuda()) return;
  // Whoever computes on a GPU that is not there is told; `cuda` without a number is index -1.
  const auto count = c10::cuda::device_count();
  if (count == 0 || device.index() >= count) return;
  thread_local std::array<bool, kMostDevices> is_set{};
  const auto index = device.has_index() ? device.index() : c10::cuda::current_device();
  if (is_set.at(index)) return;
  std::lock_guard lock(mutex);
  auto& streams = known[index];
  if (!streams) {
    streams.emplace(Streams{c10::cuda::getStreamFromPool(false, index),
                            c10::cuda::getStreamFromPool(false, index)});
    ++named;
  }
  c10::cuda::setCurrentCUDAStream(streams->main);
  is_set[index] = true;
}

void UseNamedStreams() {
  thread_local int seen = 0;
  if (seen == named) return;
  seen = named;
  StandAside(false);
}

void ForkStreams() {
  Each([](const Streams& streams) { Wait(streams.aside, streams.main); });
}

void JoinStreams() {
  Each([](const Streams& streams) { Wait(streams.main, streams.aside); });
}

void StandAside(bool aside) {
  Each([aside](const Streams& streams) {
    c10::cuda::setCurrentCUDAStream(aside ? streams.aside : streams.main);
  });
}

#else

void UseStreamOf(at::Device) {}
void UseNamedStreams() {}
void ForkStreams() {}
void JoinStreams() {}
void StandAside(bool) {}

#endif

}  // namespace lopt
