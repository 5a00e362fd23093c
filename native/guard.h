// The one place where a C++ exception becomes a JavaScript error.
#pragma once

#include <c10/util/Exception.h>
#include <napi.h>

#include <exception>
#include <new>
#include <string>

#include "blame.h"
#include "env_data.h"
#include "failure.h"

namespace lopt {

inline std::string WithoutBacktrace(std::string what) {
  // The interpreter passes a c10::Error's text on with the C++ stack in it.
  if (auto at = what.find("\nException raised from "); at != std::string::npos) what.resize(at);
  while (!what.empty() && what.back() == '\n') what.pop_back();
  return what;
}

inline std::string MessageOf(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  return torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
}

inline bool IsOutOfMemory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return true;
  // Failed allocations that are reported as plain errors: the CPU allocator's, those of CUDA itself
  // (a graph that is made ready to be launched, among others), and a cuBLAS handle's.
  const std::string what = MessageOf(error);
  for (const char* sign :
       {"DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED"})
    if (what.find(sign) != std::string::npos) return true;
  return false;
}

// A fault of libtorch's own or of a device: not laid to the caller, whatever op met it.
inline bool IsTorchFault(const std::string& what) {
  for (const char* sign : {"INTERNAL ASSERT FAILED", "CUDA error", "CUDA driver error",
                           "cuDNN error", "CUDNN_STATUS_", "CUBLAS_STATUS_", "MPS backend"})
    if (what.find(sign) != std::string::npos) return true;
  return false;
}

inline Napi::Error MakeFailure(Napi::Env env, const char* code, const std::string& message) {
  auto& error_class = EnvData::Of(env).error_class;
  if (error_class.IsEmpty()) return Napi::Error::New(env, std::string(code) + ": " + message);
  auto value = error_class.New({Napi::String::New(env, code), Napi::String::New(env, message)});
  return Napi::Error(env, value);
}

// `where` stands before libtorch's own message: the op with its operands, a file, a method.
inline Napi::Error ToJsError(Napi::Env env, std::exception_ptr exception, Blame blame,
                             const std::string& where = "") {
  const std::string prefix = where.empty() ? "" : where + ": ";
  try {
    std::rethrow_exception(exception);
  } catch (const Napi::Error& error) {
    return error;
  } catch (const Failure& failure) {
    return MakeFailure(env, failure.code(), failure.what());
  } catch (const TypeMistake& mistake) {
    return Napi::TypeError::New(env, prefix + mistake.what());
  } catch (const RangeMistake& mistake) {
    return Napi::RangeError::New(env, prefix + mistake.what());
  } catch (const std::bad_alloc&) {
    return MakeFailure(env, "ERR_OUT_OF_MEMORY", prefix + "no memory left");
  } catch (const c10::NotImplementedError& error) {
    return MakeFailure(env, "ERR_UNSUPPORTED",
                       prefix + WithoutBacktrace(error.what_without_backtrace()));
  } catch (const c10::AcceleratorError& error) {
    return MakeFailure(env, IsOutOfMemory(error) ? "ERR_OUT_OF_MEMORY" : "ERR_TORCH",
                       prefix + WithoutBacktrace(error.what_without_backtrace()));
  } catch (const c10::LinAlgError& error) {
    return MakeFailure(env, "ERR_TORCH", prefix + WithoutBacktrace(error.what_without_backtrace()));
  } catch (const c10::Error& error) {
    const std::string what = WithoutBacktrace(error.what_without_backtrace());
    if (IsOutOfMemory(error)) return MakeFailure(env, "ERR_OUT_OF_MEMORY", prefix + what);
    if (blame == Blame::kCaller && !IsTorchFault(what))
      return Napi::RangeError::New(env, prefix + what);
    return MakeFailure(env, "ERR_TORCH", prefix + what);
  } catch (const std::runtime_error& error) {
    // What c10 throws for a number that a dtype does not hold, and what a module throws.
    if (blame == Blame::kCaller) return Napi::RangeError::New(env, prefix + error.what());
    return MakeFailure(env, "ERR_TORCH", prefix + WithoutBacktrace(error.what()));
  } catch (const std::exception& error) {
    return MakeFailure(env, "ERR_TORCH", prefix + WithoutBacktrace(error.what()));
  } catch (...) {
    return MakeFailure(env, "ERR_TORCH", prefix + "an exception that is no std::exception");
  }
}

// A callback whose C++ exceptions become JavaScript ones: `Guard<Shape>` for `Value Shape(info)`.
template <Napi::Value (*Callback)(const Napi::CallbackInfo&)>
Napi::Value Guard(const Napi::CallbackInfo& info) {
  try {
    return Callback(info);
  } catch (...) {
    throw ToJsError(info.Env(), std::current_exception(), Blame::kCaller);
  }
}

// Puts a guarded callback under its name into the export table.
template <Napi::Value (*Callback)(const Napi::CallbackInfo&)>
void Define(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<Guard<Callback>>(env, name));
}

}  // namespace lopt
