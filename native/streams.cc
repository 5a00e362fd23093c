#include "streams.h"

#ifdef LOPT_CUDA_GRAPHS
#include <c10/core/Event.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "failure.h"
#endif

namespace lopt {

#ifdef LOPT_CUDA_GRAPHS

namespace {

constexpr int kMostDevices = 64;
// libtorch has so many streams of a GPU, and gives them out again after the last one. Two captures
// on one stream would be one.
constexpr int kMostPairs = 32 / 2;

struct Pair {
  c10::cuda::CUDAStream main, aside;
};

std::mutex mutex;
std::array<std::vector<Pair>, kMostDevices> returned;
std::array<int, kMostDevices> made{};

Pair NewPair(c10::DeviceIndex device) {
  if (!returned.at(device).empty()) {
    const Pair pair = returned[device].back();
    returned[device].pop_back();
    return pair;
  }
  if (made[device] == kMostPairs)
    throw Failure("ERR_UNSUPPORTED", "More than " + std::to_string(kMostPairs) +
                                         " threads compute on cuda:" + std::to_string(device));
  ++made[device];
  return {c10::cuda::getStreamFromPool(false, device), c10::cuda::getStreamFromPool(false, device)};
}

// What is asked of `later` from now on waits for what was asked of `earlier`.
void Wait(c10::cuda::CUDAStream later, c10::cuda::CUDAStream earlier) {
  c10::Event event(c10::DeviceType::CUDA);
  event.record(earlier);
  event.block(later);
}

}  // namespace

class Streams {
 public:
  // Of a GPU, made when it is first asked for.
  Pair Of(c10::DeviceIndex device) {
    std::lock_guard lock(mutex);
    auto& pair = known_.at(device);
    if (!pair) {
      pair = NewPair(device);
      ++named_;
    }
    return *pair;
  }

  template <class Work>
  void Each(Work work) const {
    std::lock_guard lock(mutex);
    for (const auto& pair : known_)
      if (pair) work(*pair);
  }

  void Return() {
    std::lock_guard lock(mutex);
    for (auto& pair : known_) {
      // One whose capture never ended is of no use to anybody.
      if (pair && !pair->main.is_capturing()) returned[pair->main.device_index()].push_back(*pair);
      pair.reset();
    }
  }

  // How often a GPU was named for the first time.
  int named() const { return named_; }

 private:
  std::array<std::optional<Pair>, kMostDevices> known_;
  std::atomic<int> named_ = 0;
};

namespace {

// What a thread knows.
struct Own {
  std::shared_ptr<Streams> streams;
  std::array<bool, kMostDevices> is_set{};
  int seen = 0;
};

thread_local Own own;

}  // namespace

std::shared_ptr<Streams> NewStreams() { return std::make_shared<Streams>(); }

void AdoptStreams(std::shared_ptr<Streams> streams) { own = {std::move(streams)}; }

void ReturnStreams(const std::shared_ptr<Streams>& streams) {
  try {
    streams->Return();
  } catch (const c10::Error&) {
    // A device that is broken has no streams to give.
  }
}

void UseStreamOf(at::Device device) {
  if (!device.is_cuda() || !own.streams) return;
  // Whoever computes on a GPU that is not there is told; `cuda` without a number is index -1.
  const auto count = c10::cuda::device_count();
  if (count == 0 || device.index() >= count) return;
  const auto index = device.has_index() ? device.index() : c10::cuda::current_device();
  if (own.is_set.at(index)) return;
  c10::cuda::setCurrentCUDAStream(own.streams->Of(index).main);
  own.is_set[index] = true;
}

void UseNamedStreams() {
  const int named = own.streams->named();
  if (own.seen == named) return;
  own.seen = named;
  StandAside(false);
}

bool WaitForStreams(at::Device device) {
  if (!device.is_cuda()) return false;
  const auto index = device.has_index() ? device.index() : c10::cuda::current_device();
  const Pair pair = own.streams->Of(index);
  pair.main.synchronize();
  pair.aside.synchronize();
  return true;
}

void ForkStreams() {
  own.streams->Each([](const Pair& pair) { Wait(pair.aside, pair.main); });
}

void JoinStreams() {
  own.streams->Each([](const Pair& pair) { Wait(pair.main, pair.aside); });
}

void StandAside(bool aside) {
  own.streams->Each([aside](const Pair& pair) {
    c10::cuda::setCurrentCUDAStream(aside ? pair.aside : pair.main);
  });
}

#else

class Streams {};

std::shared_ptr<Streams> NewStreams() { return nullptr; }
void AdoptStreams(std::shared_ptr<Streams>) {}
void ReturnStreams(const std::shared_ptr<Streams>&) {}
void UseStreamOf(at::Device) {}
void UseNamedStreams() {}
bool WaitForStreams(at::Device) { return false; }
void ForkStreams() {}
void JoinStreams() {}
void StandAside(bool) {}

#endif

}  // namespace lopt
