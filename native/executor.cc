// The executor's thread and its queue. Knows no tensor.
#include "executor.h"

#include <ATen/Parallel.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <algorithm>

#include "guard.h"
#include "old_system.h"
#include "streams.h"

namespace lopt {

Executor::Executor(Napi::Env env)
    : completion_(Completion::New(env, "lopt", 0, 1, this)), num_threads_(at::get_num_threads()) {
  completion_.Unref(env);  // an idle executor keeps no process alive
  AdoptStreams(streams_);
  thread_ = std::thread([this] { Loop(); });
}

Executor::~Executor() {
  Stop();
  completion_.Abort();
}

void Executor::Stop() {
  if (stopped_) return;
  stopped_ = true;
  std::deque<std::unique_ptr<Job>> dropped;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(queue_);
  }
  wake_.notify_one();
  thread_.join();
  ReturnStreams(streams_);
}

Napi::Value Executor::Enqueue(Napi::Env env, std::unique_ptr<Job> job) {
  const Napi::Value promise = job->deferred.Promise();
  if (pending_++ == 0) completion_.Ref(env);
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(job));
  }
  wake_.notify_one();
  return promise;
}

void Executor::Claim(int64_t owner) {
  std::lock_guard lock(mutex_);
  claimed_by_ = owner;
}

void Executor::Release() {
  noted_claim_ = kNobody;
  {
    std::lock_guard lock(mutex_);
    claimed_by_ = kNobody;
  }
  wake_.notify_one();
}

std::deque<std::unique_ptr<Executor::Job>>::iterator Executor::Next() {
  return std::find_if(queue_.begin(), queue_.end(), [this](const auto& job) {
    return claimed_by_ == kNobody || claimed_by_ == job->owner;
  });
}

void Executor::Loop() {
  // Thread-local. The optimising executor's numerics depend on the history of calls, so that a
  // resumed run could not be exact, and it re-specialises for every new shape.
  torch::jit::setGraphExecutorOptimize(false);
  AdoptStreams(streams_);
  for (;;) {
    std::unique_ptr<Job> job;
    {
      std::unique_lock lock(mutex_);
      auto next = queue_.end();
      wake_.wait(lock, [&] { return stopping_ || (next = Next()) != queue_.end(); });
      if (stopping_) return;
      job = std::move(*next);
      queue_.erase(next);
    }
    UseNamedStreams();
    try {
      at::AutoGradMode grad_mode(job->grad_mode);
      job->run();
    } catch (...) {
      job->failure = std::current_exception();
    }
    job->run = nullptr;  // lets go of the captured tensors before the promise settles
    Job* done = job.release();
    if (completion_.NonBlockingCall(done) != napi_ok) std::unique_ptr<Job>{done};
  }
}

void Executor::Complete(Napi::Env env, Napi::Function, Executor* self, Job* job) {
  std::unique_ptr<Job> done(job);
  if (static_cast<napi_env>(env) == nullptr) return;  // the environment is going away
  Napi::HandleScope scope(env);
  if (--self->pending_ == 0) self->completion_.Unref(env);
  try {
    if (!done->failure) {
      done->deferred.Resolve(done->settle(env));
      return;
    }
  } catch (...) {
    done->failure = std::current_exception();
  }
  try {
    done->deferred.Reject(ToJsError(env, done->failure, done->blame, done->where).Value());
  } catch (const Napi::Error&) {
    // The environment runs no JavaScript any more (a worker that is being ended, a process that an
    // uncaught error ends): nobody is left to be told.
  }
}

}  // namespace lopt
