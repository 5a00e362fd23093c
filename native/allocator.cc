// Memory of CPU tensors: large blocks that were freed are kept for the next tensors of about their
// size, as libtorch does on a GPU. A training step frees what it made, and the next makes the same
// again: from the system that would be fresh pages each time, zeroed one by one.
#include "allocator.h"

#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <algorithm>
#include <cstdlib>
#include <list>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "guard.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace lopt {
namespace {

// Stands before each block's data, which keeps its alignment.
struct alignas(64) Header {
  size_t size;  // of the data, a size class's for a large block
};

// Below this malloc keeps what is freed by itself.
constexpr size_t kSmallestLarge = 1 << 19;

// Eight classes from one power of two to the next: a block is at most an eighth larger than asked.
size_t SizeClass(size_t size) {
  size_t step = kSmallestLarge >> 3;
  while ((step << 4) <= size) step <<= 1;
  return (size + step - 1) / step * step;
}

class BlockCache final : public c10::Allocator {
 public:
  at::DataPtr allocate(size_t size) override {
    void* data = size == 0 ? nullptr : Take(size);
    return {data, data, &Free, at::Device(at::kCPU)};
  }

  at::DeleterFnPtr raw_deleter() const override { return &Free; }

  void copy_data(void* to, const void* from, size_t size) const override {
    default_copy_data(to, from, size);
  }

  // Gives back what is kept, and forgets how much was in use at once.
  void Release() {
    DropAll();
#ifdef __GLIBC__
    malloc_trim(0);  // malloc keeps some of what is freed, too
#endif
  }

  // Never destroyed: tensors may outlive all else.
  static BlockCache& Get() {
    static auto* cache = new BlockCache();
    return *cache;
  }

 private:
  struct Kept;
  using BySize = std::multimap<size_t, std::list<Kept>::iterator>;
  struct Kept {
    Header* block;
    BySize::iterator place;
  };

  static void Free(void* data) {
    if (data == nullptr) return;
    Header* block = static_cast<Header*>(data) - 1;
    if (block->size < kSmallestLarge)
      c10::free_cpu(block);
    else
      Get().Put(block);
  }

  static void FreeAll(const std::vector<Header*>& blocks) {
    for (Header* block : blocks) c10::free_cpu(block);
  }

  void* Take(size_t asked) {
    if (asked < kSmallestLarge) return Fresh(asked);
    const size_t size = SizeClass(asked);
    std::vector<Header*> dropped;
    Header* block = nullptr;
    {
      std::lock_guard lock(mutex_);
      block = Find(size);
      in_use_ += block != nullptr ? block->size : size;
      most_in_use_ = std::max(most_in_use_, in_use_);
      dropped = Drop(Allowance());
    }
    FreeAll(dropped);
    if (block != nullptr) return block + 1;
    try {
      return Fresh(size);
    } catch (...) {
      DropAll();  // once more without what is kept
    }
    try {
      return Fresh(size);
    } catch (...) {
      std::lock_guard lock(mutex_);
      in_use_ -= size;
      most_in_use_ = in_use_;
      throw;
    }
  }

  void DropAll() {
    std::vector<Header*> dropped;
    {
      std::lock_guard lock(mutex_);
      most_in_use_ = in_use_;
      dropped = Drop(0);
    }
    FreeAll(dropped);
  }

  static void* Fresh(size_t size) {
    auto* block = static_cast<Header*>(c10::alloc_cpu(size + sizeof(Header)));
    block->size = size;
    return block + 1;
  }

  // The newest of the smallest kept blocks that hold `size` and at most a quarter more; nullptr:
  // none.
  Header* Find(size_t size) {
    auto found = by_size_.lower_bound(size);
    if (found == by_size_.end() || found->first > size + size / 4) return nullptr;
    found = std::prev(by_size_.upper_bound(found->first));
    Header* block = found->second->block;
    order_.erase(found->second);
    by_size_.erase(found);
    kept_ -= block->size;
    return block;
  }

  void Put(Header* block) {
    std::vector<Header*> dropped;
    {
      std::lock_guard lock(mutex_);
      in_use_ -= block->size;
      kept_ += block->size;
      order_.push_back({block, {}});
      order_.back().place = by_size_.emplace(block->size, std::prev(order_.end()));
      dropped = Drop(Allowance());
    }
    FreeAll(dropped);
  }

  // Never more, with what is in use, than was in use at any one time.
  size_t Allowance() const { return most_in_use_ - in_use_; }

  // Takes the oldest blocks out until `allowed` bytes are kept at most.
  std::vector<Header*> Drop(size_t allowed) {
    std::vector<Header*> dropped;
    while (kept_ > allowed) {
      const Kept& oldest = order_.front();
      dropped.push_back(oldest.block);
      kept_ -= oldest.block->size;
      by_size_.erase(oldest.place);
      order_.pop_front();
    }
    return dropped;
  }

  std::mutex mutex_;
  std::list<Kept> order_;  // oldest first
  BySize by_size_;
  // Bytes of large blocks.
  size_t kept_ = 0;
  size_t in_use_ = 0;
  size_t most_in_use_ = 0;
};

bool IsWanted() {
  const char* asked = std::getenv("LOPT_ALLOCATOR");
  if (asked == nullptr || *asked == '\0') return true;
  const std::string_view name = asked;
  if (name != "lopt" && name != "libtorch")
    throw RangeMistake("Expected LOPT_ALLOCATOR to be lopt or libtorch but it is " +
                       std::string(name));
  return name == "lopt";
}

bool UseBlockCache() {
  if (!IsWanted()) return false;
  c10::SetCPUAllocator(&BlockCache::Get());
  return true;
}

// [sync] Memory that is kept for later tensors goes back to the system.
Napi::Value ReleaseMemory(const Napi::CallbackInfo& info) {
  BlockCache::Get().Release();
  return info.Env().Undefined();
}

}  // namespace

void DefineAllocator(Napi::Env env, Napi::Object exports) {
  static const bool is_used = UseBlockCache();
  static_cast<void>(is_used);
  Define<ReleaseMemory>(env, exports, "releaseMemory");
}

}  // namespace lopt
