// The stream of a GPU that an environment's work runs on: the same for jobs and for ops on the
// spot, another one in each environment, and not the default one, which no graph can be captured
// from. On other devices nothing.
#pragma once

#include <c10/core/Device.h>

#include <memory>

namespace lopt {

// An environment's streams, which others may have once it is gone.
class Streams;

std::shared_ptr<Streams> NewStreams();
// Says which streams are the calling thread's: once on each thread of an environment.
void AdoptStreams(std::shared_ptr<Streams> streams);
// Gives them back, after the environment's last job.
void ReturnStreams(const std::shared_ptr<Streams>& streams);

// Makes a GPU's stream the calling thread's. Called wherever JavaScript names a device.
void UseStreamOf(at::Device device);

// The same on the executor's thread, of all GPUs that JavaScript has named.
void UseNamedStreams();

// Waits for all that the environment has asked of a GPU. False where this addon knows no streams.
bool WaitForStreams(at::Device device);

// While a graph is captured, what is computed on the spot and does not belong to it stands aside,
// on another stream: it waits for all that was asked for before `ForkStreams`, and what comes after
// `JoinStreams` waits for it. Both on JavaScript's thread, as `StandAside`, which says on which of
// the two the thread is.
void ForkStreams();
void JoinStreams();
void StandAside(bool aside);

}  // namespace lopt
