// Counts the live tensor handles of an environment and the bytes of the CPU storages that they own,
// each storage once. Handles share it, so that one finalized late still finds it.
#pragma once

#include <c10/core/StorageImpl.h>

#include <cstdint>
#include <unordered_map>

namespace lopt {

class Ledger {
 public:
  // A handle to `storage` (null: nothing to own) came to life. Returns the bytes newly owned.
  int64_t Add(const c10::StorageImpl* storage, int64_t bytes) {
    ++tensors_;
    if (storage == nullptr) return 0;
    auto [entry, fresh] = owned_.try_emplace(storage, Owned{0, bytes});
    ++entry->second.handles;
    if (!fresh) return 0;
    bytes_ += bytes;
    return bytes;
  }

  // The handle is gone. Returns the bytes no longer owned.
  int64_t Remove(const c10::StorageImpl* storage) {
    --tensors_;
    if (storage == nullptr) return 0;
    auto entry = owned_.find(storage);
    if (--entry->second.handles > 0) return 0;
    const int64_t bytes = entry->second.bytes;
    owned_.erase(entry);
    bytes_ -= bytes;
    return bytes;
  }

  int64_t tensors() const { return tensors_; }
  int64_t bytes() const { return bytes_; }

 private:
  struct Owned {
    int64_t handles;
    int64_t bytes;
  };
  std::unordered_map<const c10::StorageImpl*, Owned> owned_;
  int64_t tensors_ = 0;
  int64_t bytes_ = 0;
};

}  // namespace lopt
