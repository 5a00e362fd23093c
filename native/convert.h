// JavaScript values <-> shapes, dtypes, devices, scalars, tensors, typed arrays. One specialisation
// a type: `FromJs<T>::Get` throws TypeMistake or RangeMistake, `ToJs` makes a value.
#pragma once

#include <ATen/ATen.h>
#include <napi.h>

#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "failure.h"
#include "tensor.h"

namespace lopt {

using Dims = std::vector<int64_t>;

// Lists are of shapes, operands or parameters: a longer one is a mistake, and would be allocated
// before its first element is looked at.
constexpr uint32_t kMostItems = 1'000'000;

// Throws RangeMistake for an array of more than kMostItems.
void CheckItems(const Napi::Array& array);

// A tensor, or a number that takes part in type promotion as a Python number does in PyTorch.
struct Operand {
  at::Tensor tensor;
};

// Where a file lies. A NUL in it, at which the system would stop reading, is refused.
struct Path {
  std::string text;
};

at::ScalarType DtypeFromName(const std::string& name);
const char* DtypeName(at::ScalarType dtype);
// "a number", "a string", "undefined": what a value is, for messages.
std::string KindOf(const Napi::Value& value);
std::string ShapeText(at::IntArrayRef shape);

// Throws RangeMistake for more bytes than one typed array holds, which V8 would end the process
// for.
void CheckArraySize(uint64_t bytes);

// The elements in row-major order on the CPU, in the dtype that they travel in (16- and 8-bit
// floats as float32, bool as uint8), on a storage that nothing else changes. `non_blocking`: on its
// way there, once what the device's stream holds so far is done.
at::Tensor ToTravel(const at::Tensor& tensor, bool non_blocking = false);
// Copies what ToTravel gave into a new typed array.
Napi::Value TypedArrayFrom(Napi::Env env, const at::Tensor& travelling);
// For a CUDA device the bytes go through pinned memory, so that the copy waits for no earlier work.
at::Tensor TensorFromTypedArray(const Napi::Value& data, const Dims& shape, at::ScalarType dtype,
                                at::Device device);

template <class T>
struct FromJs;

template <>
struct FromJs<bool> {
  static bool Get(const Napi::Value& value);
};
template <>
struct FromJs<double> {
  static double Get(const Napi::Value& value);
};
template <>
struct FromJs<int64_t> {
  static int64_t Get(const Napi::Value& value);
};
template <>
struct FromJs<std::string> {
  static std::string Get(const Napi::Value& value);
};
template <>
struct FromJs<Path> {
  static Path Get(const Napi::Value& value);
};
template <>
struct FromJs<at::Scalar> {
  static at::Scalar Get(const Napi::Value& value);
};
template <>
struct FromJs<at::ScalarType> {
  static at::ScalarType Get(const Napi::Value& value);
};
template <>
struct FromJs<at::Device> {
  static at::Device Get(const Napi::Value& value);
};
template <>
struct FromJs<at::Tensor> {
  static at::Tensor Get(const Napi::Value& value) { return UnwrapTensor(value); }
};
template <>
struct FromJs<Operand> {
  static Operand Get(const Napi::Value& value);
};
template <class T>
struct FromJs<std::optional<T>> {
  static std::optional<T> Get(const Napi::Value& value) {
    if (value.IsNull() || value.IsUndefined()) return std::nullopt;
    return FromJs<T>::Get(value);
  }
};
template <class T>
struct FromJs<std::vector<T>> {
  static std::vector<T> Get(const Napi::Value& value) {
    if (!value.IsArray()) throw TypeMistake("Expected an array but received " + KindOf(value));
    const auto array = value.As<Napi::Array>();
    CheckItems(array);
    std::vector<T> items;
    items.reserve(array.Length());
    for (uint32_t i = 0; i < array.Length(); ++i) {
      Napi::HandleScope scope(array.Env());
      items.push_back(FromJs<T>::Get(array.Get(i)));
    }
    return items;
  }
};

// A property that must be there.
template <class T>
T Property(const Napi::Object& object, const Napi::Value& name) {
  const Napi::Value value = object.Get(name);
  try {
    return FromJs<T>::Get(value);
  } catch (const TypeMistake& mistake) {
    throw TypeMistake(name.ToString().Utf8Value() + ": " + mistake.what());
  }
}
template <class T>
T Property(const Napi::Object& object, const char* name) {
  return Property<T>(object, Napi::String::New(object.Env(), name));
}

inline Napi::Value ToJs(Napi::Env env, at::Tensor tensor) {
  return WrapTensor(env, std::move(tensor));
}
inline Napi::Value ToJs(Napi::Env env, bool value) { return Napi::Boolean::New(env, value); }
inline Napi::Value ToJs(Napi::Env env, double value) { return Napi::Number::New(env, value); }
inline Napi::Value ToJs(Napi::Env env, int64_t value) {
  return Napi::Number::New(env, static_cast<double>(value));
}
inline Napi::Value ToJs(Napi::Env env, const std::string& value) {
  return Napi::String::New(env, value);
}
template <class T>
Napi::Value ToJs(Napi::Env env, std::optional<T> value) {
  return value ? ToJs(env, std::move(*value)) : env.Null();
}
template <class T>
Napi::Value ToJs(Napi::Env env, std::vector<T> items) {
  auto array = Napi::Array::New(env, items.size());
  for (size_t i = 0; i < items.size(); ++i)
    array.Set(static_cast<uint32_t>(i), ToJs(env, std::move(items[i])));
  return array;
}
template <class... T>
Napi::Value ToJs(Napi::Env env, std::tuple<T...> items) {
  auto array = Napi::Array::New(env, sizeof...(T));
  std::apply(
      [&](auto&... item) {
        uint32_t i = 0;
        (array.Set(i++, ToJs(env, std::move(item))), ...);
      },
      items);
  return array;
}

}  // namespace lopt
