// The one thread of an environment on which long work runs, in order of submission; each job gives
// a promise. Knows nothing of tensors beyond grad mode, which a job takes over from its caller.
// Sets what libtorch keeps by thread: the count of threads, and the JIT's executor.
#pragma once

#include <ATen/core/grad_mode.h>
#include <napi.h>

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "blame.h"
#include "failure.h"
#include "streams.h"

namespace lopt {

class Executor {
 public:
  explicit Executor(Napi::Env env);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Runs `work` on the thread; `settle(env, result)` turns its result into a value, back on the
  // JavaScript thread. `work` must hold everything by value and no Node-API handle. `where` names
  // the job in its error.
  template <class Work, class Settle>
  Napi::Value Submit(Napi::Env env, Blame blame, std::string where, Work work, Settle settle) {
    using Result = std::invoke_result_t<Work>;
    if (stopped_) throw Failure("ERR_ABORTED", "The process is ending: no more work is taken");
    auto job =
        std::make_unique<Job>(env, blame, std::move(where), at::GradMode::is_enabled(), owner_);
    if constexpr (std::is_void_v<Result>) {
      job->run = std::move(work);
      job->settle = [settle = std::move(settle)](Napi::Env e) { return settle(e); };
    } else {
      // std::function copies its target: the result lives beside it.
      auto result = std::make_shared<std::optional<Result>>();
      job->run = [work = std::move(work), result]() mutable { *result = work(); };
      job->settle = [settle = std::move(settle), result](Napi::Env e) {
        return settle(e, std::move(**result));
      };
    }
    return Enqueue(env, std::move(job));
  }

  // Drops what waits, lets the running job end, joins the thread; later jobs are refused.
  // Libtorch's static destructors must not run beside an op.
  void Stop();

  // Whose the jobs are that are submitted from here on.
  void set_owner(int64_t owner) { owner_ = owner; }
  int64_t owner() const { return owner_; }
  // From here to `Release` jobs of this owner alone are run, in their order; the others wait.
  // Called by a job of the owner's: those before it have ended.
  void Claim(int64_t owner);
  // Notes on the JavaScript thread that the claim holds.
  void SetClaimed(int64_t owner) { noted_claim_ = owner; }
  void Release();
  bool IsClaimedByOther() const { return noted_claim_ != kNobody && noted_claim_ != owner_; }

  // Jobs that wait or run.
  size_t pending() const { return pending_; }
  // Threads that an op may use when it runs as a job.
  int num_threads() const { return num_threads_; }
  void set_num_threads(int threads) { num_threads_ = threads; }

 private:
  struct Job {
    Job(Napi::Env env, Blame blame_in, std::string where_in, bool grad_mode_in, int64_t owner_in)
        : deferred(Napi::Promise::Deferred::New(env)),
          blame(blame_in),
          where(std::move(where_in)),
          grad_mode(grad_mode_in),
          owner(owner_in) {}
    Napi::Promise::Deferred deferred;
    Blame blame;
    std::string where;
    bool grad_mode;
    int64_t owner;
    std::function<void()> run;
    std::function<Napi::Value(Napi::Env)> settle;
    std::exception_ptr failure;
  };

  static void Complete(Napi::Env env, Napi::Function, Executor* self, Job* job);
  using Completion = Napi::TypedThreadSafeFunction<Executor, Job, &Executor::Complete>;

  static constexpr int64_t kNobody = -1;

  Napi::Value Enqueue(Napi::Env env, std::unique_ptr<Job> job);
  // The first job whose turn it is, or the end.
  std::deque<std::unique_ptr<Job>>::iterator Next();
  void Loop();

  Completion completion_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Job>> queue_;
  bool stopping_ = false;
  int64_t claimed_by_ = kNobody;
  // Only the JavaScript thread touches these.
  bool stopped_ = false;
  size_t pending_ = 0;
  int64_t owner_ = 0;
  int64_t noted_claim_ = kNobody;
  int num_threads_;
  const std::shared_ptr<Streams> streams_ = NewStreams();  // of both threads
  std::thread thread_;
};

}  // namespace lopt
