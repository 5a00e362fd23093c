// Attention to few keys in half precision on a CPU, computed in float32: libtorch's own multiplies
// numbers of 16 bits by a general product for each small piece, which takes up to three times as
// long where the CPU has no tiles (AMX) for them. Softmax and sums are in float32 either way.
#include "half_attention.h"

#include <ATen/ATen.h>
#include <ATen/cpu/Utils.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward_native.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_native.h>
#include <torch/library.h>

#include <cstdlib>
#include <optional>
#include <string_view>
#include <tuple>

#include "products.h"

namespace lopt {
namespace {

using at::Tensor;

bool IsHalf(const Tensor& tensor) {
  return tensor.scalar_type() == at::kBFloat16 || tensor.scalar_type() == at::kHalf;
}

// With more keys libtorch's pieces are large enough for its products.
constexpr int64_t kMostKeys = 256;

bool SuitsFloat(const Tensor& query, const Tensor& key) {
  return IsHalf(query) && key.size(-2) <= kMostKeys;
}

Tensor AsFloat(const Tensor& tensor) { return tensor.to(at::kFloat); }

std::optional<Tensor> AsFloat(const std::optional<Tensor>& mask) {
  if (!mask || !mask->defined() || !IsHalf(*mask)) return mask;
  return AsFloat(*mask);
}

std::tuple<Tensor, Tensor> Attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                     double dropout, bool is_causal,
                                     const std::optional<Tensor>& mask,
                                     std::optional<double> scale) {
  if (!SuitsFloat(query, key))
    return at::native::_scaled_dot_product_flash_attention_cpu(query, key, value, dropout,
                                                               is_causal, mask, scale);
  auto [out, logsumexp] = at::native::_scaled_dot_product_flash_attention_cpu(
      AsFloat(query), AsFloat(key), AsFloat(value), dropout, is_causal, AsFloat(mask), scale);
  return {out.to(query.scalar_type()), logsumexp};
}

std::tuple<Tensor, Tensor, Tensor> Backward(const Tensor& slope, const Tensor& query,
                                            const Tensor& key, const Tensor& value,
                                            const Tensor& out, const Tensor& logsumexp,
                                            double dropout, bool is_causal,
                                            const std::optional<Tensor>& mask,
                                            std::optional<double> scale) {
  if (!SuitsFloat(query, key))
    return at::native::_scaled_dot_product_flash_attention_cpu_backward(
        slope, query, key, value, out, logsumexp, dropout, is_causal, mask, scale);
  const auto type = query.scalar_type();
  auto [by_query, by_key, by_value] = at::native::_scaled_dot_product_flash_attention_cpu_backward(
      AsFloat(slope), AsFloat(query), AsFloat(key), AsFloat(value), AsFloat(out), logsumexp,
      dropout, is_causal, AsFloat(mask), scale);
  return {by_query.to(type), by_key.to(type), by_value.to(type)};
}

bool IsWanted() {
  const char* asked = std::getenv("LOPT_PRODUCTS");
  if (asked != nullptr && std::string_view(asked) == "libtorch") return false;
  const auto features = at::cpu::get_cpu_capabilities();
  const auto tiles = features.find("amx_bf16");
  return tiles == features.end() || !tiles->second.isBool() || !tiles->second.toBool();
}

bool UseFloat() {
  if (!IsWanted()) return false;
  ReplaceCpuKernels([](torch::Library& library) {
    library.impl("_scaled_dot_product_flash_attention_for_cpu", &Attention);
    library.impl("_scaled_dot_product_flash_attention_for_cpu_backward", &Backward);
  });
  return true;
}

}  // namespace

void DefineHalfAttention(Napi::Env env, Napi::Object exports) {
  static const bool uses_float = UseFloat();
  exports.Set("halfAttention", Napi::String::New(env, uses_float ? "float32" : "libtorch"));
}

}  // namespace lopt
