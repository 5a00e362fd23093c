#include "avx2_product.h"

#include <algorithm>
#include <array>
#include <vector>

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

namespace lopt {
namespace {

// Numbers of a vector, once they have 16 bits: AVX2 multiplies those, two by two, without a carry.
constexpr int64_t kVector = 16;

// Rows and columns that are multiplied with each other at once: their sums fill half of the
// registers.
constexpr int64_t kRows = 4;
constexpr int64_t kColumns = 2;

constexpr int64_t kLine = 32;

// So aligned no vector lies in two lines of the CPU's cache, which would be read one after the
// other.
struct alignas(64) Line {
  std::array<int16_t, kLine> numbers;
};

// Bytes of rows that the columns go past, one after the other: they stay in the CPU's cache.
constexpr int64_t kBlockBytes = 1 << 15;

// The totals of the sums of two columns: the first's, then the second's.
[[gnu::always_inline, gnu::target("avx2")]] inline std::array<int32_t, 2> Totals(__m256i a,
                                                                                 __m256i b) {
  const __m256i pairs = _mm256_hadd_epi32(a, b);
  const __m256i fours = _mm256_hadd_epi32(pairs, pairs);
  const __m128i all =
      _mm_add_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
  return {_mm_extract_epi32(all, 0), _mm_extract_epi32(all, 1)};
}

// One to four rows [K], of 16 bits and with zeros up to a whole vector, `stride` apart, times two
// of the weight.
template <int64_t Rows>
[[gnu::target("avx2"), gnu::optimize("O3")]] void Block(const int16_t* rows, int64_t stride,
                                                        const int8_t* first, const int8_t* second,
                                                        int64_t K, int32_t* out, int64_t N,
                                                        int64_t columns) {
  __m256i a[Rows];
  __m256i b[Rows];
#pragma GCC unroll 4
  for (int64_t i = 0; i < Rows; ++i) a[i] = b[i] = _mm256_setzero_si256();
  const auto add = [&](__m128i one, __m128i other, int64_t k)
      __attribute__((always_inline, target("avx2"))) {
    const __m256i of_first = _mm256_cvtepi8_epi16(one);
    const __m256i of_second = _mm256_cvtepi8_epi16(other);
#pragma GCC unroll 4
    for (int64_t i = 0; i < Rows; ++i) {
      const auto* from = reinterpret_cast<const __m256i*>(rows + i * stride + k);
      const __m256i row = _mm256_loadu_si256(from);
      a[i] = _mm256_add_epi32(a[i], _mm256_madd_epi16(row, of_first));
      b[i] = _mm256_add_epi32(b[i], _mm256_madd_epi16(row, of_second));
    }
  };
  const auto load = [](const int8_t* from) __attribute__((always_inline, target("avx2"))) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  };
  const int64_t whole = K - K % kVector;
  for (int64_t k = 0; k < whole; k += kVector) add(load(first + k), load(second + k), k);
  if (whole < K) {
    std::array<int8_t, 2 * kVector> rest{};
    std::memcpy(rest.data(), first + whole, K - whole);
    std::memcpy(rest.data() + kVector, second + whole, K - whole);
    add(load(rest.data()), load(rest.data() + kVector), whole);
  }
#pragma GCC unroll 4
  for (int64_t i = 0; i < Rows; ++i) {
    const auto totals = Totals(a[i], b[i]);
    std::copy_n(totals.data(), columns, out + i * N);
  }
}

}  // namespace

bool MultipliesByAvx2() {
  static const bool does = __builtin_cpu_supports("avx2") && !__builtin_cpu_supports("avx512bw");
  return does;
}

void MultiplyByAvx2(const Int8Factors& product, int64_t begin, int64_t end) {
  const auto& [rows, weight, out, M, N, K] = product;
  const int64_t stride = (K + kVector - 1) / kVector * kVector;
  const int64_t most = std::max(kRows, kBlockBytes / (2 * stride) / kRows * kRows);
  std::vector<Line> lines(std::min(M, most) * stride / kLine + 1);
  int16_t* wide = lines[0].numbers.data();
  for (int64_t m = 0; m < M; m += most) {
    const int64_t count = std::min(most, M - m);
    for (int64_t i = 0; i < count; ++i) std::copy_n(rows + (m + i) * K, K, wide + i * stride);
    for (int64_t n = begin; n < end; n += kColumns) {
      const int64_t columns = std::min(kColumns, end - n);
      const int8_t* first = weight + n * K;
      const int8_t* second = first + (columns - 1) * K;
      for (int64_t i = 0; i < count; i += kRows) {
        const int16_t* some = wide + i * stride;
        int32_t* to = out + (m + i) * N + n;
        switch (std::min(kRows, count - i)) {
          case 1:
            Block<1>(some, stride, first, second, K, to, N, columns);
            break;
          case 2:
            Block<2>(some, stride, first, second, K, to, N, columns);
            break;
          case 3:
            Block<3>(some, stride, first, second, K, to, N, columns);
            break;
          default:
            Block<4>(some, stride, first, second, K, to, N, columns);
        }
      }
    }
  }
}

}  // namespace lopt

#else

namespace lopt {

bool MultipliesByAvx2() { return false; }
void MultiplyByAvx2(const Int8Factors&, int64_t, int64_t) {}

}  // namespace lopt

#endif
