// What is done to a row of numbers before and behind a product of integers. Knows no tensor.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace lopt {

// Rows of at least so many numbers together are worth another thread.
constexpr int64_t kNumbersOfAThread = 1 << 16;

// How many rows of so many numbers a thread takes at least.
int64_t RowsOfAThread(int64_t numbers);

// Writes integers in -127..127 and returns their scale: 0 for a row of zeros, NaN for one that is
// not finite.
float QuantizeRow(const float* row, int8_t* out, int64_t size);

// sums * row_scale * scales + bias + residual; bias and residual may be null, and residual `out`.
void ScaleRow(const int32_t* sums, float row_scale, const float* scales, const float* bias,
              const float* residual, float* out, int64_t size);

// Layer norm, or without a bias the root mean square's (T5's), which subtracts no mean.
void NormRow(const float* row, const float* weight, const float* bias, float eps, float* out,
             int64_t size);

enum class Activation { kGeluTanh, kSilu, kRelu };

std::optional<Activation> ActivationOf(std::string_view name);

void ActivateRow(Activation activation, float* row, int64_t size);

// row * by, in place.
void MultiplyRow(float* row, const float* by, int64_t size);

}  // namespace lopt
