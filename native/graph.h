// A captured piece of work: its kernels are recorded once and launched together from then on. On a
// device that captures nothing, only what a capture means for other jobs is left: they wait until
// it ends.
#pragma once

#include <ATen/ATen.h>
#include <napi.h>

#include <functional>
#include <memory>

#include "executor.h"
#include "handle.h"

namespace lopt {

// Only the executor's thread calls it, but for the destructor.
class Graph {
 public:
  // `owner` is its environment's.
  Graph(at::Device device, const Executor* owner);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // What is asked of the device between the two is recorded, and not computed.
  void Begin();
  void End();
  void Replay();

  // Whether this addon captures on a device.
  static bool Captures(at::Device device);

  // Drops what was captured, of all graphs of an environment: before the driver goes.
  static void ReleaseAll(const Executor* owner);

 private:
  struct Captured;
  const at::Device device_;
  const Executor* const owner_;
  std::unique_ptr<Captured> captured_;
  bool is_open_ = false;  // between `Begin` and `End`
};

// Runs work that no graph can be captured beside; not at all while one is captured.
void BetweenCaptures(const std::function<void()>& work);

template <>
struct HandleKind<std::shared_ptr<Graph>> {
  static constexpr napi_type_tag kTag = {0x6c6f70742d677261ULL, 0x70682d3e9b1f4c52ULL};
  static constexpr const char* kName = "a graph";
};

void DefineGraph(Napi::Env env, Napi::Object exports);

}  // namespace lopt
