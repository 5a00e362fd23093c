// The loader of platform packages (open.node): opens shared libraries by path, so that an addon
// that asks for them by name finds them loaded, wherever a package manager has put either. Knows
// nothing of libtorch.
#include <dlfcn.h>
#include <node_api.h>

#if defined(__linux__) && defined(__x86_64__)
// glibc 2.34 has them under a new version, beside the old one: this loader is for older ones too
// (old_system.h).
__asm__(".symver dlopen,dlopen@GLIBC_2.2.5");
__asm__(".symver dlerror,dlerror@GLIBC_2.2.5");
#endif

#define PATH_BYTES 4096

// Their symbols stay their own: in the process's global scope they could stand in for Node's. They
// stay loaded, since libtorch does not survive being unloaded.
#define MODE (RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE)

static napi_value Throw(napi_env env, const char* message) {
  napi_throw_error(env, NULL, message);
  return NULL;
}

// open(paths: string[]): void
static napi_value Open(napi_env env, napi_callback_info info) {
  size_t given = 1;
  napi_value paths;
  uint32_t count = 0;
  if (napi_get_cb_info(env, info, &given, &paths, NULL, NULL) != napi_ok || given < 1 ||
      napi_get_array_length(env, paths, &count) != napi_ok)
    return Throw(env, "Expected paths to be an array");
  for (uint32_t i = 0; i < count; i++) {
    napi_value element;
    char path[PATH_BYTES];
    size_t bytes = 0;
    if (napi_get_element(env, paths, i, &element) != napi_ok ||
        napi_get_value_string_utf8(env, element, path, sizeof path, &bytes) != napi_ok)
      return Throw(env, "Expected paths to be strings");
    if (bytes + 1 == sizeof path) return Throw(env, "A path is too long");
    if (dlopen(path, MODE) == NULL) return Throw(env, dlerror());
  }
  return NULL;
}

NAPI_MODULE_INIT() {
  napi_value function;
  if (napi_create_function(env, "open", NAPI_AUTO_LENGTH, Open, NULL, &function) != napi_ok ||
      napi_set_named_property(env, exports, "open", function) != napi_ok)
    return Throw(env, "The loader could not be set up");
  return exports;
}
