// Float32 matrix products by oneDNN in place of MKL where MKL leaves out half of the machine: on
// x86 CPUs that are not Intel's it does not use AVX-512, and with few rows it packs the whole
// matrix for each product. Both libraries are part of libtorch; docs/performance.md has figures.
#include "products.h"

#include <ATen/Context.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/cpu/Utils.h>
#include <ATen/ops/addmm_cpu_dispatch.h>
#include <ATen/ops/mm_cpu_dispatch.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guard.h"

namespace lopt {
namespace {

using at::Tensor;

// x [M, K], w [N, K], bias [N] -> x wT + bias [M, N]
using LinearSignature = Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&,
                               std::string_view, c10::List<std::optional<at::Scalar>>,
                               std::optional<std::string_view>);
using Linear = c10::TypedOperatorHandle<LinearSignature>;

// oneDNN's inner product with plain weights, as libtorch's own compiler calls it.
std::optional<Linear> FindLinear() {
  if (!at::globalContext().hasMKLDNN()) return std::nullopt;
  const auto found = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
  if (!found || !found->hasKernelForDispatchKey(c10::DispatchKey::CPU)) return std::nullopt;
  try {
    return found->typed<LinearSignature>();
  } catch (const c10::Error&) {
    return std::nullopt;  // another version's signature
  }
}

std::optional<Linear>& OneDnn() {
  static auto* linear = new std::optional<Linear>(FindLinear());
  return *linear;
}

// Below this a call's own cost, some microseconds more than MKL's, is more than what it saves.
constexpr int64_t kFewestMultiplications = 1 << 19;

bool IsPlain(const Tensor& matrix) {
  return matrix.dim() == 2 && matrix.scalar_type() == at::kFloat &&
         matrix.layout() == at::kStrided && matrix.device().is_cpu() && !matrix.is_neg();
}

// With gaps between its rows oneDNN falls back to code that is a thousand times slower.
bool IsDense(const Tensor& matrix) { return matrix.is_contiguous() || matrix.t().is_contiguous(); }

// A copy without gaps costs about as much as this many rows of the product.
constexpr int64_t kFewestRowsForACopy = 64;

bool SuitsOneDnn(const Tensor& a, const Tensor& b) {
  return IsPlain(a) && IsPlain(b) && a.size(1) == b.size(0) &&
         a.size(0) * a.size(1) * b.size(1) >= kFewestMultiplications &&
         (a.size(0) >= kFewestRowsForACopy || IsDense(b));
}

Tensor Product(const Tensor& a, const Tensor& b, const std::optional<Tensor>& bias) {
  const at::AutoDispatchBelowAutograd guard;
  const Tensor dense = IsDense(b) ? b : b.contiguous();
  return OneDnn()->call(a, dense.t(), bias, "none", c10::List<std::optional<at::Scalar>>(), "");
}

Tensor Mm(const Tensor& self, const Tensor& mat2) {
  if (!SuitsOneDnn(self, mat2)) return at::cpu::mm(self, mat2);
  return Product(self, mat2, std::nullopt);
}

Tensor Addmm(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const at::Scalar& beta,
             const at::Scalar& alpha) {
  const bool adds_bias = self.dim() == 1 && self.scalar_type() == at::kFloat &&
                         self.device().is_cpu() && self.is_contiguous() && !self.is_neg() &&
                         beta.equal(1) && alpha.equal(1);
  if (!adds_bias || !SuitsOneDnn(mat1, mat2) || self.size(0) != mat2.size(1))
    return at::cpu::addmm(self, mat1, mat2, beta, alpha);
  return Product(mat1, mat2, self);
}

bool MklLeavesOutAvx512() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return at::globalContext().hasMKL() && !__builtin_cpu_is("intel") &&
         __builtin_cpu_supports("avx512f");
#else
  return false;
#endif
}

bool IsOneDnnWanted() {
  const char* asked = std::getenv("LOPT_PRODUCTS");
  if (asked == nullptr || *asked == '\0') return MklLeavesOutAvx512() && OneDnn();
  const std::string_view name = asked;
  if (name == "libtorch") return false;
  if (name != "onednn")
    throw RangeMistake("Expected LOPT_PRODUCTS to be onednn or libtorch but it is " +
                       std::string(name));
  if (!OneDnn())
    throw RangeMistake("LOPT_PRODUCTS is onednn, which this libtorch was built without");
  return true;
}

// libtorch warns that its kernel is replaced, as is meant.
class Silent : public c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

bool UseOneDnn() {
  if (!IsOneDnnWanted()) return false;
  ReplaceCpuKernels([](torch::Library& library) {
    library.impl("mm", &Mm);
    library.impl("addmm", &Addmm);
  });
  return true;
}

// Names of libtorch's, such as avx512_bf16, in alphabetical order.
std::vector<std::string> CpuFeatures() {
  std::vector<std::string> names;
  for (const auto& [name, value] : at::cpu::get_cpu_capabilities())
    if (value.isBool() && value.toBool()) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

void ReplaceCpuKernels(const std::function<void(torch::Library&)>& replace) {
  Silent silent;
  const c10::WarningUtils::WarningHandlerGuard guard(&silent);
  // Kept for good: it takes its kernels back when it is destroyed.
  replace(
      *new torch::Library(torch::Library::IMPL, "aten", c10::DispatchKey::CPU, __FILE__, __LINE__));
}

void DefineProducts(Napi::Env env, Napi::Object exports) {
  static const bool uses_onednn = UseOneDnn();
  exports.Set("products", Napi::String::New(env, uses_onednn ? "onednn" : "libtorch"));
  static const auto features = CpuFeatures();
  auto list = Napi::Array::New(env, features.size());
  for (uint32_t i = 0; i < features.size(); ++i) list.Set(i, Napi::String::New(env, features[i]));
  exports.Set("cpuFeatures", list);
}

}  // namespace lopt
