// Definitions of the addon's own for what newer versions of glibc have as symbols (old_system.h).
#include "old_system.h"

#if defined(__linux__) && defined(__x86_64__)

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// Not asked for by any name but these, so that the addon exports nothing.
extern "C" {

// Of glibc 2.32: whether reference counts may be counted without atomic instructions. Node has
// threads.
__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;

// Of glibc 2.33, before which it was a macro. The kernel's structure is glibc's on this machine.
__attribute__((visibility("hidden"))) int fstat(int file, struct stat* info) noexcept {
  return static_cast<int>(syscall(SYS_fstat, file, info));
}

}  // extern "C"

#endif
