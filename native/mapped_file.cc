// Maps files into memory and makes tensors of their pages. Knows no format.
#include "mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "convert.h"
#include "failure.h"
#include "guard.h"

namespace lopt {
namespace {

[[noreturn]] void FailOn(const std::string& what, const std::string& path) {
  throw Failure("ERR_IO", "Cannot " + what + " " + path + ": " + std::strerror(errno));
}

class FileDescriptor {
 public:
  explicit FileDescriptor(const std::string& path)
      : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (fd_ < 0) FailOn("open", path);
  }
  ~FileDescriptor() { close(fd_); }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// The deleter of a storage on mapped pages: its context is the tensor's share in the file.
void ReleasePages(void* context) {
  std::unique_ptr<std::shared_ptr<MappedFile>>(static_cast<std::shared_ptr<MappedFile>*>(context));
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const FileDescriptor file(path);
  struct stat info {};
  if (fstat(file.get(), &info) != 0) FailOn("inspect", path);
  if (!S_ISREG(info.st_mode))
    throw Failure("ERR_IO", "Cannot map " + path + ": not a regular file");
  size_ = static_cast<uint64_t>(info.st_size);
  if (size_ == 0) return;  // a mapping of nothing is refused by the system
  int flags = MAP_PRIVATE;
#ifdef MAP_NORESERVE
  flags |= MAP_NORESERVE;  // pages that nobody writes to need no swap set aside
#endif
  void* address = mmap(nullptr, size_, PROT_READ | PROT_WRITE, flags, file.get(), 0);
  if (address == MAP_FAILED) FailOn("map", path);
  data_ = static_cast<std::byte*>(address);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(data_, size_);
}

bool IsMapped(const at::Storage& storage) {
  return storage.data_ptr().get_deleter() == &ReleasePages;
}

namespace {

const std::shared_ptr<MappedFile>& Self(const Napi::CallbackInfo& info) {
  return Handle<std::shared_ptr<MappedFile>>::Get(info[0]);
}

Napi::Value MapFile(const Napi::CallbackInfo& info) {
  return Handle<std::shared_ptr<MappedFile>>::New(
      info.Env(), std::make_shared<MappedFile>(FromJs<Path>::Get(info[0]).text));
}

Napi::Value MappedSize(const Napi::CallbackInfo& info) {
  return ToJs(info.Env(), static_cast<double>(Self(info)->size()));
}

Napi::Value MappedBytes(const Napi::CallbackInfo& info) {
  const std::shared_ptr<MappedFile> file = Self(info);
  const int64_t begin = FromJs<int64_t>::Get(info[1]);
  const int64_t end = FromJs<int64_t>::Get(info[2]);
  if (begin < 0 || end < begin || static_cast<uint64_t>(end) > file->size())
    throw RangeMistake("The bytes " + std::to_string(begin) + ".." + std::to_string(end) +
                       " do not lie in " + file->path() + " of " + std::to_string(file->size()) +
                       " bytes");
  const size_t count = static_cast<size_t>(end - begin);
  CheckArraySize(count);
  auto bytes = Napi::Uint8Array::New(info.Env(), count);
  if (count > 0) std::memcpy(bytes.Data(), file->data() + begin, count);
  return bytes;
}

Napi::Value MappedTensor(const Napi::CallbackInfo& info) {
  const std::shared_ptr<MappedFile> file = Self(info);  // a getter below may dispose of the handle
  const int64_t offset = FromJs<int64_t>::Get(info[1]);
  const Dims shape = FromJs<Dims>::Get(info[2]);
  const at::ScalarType dtype = FromJs<at::ScalarType>::Get(info[3]);
  const uint64_t item = c10::elementSize(dtype);
  uint64_t bytes = item;
  for (const int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes))
      throw RangeMistake("The shape " + ShapeText(shape) + " is no shape of a tensor");
  if (offset < 0 || static_cast<uint64_t>(offset) > file->size() ||
      bytes > file->size() - static_cast<uint64_t>(offset))
    throw RangeMistake("A tensor " + ShapeText(shape) + " at offset " + std::to_string(offset) +
                       " does not lie in " + file->path() + " of " + std::to_string(file->size()) +
                       " bytes");
  const auto options = at::TensorOptions().dtype(dtype);
  if (bytes == 0) return ToJs(info.Env(), at::empty(shape, options));
  std::byte* data = file->data() + offset;
  if (reinterpret_cast<uintptr_t>(data) % item != 0) {
    at::Tensor copy = at::empty(shape, options);
    std::memcpy(copy.mutable_data_ptr(), data, bytes);
    return ToJs(info.Env(), std::move(copy));
  }
  auto share = std::make_unique<std::shared_ptr<MappedFile>>(file);
  at::Tensor tensor = at::for_blob(data, shape)
                          .context(share.release(), &ReleasePages)
                          .options(options)
                          .make_tensor();
  return ToJs(info.Env(), std::move(tensor));
}

Napi::Value MappedDispose(const Napi::CallbackInfo& info) {
  Handle<std::shared_ptr<MappedFile>>::Dispose(info[0]);
  return info.Env().Undefined();
}

}  // namespace

void DefineMappedFile(Napi::Env env, Napi::Object exports) {
  Define<MapFile>(env, exports, "mapFile");
  Define<MappedSize>(env, exports, "mappedSize");
  Define<MappedBytes>(env, exports, "mappedBytes");
  Define<MappedTensor>(env, exports, "mappedTensor");
  Define<MappedDispose>(env, exports, "mappedDispose");
}

}  // namespace lopt
