// The exceptions that native code throws on purpose. Knows nothing of JavaScript: guard.h turns
// them into its errors.
#pragma once

#include <stdexcept>
#include <string>

namespace lopt {

// A failure with a code from the closed list in lib/errors.ts.
class Failure : public std::runtime_error {
 public:
  Failure(const char* code, const std::string& message)
      : std::runtime_error(message), code_(code) {}
  const char* code() const { return code_; }

 private:
  const char* code_;
};

// A caller's mistakes: a value of the wrong kind, a value out of range.
class TypeMistake : public std::runtime_error {
  using std::runtime_error::runtime_error;
};
class RangeMistake : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace lopt
