// JavaScript values <-> TorchScript's, as a method's schema asks for them.
#include "script_value.h"

#include "convert.h"
#include "failure.h"

namespace lopt {
namespace {

c10::IValue ValueFrom(const Napi::Value& value, const c10::TypePtr& type) {
  switch (type->kind()) {
    case c10::TypeKind::TensorType:
      return FromJs<at::Tensor>::Get(value);
    case c10::TypeKind::FloatType:
      return FromJs<double>::Get(value);
    case c10::TypeKind::IntType:
      return FromJs<int64_t>::Get(value);
    case c10::TypeKind::BoolType:
      return FromJs<bool>::Get(value);
    case c10::TypeKind::StringType:
      return FromJs<std::string>::Get(value);
    case c10::TypeKind::NumberType:
      return FromJs<at::Scalar>::Get(value);
    case c10::TypeKind::DeviceObjType:
      return FromJs<at::Device>::Get(value);
    case c10::TypeKind::OptionalType:
      if (value.IsNull() || value.IsUndefined()) return {};
      return ValueFrom(value, type->expectRef<c10::OptionalType>().getElementType());
    case c10::TypeKind::NoneType:
      if (value.IsNull() || value.IsUndefined()) return {};
      throw TypeMistake("Expected null but received " + KindOf(value));
    case c10::TypeKind::ListType: {
      if (!value.IsArray()) throw TypeMistake("Expected an array but received " + KindOf(value));
      const auto array = value.As<Napi::Array>();
      CheckItems(array);
      const auto element = type->expectRef<c10::ListType>().getElementType();
      c10::impl::GenericList list(element);
      list.reserve(array.Length());
      for (uint32_t i = 0; i < array.Length(); ++i)
        list.push_back(ValueFrom(array.Get(i), element));
      return list;
    }
    case c10::TypeKind::TupleType: {
      const auto elements = type->expectRef<c10::TupleType>().elements();
      if (!value.IsArray() || value.As<Napi::Array>().Length() != elements.size())
        throw TypeMistake("Expected an array of " + std::to_string(elements.size()) + " values");
      std::vector<c10::IValue> items;
      for (uint32_t i = 0; i < elements.size(); ++i)
        items.push_back(ValueFrom(value.As<Napi::Array>().Get(i), elements[i]));
      return c10::ivalue::Tuple::create(std::move(items));
    }
    case c10::TypeKind::DictType: {
      const auto& dict_type = type->expectRef<c10::DictType>();
      if (dict_type.getKeyType()->kind() != c10::TypeKind::StringType || !value.IsObject() ||
          value.IsArray())
        throw TypeMistake("Expected an object for " + type->annotation_str());
      const auto object = value.As<Napi::Object>();
      const auto names = object.GetPropertyNames();
      c10::impl::GenericDict dict(dict_type.getKeyType(), dict_type.getValueType());
      for (uint32_t i = 0; i < names.Length(); ++i) {
        const Napi::Value name = names.Get(i);
        dict.insert(name.ToString().Utf8Value(),
                    ValueFrom(object.Get(name), dict_type.getValueType()));
      }
      return dict;
    }
    default:
      throw Failure("ERR_UNSUPPORTED",
                    "No JavaScript value becomes TorchScript's " + type->annotation_str());
  }
}

}  // namespace

std::vector<c10::IValue> ArgumentsFrom(const Napi::Array& values,
                                       const c10::FunctionSchema& schema) {
  const auto& parameters = schema.arguments();
  if (values.Length() > parameters.size() - 1)  // less `self`
    throw TypeMistake("Expected at most " + std::to_string(parameters.size() - 1) +
                      " arguments but received " + std::to_string(values.Length()));
  std::vector<c10::IValue> arguments;
  arguments.reserve(parameters.size() - 1);
  for (size_t i = 1; i < parameters.size(); ++i) {  // 0 is `self`
    const auto& parameter = parameters[i];
    const Napi::Value value = values.Get(static_cast<uint32_t>(i - 1));
    if (value.IsUndefined() && parameter.default_value()) {
      arguments.push_back(*parameter.default_value());
      continue;
    }
    try {
      arguments.push_back(ValueFrom(value, parameter.type()));
    } catch (const TypeMistake& mistake) {
      throw TypeMistake(parameter.name() + ": " + mistake.what());
    }
  }
  return arguments;
}

Napi::Value ToJs(Napi::Env env, const c10::IValue& value) {
  if (value.isNone()) return env.Null();
  if (value.isTensor()) return ToJs(env, value.toTensor());
  if (value.isDouble()) return ToJs(env, value.toDouble());
  if (value.isInt()) return ToJs(env, value.toInt());
  if (value.isBool()) return ToJs(env, value.toBool());
  if (value.isString()) return ToJs(env, value.toStringRef());
  if (value.isDevice()) return ToJs(env, value.toDevice().str());
  auto items = [env](const auto& list) -> Napi::Value {
    auto array = Napi::Array::New(env, list.size());
    uint32_t i = 0;
    for (auto&& item : list) array.Set(i++, ToJs(env, c10::IValue(item)));
    return array;
  };
  if (value.isTuple()) return items(value.toTupleRef().elements());
  if (value.isList()) return items(value.toList());
  if (value.isGenericDict()) {
    auto object = Napi::Object::New(env);
    for (const auto& entry : value.toGenericDict()) {
      if (!entry.key().isString()) break;
      object.Set(entry.key().toStringRef(), ToJs(env, entry.value()));
    }
    if (object.GetPropertyNames().Length() == value.toGenericDict().size()) return object;
  }
  throw Failure("ERR_UNSUPPORTED",
                "No JavaScript value holds TorchScript's " + value.type()->annotation_str());
}

}  // namespace lopt
