#include "rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "exponential.h"
#include "for_cpus.h"

namespace lopt {
namespace {

// Its inverse is still a number.
constexpr float kSmallest = 1e-35F;

// Numbers that are added side by side: one sum after the other would wait for each addition.
constexpr int64_t kLanes = 32;

[[gnu::always_inline]] inline float Total(std::array<float, kLanes>& sums) {
  for (int64_t half = kLanes / 2; half > 0; half /= 2)
    for (int64_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  return sums[0];
}

// Of (x - shift) ^ 2.
[[gnu::always_inline]] inline float SumOfSquares(const float* row, float shift, int64_t size) {
  std::array<float, kLanes> sums{};
  const int64_t whole = size - size % kLanes;
  for (int64_t i = 0; i < whole; i += kLanes)
    for (int64_t j = 0; j < kLanes; ++j) sums[j] += (row[i + j] - shift) * (row[i + j] - shift);
  for (int64_t i = whole; i < size; ++i) sums[i - whole] += (row[i] - shift) * (row[i] - shift);
  return Total(sums);
}

[[gnu::always_inline]] inline float Sum(const float* row, int64_t size) {
  std::array<float, kLanes> sums{};
  const int64_t whole = size - size % kLanes;
  for (int64_t i = 0; i < whole; i += kLanes)
    for (int64_t j = 0; j < kLanes; ++j) sums[j] += row[i + j];
  for (int64_t i = whole; i < size; ++i) sums[i - whole] += row[i];
  return Total(sums);
}

LOPT_FOR_CPUS
void LayerNormRow(const float* row, const float* weight, const float* bias, float eps, float* out,
                  int64_t size) {
  const auto count = static_cast<float>(size);
  const float mean = Sum(row, size) / count;
  const float inverse = 1.0F / std::sqrt(SumOfSquares(row, mean, size) / count + eps);
  for (int64_t i = 0; i < size; ++i) out[i] = (row[i] - mean) * inverse * weight[i] + bias[i];
}

LOPT_FOR_CPUS
void RmsNormRow(const float* row, const float* weight, float eps, float* out, int64_t size) {
  const auto count = static_cast<float>(size);
  const float inverse = 1.0F / std::sqrt(SumOfSquares(row, 0.0F, size) / count + eps);
  for (int64_t i = 0; i < size; ++i) out[i] = row[i] * inverse * weight[i];
}

// 0.5 x (1 + tanh(u)) is x / (1 + e^-2u).
LOPT_FOR_CPUS
void GeluTanhRow(float* row, int64_t size) {
  constexpr float kTwice = 2 * 0.7978845608F;  // 2 sqrt(2 / pi)
  for (int64_t i = 0; i < size; ++i) {
    const float x = row[i];
    const float exponent = -kTwice * (x + 0.044715F * x * x * x);
    row[i] = x / (1.0F + Exponential(exponent > 88.0F ? 88.0F : exponent));
  }
}

LOPT_FOR_CPUS
void SiluRow(float* row, int64_t size) {
  for (int64_t i = 0; i < size; ++i) {
    const float x = row[i];
    row[i] = x / (1.0F + Exponential(-x > 88.0F ? 88.0F : -x));
  }
}

LOPT_FOR_CPUS
void ReluRow(float* row, int64_t size) {
  for (int64_t i = 0; i < size; ++i) row[i] = row[i] < 0.0F ? 0.0F : row[i];  // NaN stays
}

}  // namespace

int64_t RowsOfAThread(int64_t numbers) {
  return std::max<int64_t>(1, kNumbersOfAThread / std::max<int64_t>(1, numbers));
}

LOPT_FOR_CPUS
float QuantizeRow(const float* row, int8_t* out, int64_t size) {
  // Magnitudes are ordered as their bits are, infinities and NaNs above all numbers.
  int32_t largest_bits = 0;
  for (int64_t i = 0; i < size; ++i)
    largest_bits = std::max(largest_bits, std::bit_cast<int32_t>(row[i]) & 0x7fffffff);
  const float largest = std::bit_cast<float>(largest_bits);
  if (!std::isfinite(largest)) {  // the scale alone says so, and spreads to all that the row gives
    std::fill(out, out + size, static_cast<int8_t>(1));
    return std::numeric_limits<float>::quiet_NaN();
  }
  if (largest < kSmallest) {
    std::fill(out, out + size, static_cast<int8_t>(0));
    return 0.0F;
  }
  const float inverse = 127.0F / largest;
  for (int64_t i = 0; i < size; ++i) out[i] = static_cast<int8_t>(Rounded(row[i] * inverse));
  return largest / 127.0F;
}

LOPT_FOR_CPUS
void ScaleRow(const int32_t* sums, float row_scale, const float* scales, const float* bias,
              const float* residual, float* out, int64_t size) {
  for (int64_t i = 0; i < size; ++i)
    out[i] = static_cast<float>(sums[i]) * (row_scale * scales[i]) +
             (bias == nullptr ? 0.0F : bias[i]) + (residual == nullptr ? 0.0F : residual[i]);
}

void NormRow(const float* row, const float* weight, const float* bias, float eps, float* out,
             int64_t size) {
  if (bias == nullptr) return RmsNormRow(row, weight, eps, out, size);
  LayerNormRow(row, weight, bias, eps, out, size);
}

std::optional<Activation> ActivationOf(std::string_view name) {
  if (name == "gelu_tanh") return Activation::kGeluTanh;
  if (name == "silu") return Activation::kSilu;
  if (name == "relu") return Activation::kRelu;
  return std::nullopt;
}

void ActivateRow(Activation activation, float* row, int64_t size) {
  switch (activation) {
    case Activation::kGeluTanh:
      return GeluTanhRow(row, size);
    case Activation::kSilu:
      return SiluRow(row, size);
    case Activation::kRelu:
      return ReluRow(row, size);
  }
}

LOPT_FOR_CPUS
void MultiplyRow(float* row, const float* by, int64_t size) {
  for (int64_t i = 0; i < size; ++i) row[i] *= by[i];
}

}  // namespace lopt
