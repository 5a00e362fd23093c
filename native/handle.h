// Opaque JavaScript handles that own a C++ value. A handle is type-tagged, so that a foreign object
// is refused, never misread; what is inside can be dropped before the collector comes by.
#pragma once

#include <napi.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "failure.h"

namespace lopt {

// Specialised for each kind: `kTag`, unique in the process, and `kName` for messages.
template <class T>
struct HandleKind;

template <class T>
class Handle {
 public:
  static Napi::Value New(Napi::Env env, T value) {
    auto box = std::make_unique<std::optional<T>>(std::move(value));
    auto handle = Napi::External<std::optional<T>>::New(
        env, box.get(), [](Napi::BasicEnv, std::optional<T>* held) {
          std::unique_ptr<std::optional<T>> owner(held);
        });
    box.release();  // the finalizer owns it from here on
    handle.TypeTag(&HandleKind<T>::kTag);
    return handle;
  }

  // The box inside `value`, which may have been emptied. Throws TypeMistake for anything else.
  static std::optional<T>& Box(const Napi::Value& value) {
    if (!value.IsExternal()) throw TypeMistake(Expected());
    auto handle = value.As<Napi::External<std::optional<T>>>();
    if (!handle.CheckTypeTag(&HandleKind<T>::kTag)) throw TypeMistake(Expected());
    return *handle.Data();
  }

  static T& Get(const Napi::Value& value) {
    auto& box = Box(value);
    if (!box)
      throw Failure("ERR_DISPOSED", std::string(HandleKind<T>::kName) + " was disposed of before");
    return *box;
  }

  static void Dispose(const Napi::Value& value) { Box(value).reset(); }

 private:
  static std::string Expected() { return std::string("Expected ").append(HandleKind<T>::kName); }
};

}  // namespace lopt
