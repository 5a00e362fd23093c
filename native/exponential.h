// The exponential function in a form that every compiler makes a vector's.
#pragma once

#include <bit>
#include <cstdint>

namespace lopt {

// Rounds to the nearest integer, ties to even, by the bits of a float: faster than a call. `x` is
// below 2^22 in magnitude.
[[gnu::always_inline]] inline float Rounded(float x) {
  constexpr float kShift = 12582912.0F;  // 1.5 * 2^23
  return (x + kShift) - kShift;
}

// Within 2 units in the last place; 0 below -87, and of NaN NaN. `x` is 88 at most.
[[gnu::always_inline]] inline float Exponential(float x) {
  constexpr float kLeast = -87.0F;
  const float clamped = x < kLeast ? kLeast : x;
  // 2^n e^r, |r| at most half of ln 2, which is subtracted in two parts; e^r by Taylor's series.
  const float n = Rounded(clamped * 1.44269504F);
  const float r = (clamped - n * 0.693359375F) + n * 2.12194440e-4F;
  float sum = 1.0F / 5040;
  sum = sum * r + 1.0F / 720;
  sum = sum * r + 1.0F / 120;
  sum = sum * r + 1.0F / 24;
  sum = sum * r + 1.0F / 6;
  sum = sum * r + 0.5F;
  sum = sum * r + 1.0F;
  sum = sum * r + 1.0F;
  const float power = std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
  return x < kLeast ? 0.0F : sum * power;
}

}  // namespace lopt
