// Precompiled for every file of native/: libtorch's headers take most of a compilation. Files still
// include what they use, so that each compiles without this one too.
#pragma once

#include <ATen/ATen.h>
#include <napi.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/script.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>
