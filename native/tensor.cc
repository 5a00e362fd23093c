// The wrapped at::Tensor: its books, its properties, its elements as typed arrays.
#include "tensor.h"

#include <cstring>

#include "convert.h"
#include "env_data.h"
#include "guard.h"
#include "mapped_file.h"

namespace lopt {
namespace {

// The storage whose memory a handle to `tensor` keeps from being freed: none for devices other than
// the CPU, for no memory at all, and for a mapped file's pages, which the system takes back itself.
const c10::StorageImpl* OwnedStorage(const at::Tensor& tensor) {
  if (!tensor.has_storage() || !tensor.device().is_cpu()) return nullptr;
  const at::Storage& storage = tensor.storage();
  if (storage.nbytes() == 0 || IsMapped(storage)) return nullptr;
  return storage.unsafeGetStorageImpl();
}

}  // namespace

HeldTensor::HeldTensor(Napi::Env env, at::Tensor tensor)
    : env_(env),
      ledger_(EnvData::Of(env).ledger),
      storage_(OwnedStorage(tensor)),
      tensor_(std::move(tensor)) {
  const int64_t bytes = storage_ == nullptr ? 0 : static_cast<int64_t>(storage_->nbytes());
  if (const int64_t owned = ledger_->Add(storage_, bytes); owned > 0)
    Napi::MemoryManagement::AdjustExternalMemory(env_, owned);
}

HeldTensor::~HeldTensor() {
  if (!ledger_) return;
  if (const int64_t freed = ledger_->Remove(storage_); freed > 0)
    Napi::MemoryManagement::AdjustExternalMemory(env_, -freed);
}

Napi::Value WrapTensor(Napi::Env env, at::Tensor tensor) {
  if (!tensor.defined()) return env.Null();
  return Handle<HeldTensor>::New(env, HeldTensor(env, std::move(tensor)));
}

at::Tensor UnwrapTensor(const Napi::Value& value) {
  return Handle<HeldTensor>::Get(value).tensor();
}

namespace {

const at::Tensor& Self(const Napi::CallbackInfo& info) {
  return Handle<HeldTensor>::Get(info[0]).tensor();
}

Napi::Value FromData(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(), TensorFromTypedArray(info[0], FromJs<Dims>::Get(info[1]),
                                               FromJs<at::ScalarType>::Get(info[2]),
                                               FromJs<at::Device>::Get(info[3])));
}

Napi::Value ToData(const Napi::CallbackInfo& info) {
  return TypedArrayFrom(info.Env(), ToTravel(Self(info)));
}

Napi::Value ReadData(const Napi::CallbackInfo& info) {
  return EnvData::Of(info.Env())
      .executor->Submit(
          info.Env(), Blame::kCaller, "read", [tensor = Self(info)] { return ToTravel(tensor); },
          [](Napi::Env env, at::Tensor travelling) { return TypedArrayFrom(env, travelling); });
}

Napi::Value ReadBytes(const Napi::CallbackInfo& info) {
  auto work = [tensor = Self(info)] {
    if (tensor.is_meta()) throw RangeMistake("A tensor on the meta device has no elements to read");
    at::Tensor plain = tensor.detach().to(at::kCPU).contiguous();
    return plain.is_alias_of(tensor) ? plain.clone() : plain;
  };
  auto settle = [](Napi::Env env, at::Tensor plain) -> Napi::Value {
    CheckArraySize(plain.nbytes());
    auto buffer = Napi::ArrayBuffer::New(env, plain.nbytes());
    if (plain.nbytes() > 0) std::memcpy(buffer.Data(), plain.const_data_ptr(), plain.nbytes());
    return Napi::Uint8Array::New(env, plain.nbytes(), buffer, 0);
  };
  return EnvData::Of(info.Env())
      .executor->Submit(info.Env(), Blame::kCaller, "read", std::move(work), std::move(settle));
}

Napi::Value Shape(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(), Self(info).sizes().vec());
}
Napi::Value Strides(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(), Self(info).strides().vec());
}
Napi::Value Dtype(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(), std::string(DtypeName(Self(info).scalar_type())));
}
Napi::Value Device(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(), Self(info).device().str());
}
Napi::Value RequiresGrad(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(), Self(info).requires_grad());
}
Napi::Value Version(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(), static_cast<int64_t>(Self(info)._version()));
}
Napi::Value IsLeaf(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(), Self(info).is_leaf());
}
Napi::Value IsContiguous(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(), Self(info).is_contiguous());
}

Napi::Value Dispose(const Napi::CallbackInfo& info) {
  Handle<HeldTensor>::Dispose(info[0]);
  return info.Env().Undefined();
}
Napi::Value IsDisposed(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(), !Handle<HeldTensor>::Box(info[0]).has_value());
}

Napi::Value Memory(const Napi::CallbackInfo& info) {
  const auto& ledger = EnvData::Of(info.Env()).ledger;
  auto counts = Napi::Object::New(info.Env());
  counts.Set("tensors", ToJs(info.Env(), ledger->tensors()));
  counts.Set("bytes", ToJs(info.Env(), ledger->bytes()));
  return counts;
}

}  // namespace

void DefineTensor(Napi::Env env, Napi::Object exports) {
  Define<FromData>(env, exports, "fromData");
  Define<ToData>(env, exports, "toData");
  Define<ReadData>(env, exports, "readData");
  Define<ReadBytes>(env, exports, "readBytes");
  Define<Shape>(env, exports, "shape");
  Define<Strides>(env, exports, "strides");
  Define<Dtype>(env, exports, "dtype");
  Define<Device>(env, exports, "device");
  Define<RequiresGrad>(env, exports, "requiresGrad");
  Define<Version>(env, exports, "version");
  Define<IsLeaf>(env, exports, "isLeaf");
  Define<IsContiguous>(env, exports, "isContiguous");
  Define<Dispose>(env, exports, "dispose");
  Define<IsDisposed>(env, exports, "isDisposed");
  Define<Memory>(env, exports, "memory");
}

}  // namespace lopt
