// libtorch's own threads.
#pragma once

#include <c10/util/FunctionRef.h>

#include <cstdint>

namespace lopt {

// Calls `function` with ranges from `begin` to `end` that cover 0..count, each of so many at least
// but the last, on several threads where there are more.
void ParallelFor(int64_t count, int64_t least,
                 c10::function_ref<void(int64_t begin, int64_t end)> function);

}  // namespace lopt
