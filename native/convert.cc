// JavaScript values <-> what libtorch takes: names of dtypes, checks, typed arrays.
#include "convert.h"

#include "streams.h"

#include <ATen/ScalarOps.h>

#include <array>
#include <cmath>
#include <cstring>
#include <optional>

namespace lopt {
namespace {

struct NamedDtype {
  const char* name;
  at::ScalarType dtype;
};

constexpr std::array kDtypes = {
    NamedDtype{"float64", at::kDouble},
    NamedDtype{"float32", at::kFloat},
    NamedDtype{"float16", at::kHalf},
    NamedDtype{"bfloat16", at::kBFloat16},
    NamedDtype{"float8_e4m3fn", at::ScalarType::Float8_e4m3fn},
    NamedDtype{"float8_e5m2", at::ScalarType::Float8_e5m2},
    NamedDtype{"int64", at::kLong},
    NamedDtype{"int32", at::kInt},
    NamedDtype{"int16", at::kShort},
    NamedDtype{"int8", at::kChar},
    NamedDtype{"uint64", at::ScalarType::UInt64},
    NamedDtype{"uint32", at::ScalarType::UInt32},
    NamedDtype{"uint16", at::ScalarType::UInt16},
    NamedDtype{"uint8", at::kByte},
    NamedDtype{"bool", at::kBool},
};

constexpr double kMaxSafeInteger = 9007199254740991.0;  // 2^53 - 1: JavaScript's exact integers

[[noreturn]] void Unexpected(const std::string& expected, const Napi::Value& value) {
  std::string received = KindOf(value);
  if (value.IsNumber()) received = value.ToString().Utf8Value();
  throw TypeMistake("Expected " + expected + " but received " + received);
}

at::ScalarType TravelType(at::ScalarType dtype) {
  switch (dtype) {
    case at::kHalf:
    case at::kBFloat16:
    case at::ScalarType::Float8_e4m3fn:
    case at::ScalarType::Float8_e5m2:
      return at::kFloat;
    case at::kBool:
      return at::kByte;
    default:
      return dtype;
  }
}

at::ScalarType TypeOf(napi_typedarray_type type) {
  switch (type) {
    case napi_float64_array:
      return at::kDouble;
    case napi_float32_array:
      return at::kFloat;
    case napi_bigint64_array:
      return at::kLong;
    case napi_int32_array:
      return at::kInt;
    case napi_int16_array:
      return at::kShort;
    case napi_int8_array:
      return at::kChar;
    case napi_biguint64_array:
      return at::ScalarType::UInt64;
    case napi_uint32_array:
      return at::ScalarType::UInt32;
    case napi_uint16_array:
      return at::ScalarType::UInt16;
    case napi_uint8_array:
    case napi_uint8_clamped_array:
      return at::kByte;
    default:
      throw TypeMistake("Expected a typed array of a type that tensors have");
  }
}

// An array on shared memory has bytes as any other: they are asked of the view, not of its buffer.
const void* BytesOf(const Napi::TypedArray& array) {
  void* bytes = nullptr;
  if (napi_get_typedarray_info(array.Env(), array, nullptr, nullptr, &bytes, nullptr, nullptr) !=
      napi_ok)
    throw TypeMistake("Expected a typed array");
  return bytes;
}

}  // namespace

void CheckItems(const Napi::Array& array) {
  if (array.Length() > kMostItems)
    throw RangeMistake("Expected at most " + std::to_string(kMostItems) + " items");
}

at::ScalarType DtypeFromName(const std::string& name) {
  for (const auto& named : kDtypes)
    if (name == named.name) return named.dtype;
  std::string known;
  for (const auto& named : kDtypes) known += std::string(known.empty() ? "" : ", ") + named.name;
  throw TypeMistake("Expected dtype to be one of " + known + " but received " + name);
}

const char* DtypeName(at::ScalarType dtype) {
  for (const auto& named : kDtypes)
    if (dtype == named.dtype) return named.name;
  return c10::toString(dtype);
}

std::string KindOf(const Napi::Value& value) {
  switch (value.Type()) {
    case napi_undefined:
      return "undefined";
    case napi_null:
      return "null";
    case napi_boolean:
      return "a boolean";
    case napi_number:
      return "a number";
    case napi_string:
      return "a string";
    case napi_symbol:
      return "a symbol";
    case napi_function:
      return "a function";
    case napi_bigint:
      return "a bigint";
    case napi_external:
      return "a native handle";
    default:
      return value.IsArray() ? "an array" : "an object";
  }
}

std::string ShapeText(at::IntArrayRef shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

bool FromJs<bool>::Get(const Napi::Value& value) {
  if (!value.IsBoolean()) Unexpected("a boolean", value);
  return value.As<Napi::Boolean>().Value();
}

double FromJs<double>::Get(const Napi::Value& value) {
  if (!value.IsNumber()) Unexpected("a number", value);
  return value.As<Napi::Number>().DoubleValue();
}

int64_t FromJs<int64_t>::Get(const Napi::Value& value) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!(std::trunc(number) == number) || std::abs(number) > kMaxSafeInteger)
    Unexpected("an integer", value);
  return static_cast<int64_t>(number);
}

std::string FromJs<std::string>::Get(const Napi::Value& value) {
  if (!value.IsString()) Unexpected("a string", value);
  return value.As<Napi::String>().Utf8Value();
}

Path FromJs<Path>::Get(const Napi::Value& value) {
  std::string text = FromJs<std::string>::Get(value);
  if (text.find('\0') != std::string::npos)
    throw TypeMistake("Expected a path without NUL characters");
  return {std::move(text)};
}

at::Scalar FromJs<at::Scalar>::Get(const Napi::Value& value) {
  if (value.IsBoolean()) return at::Scalar(value.As<Napi::Boolean>().Value());
  if (!value.IsNumber()) Unexpected("a number", value);
  const double number = value.As<Napi::Number>().DoubleValue();
  // An integral number promotes as Python's int does, any other as its float.
  const bool is_negative_zero = number == 0 && std::signbit(number);
  if (std::trunc(number) == number && std::abs(number) <= kMaxSafeInteger && !is_negative_zero)
    return at::Scalar(static_cast<int64_t>(number));
  return at::Scalar(number);
}

at::ScalarType FromJs<at::ScalarType>::Get(const Napi::Value& value) {
  return DtypeFromName(FromJs<std::string>::Get(value));
}

at::Device FromJs<at::Device>::Get(const Napi::Value& value) {
  const std::string text = FromJs<std::string>::Get(value);
  std::optional<at::Device> device;
  try {
    device.emplace(text);
  } catch (const c10::Error&) {
    throw RangeMistake("Expected a device such as cpu, cuda:0 or mps but received " + text);
  }
  UseStreamOf(*device);
  return *device;
}

Operand FromJs<Operand>::Get(const Napi::Value& value) {
  if (!value.IsNumber() && !value.IsBoolean()) return {UnwrapTensor(value)};
  at::Tensor tensor = c10::scalar_to_tensor(FromJs<at::Scalar>::Get(value));
  tensor.unsafeGetTensorImpl()->set_wrapped_number(true);
  return {tensor};
}

void CheckArraySize(uint64_t bytes) {
  constexpr uint64_t kMost = 0xffffffff;
  if (bytes > kMost)
    throw RangeMistake(std::to_string(bytes) +
                       " bytes are more than a typed array holds (4 GiB): read them in parts");
}

at::Tensor ToTravel(const at::Tensor& tensor, bool non_blocking) {
  if (tensor.is_meta()) throw RangeMistake("A tensor on the meta device has no elements to read");
  const at::ScalarType type = TravelType(tensor.scalar_type());
  at::Tensor plain = tensor.detach();
  // What has not arrived cannot be converted.
  if (non_blocking) plain = plain.to(type).contiguous();
  at::Tensor travelling = plain.to(at::kCPU, type, non_blocking).contiguous();
  return travelling.is_alias_of(tensor) ? travelling.clone() : travelling;
}

Napi::Value TypedArrayFrom(Napi::Env env, const at::Tensor& travelling) {
  const size_t count = travelling.numel();
  CheckArraySize(travelling.nbytes());
  auto buffer = Napi::ArrayBuffer::New(env, travelling.nbytes());
  if (count > 0) std::memcpy(buffer.Data(), travelling.const_data_ptr(), travelling.nbytes());
  switch (travelling.scalar_type()) {
    case at::kDouble:
      return Napi::Float64Array::New(env, count, buffer, 0);
    case at::kFloat:
      return Napi::Float32Array::New(env, count, buffer, 0);
    case at::kLong:
      return Napi::BigInt64Array::New(env, count, buffer, 0);
    case at::kInt:
      return Napi::Int32Array::New(env, count, buffer, 0);
    case at::kShort:
      return Napi::Int16Array::New(env, count, buffer, 0);
    case at::kChar:
      return Napi::Int8Array::New(env, count, buffer, 0);
    case at::ScalarType::UInt64:
      return Napi::BigUint64Array::New(env, count, buffer, 0);
    case at::ScalarType::UInt32:
      return Napi::Uint32Array::New(env, count, buffer, 0);
    case at::ScalarType::UInt16:
      return Napi::Uint16Array::New(env, count, buffer, 0);
    case at::kByte:
      return Napi::Uint8Array::New(env, count, buffer, 0);
    default:
      throw Failure("ERR_UNSUPPORTED", std::string("No typed array holds elements of type ") +
                                           c10::toString(travelling.scalar_type()));
  }
}

at::Tensor TensorFromTypedArray(const Napi::Value& data, const Dims& shape, at::ScalarType dtype,
                                at::Device device) {
  if (!data.IsTypedArray()) Unexpected("a typed array", data);
  const auto array = data.As<Napi::TypedArray>();
  uint64_t count = 1;
  for (const int64_t size : shape) {
    if (size < 0)
      throw RangeMistake("Expected sizes of 0 or more but received " + ShapeText(shape));
    if (__builtin_mul_overflow(count, static_cast<uint64_t>(size), &count))
      throw RangeMistake("The shape " + ShapeText(shape) + " overflows");
  }
  if (count != array.ElementLength())
    throw RangeMistake("The shape " + ShapeText(shape) + " asks for " + std::to_string(count) +
                       " elements but the data has " + std::to_string(array.ElementLength()));
  const bool pinned = device.is_cuda();
  at::Tensor tensor = at::empty(
      shape, at::TensorOptions().dtype(TypeOf(array.TypedArrayType())).pinned_memory(pinned));
  if (count > 0) std::memcpy(tensor.mutable_data_ptr(), BytesOf(array), array.ByteLength());
  return tensor.to(device, dtype, /*non_blocking=*/pinned);
}

}  // namespace lopt
