// The stream of a GPU that everything runs on: the same for jobs and for ops on the spot, and not
// the default one, which no graph can be captured from. On other devices nothing.
#pragma once

#include <c10/core/Device.h>

namespace lopt {

// Makes a GPU's stream the calling thread's. Called wherever JavaScript names a device.
void UseStreamOf(at::Device device);

// The same on the executor's thread, of all GPUs that JavaScript has named.
void UseNamedStreams();

// While a graph is captured, what is computed on the spot and does not belong to it stands aside,
// on another stream: it waits for all that was asked for before `ForkStreams`, and what comes after
// `JoinStreams` waits for it. Both on JavaScript's thread, as `StandAside`, which says on which of
// the two the thread is.
void ForkStreams();
void JoinStreams();
void StandAside(bool aside);

}  // namespace lopt
