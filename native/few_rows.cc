#include "few_rows.h"

#include <algorithm>

#if defined(__x86_64__)

#include <immintrin.h>

#if defined(__GNUC__) && !defined(__clang__)
// Of the intrinsics' own headers: GCC bug 105593.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace lopt {
namespace {

// Numbers of a vector, and rows of either factor that are multiplied with each other at once.
constexpr int64_t kVector = 64;
constexpr int64_t kBlock = 4;

// Bytes between what is multiplied and what is fetched meanwhile.
constexpr int64_t kAhead = 4096;

[[gnu::target("avx512f,avx512bw")]] __mmask64 FirstOf(int64_t count) {
  return count >= kVector ? ~0ULL : (1ULL << count) - 1;
}

// The totals of four vectors.
[[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512vnni")]] inline __m128i Totals(
    __m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i first = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const __m512i second = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  const __m512i all =
      _mm512_add_epi32(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second));
  const __m256i half =
      _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// A row's sums with four rows of the weight.
struct Sums {
  __m512i a, b, c, d;
};

// Some numbers of four rows of the weight, with 128 added: the instruction multiplies unsigned
// numbers by signed ones, which gives each sum its row's excess too much.
struct Four {
  __m512i a, b, c, d;
};

[[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512vnni")]] inline Four LoadFour(
    const int8_t* const* weight, int64_t k, __mmask64 mask) {
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
  return {_mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, weight[0] + k), flip),
          _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, weight[1] + k), flip),
          _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, weight[2] + k), flip),
          _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, weight[3] + k), flip)};
}

[[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512vnni")]] inline void Add(
    Sums& sums, const Four& weight, __m512i row) {
  sums.a = _mm512_dpbusd_epi32(sums.a, weight.a, row);
  sums.b = _mm512_dpbusd_epi32(sums.b, weight.b, row);
  sums.c = _mm512_dpbusd_epi32(sums.c, weight.c, row);
  sums.d = _mm512_dpbusd_epi32(sums.d, weight.d, row);
}

// One to four rows of the product, and as many columns. The weight's rows `ahead` are fetched
// meanwhile.
template <int64_t Rows>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512vnni"), gnu::optimize("O3")]] void Block(
    const FewRows& product, int64_t m, const int8_t* const* weight, int64_t ahead, int32_t* out,
    __mmask8 columns) {
  const int64_t K = product.K;
  const int8_t* rows = product.rows + m * K;
  const __m512i zero = _mm512_setzero_si512();
  Sums one{zero, zero, zero, zero};
  Sums two = one;
  Sums three = one;
  Sums four = one;
  const int64_t whole = K - K % kVector;
  for (int64_t k = 0; k < whole; k += kVector) {
    const Four some = LoadFour(weight, k, ~0ULL);
    if (ahead != 0)
      for (int64_t n = 0; n < kBlock; ++n) _mm_prefetch(weight[n] + k + ahead, _MM_HINT_T0);
    Add(one, some, _mm512_loadu_si512(rows + k));
    if constexpr (Rows > 1) Add(two, some, _mm512_loadu_si512(rows + K + k));
    if constexpr (Rows > 2) Add(three, some, _mm512_loadu_si512(rows + 2 * K + k));
    if constexpr (Rows > 3) Add(four, some, _mm512_loadu_si512(rows + 3 * K + k));
  }
  if (whole < K) {
    const __mmask64 left = FirstOf(K - whole);
    const Four some = LoadFour(weight, whole, left);
    Add(one, some, _mm512_maskz_loadu_epi8(left, rows + whole));
    if constexpr (Rows > 1) Add(two, some, _mm512_maskz_loadu_epi8(left, rows + K + whole));
    if constexpr (Rows > 2) Add(three, some, _mm512_maskz_loadu_epi8(left, rows + 2 * K + whole));
    if constexpr (Rows > 3) Add(four, some, _mm512_maskz_loadu_epi8(left, rows + 3 * K + whole));
  }
  const Sums* all[] = {&one, &two, &three, &four};
#pragma GCC unroll 4
  for (int64_t i = 0; i < Rows; ++i) {
    const __m128i totals = Totals(all[i]->a, all[i]->b, all[i]->c, all[i]->d);
    _mm_mask_storeu_epi32(out + i * product.N, columns,
                          _mm_sub_epi32(totals, _mm_set1_epi32(product.excess[m + i])));
  }
}

}  // namespace

bool MultipliesFewRows() {
  static const bool can = __builtin_cpu_supports("avx512vnni") &&
                          __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  return can;
}

[[gnu::target("avx512f,avx512bw,avx512vl,avx512vnni")]] int32_t ExcessOf(const int8_t* row,
                                                                         int64_t size) {
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i sums = _mm512_setzero_si512();
  for (int64_t k = 0; k < size; k += kVector)
    sums = _mm512_dpbusd_epi32(sums, ones, _mm512_maskz_loadu_epi8(FirstOf(size - k), row + k));
  return 128 * _mm512_reduce_add_epi32(sums);
}

void MultiplyFewRows(const FewRows& product, int64_t begin, int64_t end) {
  const auto& [rows, weight, excess, out, M, N, K] = product;
  for (int64_t n = begin; n < end; n += kBlock) {
    const int64_t columns = std::min(kBlock, end - n);
    const int8_t* block[kBlock];
    for (int64_t i = 0; i < kBlock; ++i) block[i] = weight + (n + std::min(i, columns - 1)) * K;
    const auto wanted = static_cast<uint8_t>((1 << columns) - 1);
    for (int64_t m = 0; m < M; m += kBlock) {
      const int64_t ahead = m == 0 ? kAhead : 0;
      int32_t* to = out + m * N + n;
      switch (std::min(kBlock, M - m)) {
        case 1:
          Block<1>(product, m, block, ahead, to, wanted);
          break;
        case 2:
          Block<2>(product, m, block, ahead, to, wanted);
          break;
        case 3:
          Block<3>(product, m, block, ahead, to, wanted);
          break;
        default:
          Block<4>(product, m, block, ahead, to, wanted);
      }
    }
  }
}

}  // namespace lopt

#else

namespace lopt {

bool MultipliesFewRows() { return false; }
int32_t ExcessOf(const int8_t*, int64_t) { return 0; }
void MultiplyFewRows(const FewRows&, int64_t, int64_t) {}

}  // namespace lopt

#endif
