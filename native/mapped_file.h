// A memory-mapped file and tensors on its own pages, without a copy. Knows no file format.
#pragma once

#include <ATen/ATen.h>
#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "handle.h"

namespace lopt {

// Mapped private: a write copies the page, the file never changes. A file that somebody else cuts
// short while it is mapped raises SIGBUS when the lost pages are touched.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::byte* data() const { return data_; }
  uint64_t size() const { return size_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::byte* data_ = nullptr;
  uint64_t size_ = 0;
};

template <>
struct HandleKind<std::shared_ptr<MappedFile>> {
  static constexpr napi_type_tag kTag = {0x6c6f70742d6d6170ULL, 0x66696c6500b7d210ULL};
  static constexpr const char* kName = "a mapped file";
};

// Whether a storage lies on a mapped file's pages.
bool IsMapped(const at::Storage& storage);

void DefineMappedFile(Napi::Env env, Napi::Object exports);

}  // namespace lopt
