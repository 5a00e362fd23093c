// Whom libtorch's refusal of an operation is laid to.
#pragma once

namespace lopt {

enum class Blame {
  kCaller,  // an op refused its arguments: RangeError
  kTorch,   // what ran inside failed, such as a module's source: ERR_TORCH
};

}  // namespace lopt
