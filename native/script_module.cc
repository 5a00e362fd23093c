// TorchScript modules: compiled from a description, called, converted, saved, loaded. Knows no
// model.
#include "script_module.h"

#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/frontend/sugared_value.h>
#include <torch/csrc/jit/serialization/export.h>
#include <torch/csrc/jit/serialization/import.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "convert.h"
#include "env_data.h"
#include "guard.h"
#include "script_value.h"

namespace lopt {
namespace {

using torch::jit::Module;

// A module to compile, as JavaScript described it.
struct ModuleSpec {
  struct Attribute {
    std::string name;
    c10::TypePtr type;
    c10::IValue value;
  };
  std::string name;
  std::string source;
  std::vector<std::pair<std::string, at::Tensor>> parameters;
  std::vector<std::pair<std::string, at::Tensor>> buffers;
  std::vector<Attribute> attributes;
  std::vector<std::pair<std::string, ModuleSpec>> modules;
};

// The compiler and the unpickler keep process-wide tables; environments take turns.
std::mutex& CompilerMutex() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace

// A pair [name, value].
template <class T>
struct FromJs<std::pair<std::string, T>> {
  static std::pair<std::string, T> Get(const Napi::Value& value) {
    if (!value.IsArray()) throw TypeMistake("Expected a [name, value] pair");
    const auto pair = value.As<Napi::Array>();
    return {FromJs<std::string>::Get(pair.Get(0u)), FromJs<T>::Get(pair.Get(1u))};
  }
};

template <>
struct FromJs<ModuleSpec::Attribute> {
  static ModuleSpec::Attribute Get(const Napi::Value& value) {
    if (!value.IsArray()) throw TypeMistake("Expected a [name, type, value] triple");
    const auto triple = value.As<Napi::Array>();
    const auto name = FromJs<std::string>::Get(triple.Get(0u));
    const auto type = FromJs<std::string>::Get(triple.Get(1u));
    const Napi::Value held = triple.Get(2u);
    if (type == "int") return {name, c10::IntType::get(), FromJs<int64_t>::Get(held)};
    if (type == "float") return {name, c10::FloatType::get(), FromJs<double>::Get(held)};
    if (type == "bool") return {name, c10::BoolType::get(), FromJs<bool>::Get(held)};
    if (type == "str") return {name, c10::StringType::get(), FromJs<std::string>::Get(held)};
    throw TypeMistake("Expected the type int, float, bool or str but received " + type);
  }
};

namespace {

// Deeper than any model: a description that holds itself must not use up the stack.
constexpr int kDeepestSpec = 64;

ModuleSpec SpecFrom(const Napi::Value& value, int depth);

std::vector<std::pair<std::string, ModuleSpec>> ChildrenFrom(const Napi::Value& value, int depth) {
  if (depth > kDeepestSpec)
    throw RangeMistake("Modules are nested deeper than " + std::to_string(kDeepestSpec));
  if (!value.IsArray()) throw TypeMistake("modules: Expected an array");
  const auto array = value.As<Napi::Array>();
  std::vector<std::pair<std::string, ModuleSpec>> children;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    if (!array.Get(i).IsArray()) throw TypeMistake("modules: Expected [name, module] pairs");
    const auto pair = array.Get(i).As<Napi::Array>();
    children.emplace_back(FromJs<std::string>::Get(pair.Get(0u)), SpecFrom(pair.Get(1u), depth));
  }
  return children;
}

ModuleSpec SpecFrom(const Napi::Value& value, int depth) {
  if (!value.IsObject()) throw TypeMistake("Expected a module's description");
  const auto spec = value.As<Napi::Object>();
  return {Property<std::string>(spec, "name"),
          Property<std::string>(spec, "source"),
          Property<std::vector<std::pair<std::string, at::Tensor>>>(spec, "parameters"),
          Property<std::vector<std::pair<std::string, at::Tensor>>>(spec, "buffers"),
          Property<std::vector<ModuleSpec::Attribute>>(spec, "attributes"),
          ChildrenFrom(spec.Get("modules"), depth + 1)};
}

// `torch.addmm` is libtorch's, `lopt.int8_linear` this addon's.
struct Names : torch::jit::NativeResolver {
  std::shared_ptr<torch::jit::SugaredValue> resolveValue(
      const std::string& name, torch::jit::GraphFunction& function,
      const torch::jit::SourceRange& where) override {
    if (name == "lopt") return std::make_shared<torch::jit::BuiltinModule>("lopt");
    return NativeResolver::resolveValue(name, function, where);
  }
};

// Modules from their descriptions. Those that differ in values alone, as a model's layers do, are
// of one class, which is compiled once.
class Builder {
 public:
  // Children first: a parent's source may call their methods.
  Module Build(const ModuleSpec& spec) {
    Children children;
    for (const auto& [name, child] : spec.modules) children.emplace_back(name, Build(child));
    const std::string key = ClassOf(spec, children);
    const auto found = known_.find(key);
    if (found != known_.end()) return Instance(found->second, spec, children);
    Module module = Compiled(spec, children);
    known_.emplace(key, module);
    return module;
  }

 private:
  using Children = std::vector<std::pair<std::string, Module>>;

  // All that a class is made of.
  static std::string ClassOf(const ModuleSpec& spec, const Children& children) {
    std::ostringstream key;
    key << spec.name << '\0' << spec.source;
    for (const auto& [name, tensor] : spec.parameters) key << '\0' << 'p' << name;
    for (const auto& [name, tensor] : spec.buffers) key << '\0' << 'b' << name;
    for (const auto& attribute : spec.attributes)
      key << '\0' << 'a' << attribute.name << '\0' << attribute.type->str();
    for (const auto& [name, child] : children)
      key << '\0' << 'm' << name << '\0' << child.type().get();
    return key.str();
  }

  static Module Compiled(const ModuleSpec& spec, const Children& children) {
    Module module(spec.name);
    for (const auto& [name, child] : children) module.register_module(name, child);
    for (const auto& [name, tensor] : spec.parameters)
      module.register_parameter(name, tensor, /*is_buffer=*/false);
    for (const auto& [name, tensor] : spec.buffers) module.register_buffer(name, tensor);
    for (const auto& attribute : spec.attributes)
      module.register_attribute(attribute.name, attribute.type, attribute.value);
    if (!spec.source.empty()) module.define(spec.source, std::make_shared<Names>());
    return module;
  }

  static Module Instance(const Module& other, const ModuleSpec& spec, const Children& children) {
    Module module(other._ivalue()->compilation_unit(), other.type());
    for (const auto& [name, child] : children) module.setattr(name, child._ivalue());
    for (const auto& [name, tensor] : spec.parameters) module.setattr(name, tensor);
    for (const auto& [name, tensor] : spec.buffers) module.setattr(name, tensor);
    for (const auto& attribute : spec.attributes) module.setattr(attribute.name, attribute.value);
    return module;
  }

  std::unordered_map<std::string, Module> known_;
};

const Module& Self(const Napi::CallbackInfo& info) { return Handle<Module>::Get(info[0]); }

Executor& ExecutorOf(const Napi::CallbackInfo& info) { return *EnvData::Of(info.Env()).executor; }

Napi::Value Compile(const Napi::CallbackInfo& info) {
  auto spec = SpecFrom(info[0], 1);
  std::string where = "compiling " + spec.name;
  return ExecutorOf(info).Submit(
      info.Env(), Blame::kTorch, std::move(where),
      [spec = std::move(spec)] {
        std::lock_guard lock(CompilerMutex());
        return Builder().Build(spec);
      },
      [](Napi::Env env, Module module) { return Handle<Module>::New(env, std::move(module)); });
}

// info[3]: of a method that returns a tuple, only its first value is wanted.
Napi::Value Call(const Napi::CallbackInfo& info) {
  const Module& module = Self(info);
  const auto name = FromJs<std::string>::Get(info[1]);
  const auto method = module.find_method(name);
  if (!method) throw RangeMistake("The module has no method " + name);
  if (!info[2].IsArray()) throw TypeMistake("Expected an array of arguments");
  auto where = module.type()->name()->name() + "." + name;
  std::vector<c10::IValue> arguments;
  try {
    arguments = ArgumentsFrom(info[2].As<Napi::Array>(), method->function().getSchema());
  } catch (...) {
    throw ToJsError(info.Env(), std::current_exception(), Blame::kCaller, where);
  }
  const bool is_first_wanted = FromJs<bool>::Get(info[3]);
  return ExecutorOf(info).Submit(
      info.Env(), Blame::kTorch, std::move(where),
      [method = *method, arguments = std::move(arguments), is_first_wanted]() mutable {
        c10::IValue result = method(std::move(arguments));
        if (!is_first_wanted) return result;
        TORCH_CHECK(result.isTuple(), "Expected a tuple, whose first value is wanted");
        return result.toTupleRef().elements().at(0);
      },
      [](Napi::Env env, c10::IValue result) { return ToJs(env, result); });
}

Napi::Value Methods(const Napi::CallbackInfo& info) {
  const auto methods = Self(info).get_methods();
  auto array = Napi::Array::New(info.Env(), methods.size());
  for (uint32_t i = 0; i < methods.size(); ++i) {
    auto entry = Napi::Object::New(info.Env());
    entry.Set("name", ToJs(info.Env(), methods[i].name()));
    entry.Set("schema", ToJs(info.Env(), c10::toString(methods[i].function().getSchema())));
    array.Set(i, entry);
  }
  return array;
}

// One tensor at a time: a large model is never there twice as a whole.
void ConvertFloats(const Module& module, at::ScalarType dtype) {
  const at::NoGradGuard no_grad;
  const auto convert = [dtype](at::Tensor tensor) {
    if (tensor.is_floating_point()) tensor.set_data(tensor.to(dtype));
  };
  for (const at::Tensor& parameter : module.parameters()) convert(parameter);
  for (const at::Tensor& buffer : module.buffers()) convert(buffer);
}

Napi::Value Convert(const Napi::CallbackInfo& info) {
  const auto dtype = FromJs<at::ScalarType>::Get(info[1]);
  return ExecutorOf(info).Submit(
      info.Env(), Blame::kTorch, "converting a module",
      [module = Self(info), dtype] { ConvertFloats(module, dtype); },
      [](Napi::Env env) { return env.Undefined(); });
}

template <class NamedTensors>
Napi::Value Pairs(Napi::Env env, const NamedTensors& tensors) {
  auto array = Napi::Array::New(env);
  uint32_t i = 0;
  for (const auto& named : tensors)
    array.Set(i++, ToJs(env, std::make_tuple(named.name, at::Tensor(named.value))));
  return array;
}

Napi::Value Parameters(const Napi::CallbackInfo& info) {
  return Pairs(info.Env(), Self(info).named_parameters());
}

Napi::Value Buffers(const Napi::CallbackInfo& info) {
  return Pairs(info.Env(), Self(info).named_buffers());
}

Napi::Value Save(const Napi::CallbackInfo& info) {
  const auto path = FromJs<Path>::Get(info[1]).text;
  torch::jit::ExtraFilesMap extra_files;
  if (!info[2].IsObject()) throw TypeMistake("Expected extraFiles to be an object");
  const auto files = info[2].As<Napi::Object>();
  const auto names = files.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const Napi::Value name = names.Get(i);
    extra_files[name.ToString().Utf8Value()] = Property<std::string>(files, name);
  }
  auto work = [module = Self(info), path, extra_files = std::move(extra_files)] {
    std::lock_guard lock(CompilerMutex());
    // The archive's writer throws in its destructor when a write fails (pytorch issue 156955): it
    // is not told, and the file is asked at the end.
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    torch::jit::ExportModule(
        module,
        [&file](const void* bytes, size_t count) {
          file.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(count));
          return count;
        },
        extra_files);
    file.close();
    if (!file) throw Failure("ERR_IO", "Cannot write " + path + ": " + std::strerror(errno));
  };
  return ExecutorOf(info).Submit(info.Env(), Blame::kTorch, "saving " + path, std::move(work),
                                 [](Napi::Env env) { return env.Undefined(); });
}

struct Loaded {
  Module module;
  torch::jit::ExtraFilesMap extra_files;
};

Loaded LoadFile(const std::string& path, at::Device device) {
  std::lock_guard lock(CompilerMutex());
  try {
    torch::jit::ExtraFilesMap extra_files;
    caffe2::serialize::PyTorchStreamReader reader(path);
    constexpr std::string_view kFolder = "extra/";
    for (const auto& record : reader.getAllRecords())
      if (record.starts_with(kFolder)) extra_files[record.substr(kFolder.size())] = "";
    Module module = torch::jit::load(path, device, extra_files);
    module.eval();
    return {std::move(module), std::move(extra_files)};
  } catch (const std::exception& error) {
    // Besides c10's: what the compiler says of an archive's source, and what the reader throws.
    if (IsOutOfMemory(error)) throw;
    throw Failure("ERR_MODEL_FILE", "Cannot read " + path + " as a TorchScript archive: " +
                                        WithoutBacktrace(MessageOf(error)));
  }
}

Napi::Value Load(const Napi::CallbackInfo& info) {
  const auto path = FromJs<Path>::Get(info[0]).text;
  const auto device = FromJs<at::Device>::Get(info[1]);
  return ExecutorOf(info).Submit(
      info.Env(), Blame::kTorch, "loading " + path,
      [path, device] { return LoadFile(path, device); },
      [](Napi::Env env, Loaded loaded) -> Napi::Value {
        auto files = Napi::Object::New(env);
        for (const auto& [name, text] : loaded.extra_files) files.Set(name, ToJs(env, text));
        auto result = Napi::Object::New(env);
        result.Set("module", Handle<Module>::New(env, std::move(loaded.module)));
        result.Set("extraFiles", files);
        return result;
      });
}

Napi::Value Dispose(const Napi::CallbackInfo& info) {
  Handle<Module>::Dispose(info[0]);
  return info.Env().Undefined();
}

}  // namespace

void DefineScriptModule(Napi::Env env, Napi::Object exports) {
  Define<Compile>(env, exports, "moduleCompile");
  Define<Call>(env, exports, "moduleCall");
  Define<Methods>(env, exports, "moduleMethods");
  Define<Convert>(env, exports, "moduleConvert");
  Define<Parameters>(env, exports, "moduleParameters");
  Define<Buffers>(env, exports, "moduleBuffers");
  Define<Save>(env, exports, "moduleSave");
  Define<Load>(env, exports, "moduleLoad");
  Define<Dispose>(env, exports, "moduleDispose");
}

}  // namespace lopt
