// The wrapped at::Tensor: a handle that keeps its environment's books on live memory.
#pragma once

#include <ATen/ATen.h>
#include <napi.h>

#include <memory>

#include "handle.h"
#include "ledger.h"

namespace lopt {

// A tensor held by a JavaScript handle. Dropping it drops this handle's reference to the tensor,
// never the contents of a storage that others share.
class HeldTensor {
 public:
  HeldTensor(Napi::Env env, at::Tensor tensor);
  ~HeldTensor();
  HeldTensor(HeldTensor&& other) noexcept = default;
  HeldTensor& operator=(HeldTensor&&) = delete;

  const at::Tensor& tensor() const { return tensor_; }

 private:
  napi_env env_;
  std::shared_ptr<Ledger> ledger_;  // null once moved from
  const c10::StorageImpl* storage_;
  at::Tensor tensor_;
};

template <>
struct HandleKind<HeldTensor> {
  static constexpr napi_type_tag kTag = {0x6c6f70742d74656eULL, 0x736f7200a1f30c51ULL};
  static constexpr const char* kName = "a tensor";
};

Napi::Value WrapTensor(Napi::Env env, at::Tensor tensor);
// A reference of its own: valid whatever happens to the handle.
at::Tensor UnwrapTensor(const Napi::Value& value);

void DefineTensor(Napi::Env env, Napi::Object exports);

}  // namespace lopt
