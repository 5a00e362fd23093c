#include "attention_head.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "exponential.h"
#include "for_cpus.h"

namespace lopt {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// Queries that are computed together.
constexpr int64_t kRows = 4;

// Numbers of a vector: of AVX-512's, and of other CPUs', which have half as many registers too.
constexpr int64_t kWide = kAttentionLanes;
constexpr int64_t kNarrow = kAttentionLanes / 2;

// Four rows [.., size] of `left` times columns of `right` [size, ..], into four rows of `out`.
struct Product {
  const float* left;
  const float* right;
  float* out;
  int64_t left_stride, right_stride, out_stride, size;
};

template <int64_t kLanes>
struct Kernel {
  using Floats [[gnu::vector_size(kLanes * sizeof(float))]] = float;

  // By reference everywhere: how such a type is returned depends on the CPU.
  [[gnu::always_inline]] static inline void Load(Floats& to, const float* from) {
    std::memcpy(&to, from, sizeof(to));
  }

  [[gnu::always_inline]] static inline void Store(float* to, const Floats& from) {
    std::memcpy(to, &from, sizeof(from));
  }

  struct Two {
    Floats a{}, b{};
  };

  struct Four {
    Floats a{}, b{}, c{}, d{};
  };

  [[gnu::always_inline]] static inline void LoadSome(Four& to, const float* from) {
    Load(to.a, from);
    Load(to.b, from + kLanes);
    Load(to.c, from + 2 * kLanes);
    Load(to.d, from + 3 * kLanes);
  }

  [[gnu::always_inline]] static inline void LoadSome(Two& to, const float* from) {
    Load(to.a, from);
    Load(to.b, from + kLanes);
  }

  [[gnu::always_inline]] static inline void StoreSome(float* to, const Four& from) {
    Store(to, from.a);
    Store(to + kLanes, from.b);
    Store(to + 2 * kLanes, from.c);
    Store(to + 3 * kLanes, from.d);
  }

  [[gnu::always_inline]] static inline void StoreSome(float* to, const Two& from) {
    Store(to, from.a);
    Store(to + kLanes, from.b);
  }

  [[gnu::always_inline]] static inline void Add(Two& sums, float by, const Two& what) {
    sums.a += by * what.a;
    sums.b += by * what.b;
  }

  [[gnu::always_inline]] static inline void Add(Four& sums, float by, const Four& what) {
    sums.a += by * what.a;
    sums.b += by * what.b;
    sums.c += by * what.c;
    sums.d += by * what.d;
  }

  // `Some` is so many vectors of each of the four rows.
  template <class Some>
  [[gnu::always_inline]] static inline void Vectors(const Product& of, int64_t column) {
    Some first;
    Some second;
    Some third;
    Some fourth;
    const float* left = of.left;
    for (int64_t k = 0; k < of.size; ++k) {
      Some some;
      LoadSome(some, of.right + k * of.right_stride + column);
      Add(first, left[k], some);
      Add(second, left[of.left_stride + k], some);
      Add(third, left[2 * of.left_stride + k], some);
      Add(fourth, left[3 * of.left_stride + k], some);
    }
    StoreSome(of.out + column, first);
    StoreSome(of.out + of.out_stride + column, second);
    StoreSome(of.out + 2 * of.out_stride + column, third);
    StoreSome(of.out + 3 * of.out_stride + column, fourth);
  }

  [[gnu::always_inline]] static inline void OneVector(const Product& of, int64_t column) {
    Four sums;
    for (int64_t k = 0; k < of.size; ++k) {
      Floats some;
      Load(some, of.right + k * of.right_stride + column);
      sums.a += of.left[k] * some;
      sums.b += of.left[of.left_stride + k] * some;
      sums.c += of.left[2 * of.left_stride + k] * some;
      sums.d += of.left[3 * of.left_stride + k] * some;
    }
    Store(of.out + column, sums.a);
    Store(of.out + of.out_stride + column, sums.b);
    Store(of.out + 2 * of.out_stride + column, sums.c);
    Store(of.out + 3 * of.out_stride + column, sums.d);
  }

  [[gnu::always_inline]] static inline void Multiply(const Product& of, int64_t columns) {
    int64_t column = 0;
    using Some = std::conditional_t<kLanes == kWide, Four, Two>;
    constexpr int64_t kNumbers = sizeof(Some) / sizeof(float);
    for (; column + kNumbers <= columns; column += kNumbers) Vectors<Some>(of, column);
    for (; column < columns; column += kLanes) OneVector(of, column);
  }

  [[gnu::always_inline]] static inline float Total(const Floats& of) {
    float lanes[kLanes];
    Store(lanes, of);
    for (int64_t half = kLanes / 2; half > 0; half /= 2)
      for (int64_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    return lanes[0];
  }

  [[gnu::always_inline]] static inline float Dot(const float* a, const float* b, int64_t size) {
    Floats sum{};
    for (int64_t i = 0; i < size; i += kLanes) {
      Floats x;
      Floats y;
      Load(x, a + i);
      Load(y, b + i);
      sum += x * y;
    }
    return Total(sum);
  }

  // Scores become what e^score is of the largest one's; those from `keys` on, up to a whole vector,
  // 0. The sum, by which the weights are too large.
  [[gnu::always_inline]] static inline float Exponentials(float* scores, const float* bias,
                                                          int64_t keys, int64_t padded) {
    if (bias != nullptr)
      for (int64_t s = 0; s < keys; ++s) scores[s] += bias[s];
    for (int64_t s = keys; s < padded; ++s) scores[s] = kNever;
    Floats most;
    Load(most, scores);
    for (int64_t s = kLanes; s < padded; s += kLanes) {
      Floats some;
      Load(some, scores + s);
      most = some > most ? some : most;
    }
    float lanes[kLanes];
    Store(lanes, most);
    const float largest = *std::max_element(lanes, lanes + kLanes);
    for (int64_t s = 0; s < padded; ++s) scores[s] = Exponential(scores[s] - largest);
    Floats sum{};
    for (int64_t s = 0; s < padded; s += kLanes) {
      Floats some;
      Load(some, scores + s);
      sum += some;
    }
    return Total(sum);
  }

  [[gnu::always_inline]] static inline int64_t Padded(int64_t count) {
    return (count + kLanes - 1) / kLanes * kLanes;
  }

  [[gnu::always_inline]] static inline const float* BiasOf(const AttentionHead& head,
                                                           int64_t query) {
    return head.bias == nullptr ? nullptr : head.bias + query * head.bias_stride;
  }

  [[gnu::always_inline]] static inline int64_t KeysOf(const AttentionHead& head, int64_t query) {
    return head.causal ? std::min(query + 1, head.Keys()) : head.Keys();
  }

  [[gnu::always_inline]] static inline void Fetch(const float* row, int64_t size) {
    for (int64_t i = 0; i < size; i += kLanes) __builtin_prefetch(row + i);
  }

  // The first `count` of both parts' keys: calls `work` with a part, its row, and which key of all
  // it is.
  template <class Work>
  [[gnu::always_inline]] static inline void ForKeys(const AttentionHead& head, int64_t count,
                                                    Work work) {
    const int64_t shared = std::min(count, head.before.count);
    for (int64_t s = 0; s < shared; ++s) work(head.before, s, s);
    for (int64_t s = 0; s < count - shared; ++s) work(head.own, s, shared + s);
  }

  // Keys and values are read once, as they lie: each is fetched while the one before it is computed
  // with.
  [[gnu::always_inline]] static inline void OneQuery(const AttentionHead& head,
                                                     const AttentionHead& next, int64_t query,
                                                     AttentionScratch& scratch) {
    const float* bias = BiasOf(head, query);
    int64_t keys = KeysOf(head, query);
    if (bias != nullptr)
      while (keys > 1 && bias[keys - 1] == kNever) --keys;
    const int64_t padded = Padded(keys);
    scratch.scores.resize(padded);
    float* scores = scratch.scores.data();
    const float* from = head.query + query * head.query_stride;
    ForKeys(
        head, keys,
        [&](const AttentionKeys& part, int64_t row, int64_t s) __attribute__((always_inline)) {
          Fetch(part.value + row * part.value_stride, head.size);
          scores[s] = head.scale * Dot(from, part.key + row * part.key_stride, head.size);
        });
    const float inverse = 1.0F / Exponentials(scores, bias, keys, padded);
    float* out = head.out + query * head.out_stride;
    for (int64_t i = 0; i < head.size; i += kLanes) {
      Floats sum{};
      ForKeys(
          head, keys,
          [&](const AttentionKeys& part, int64_t row, int64_t s) __attribute__((always_inline)) {
            __builtin_prefetch(next.own.key + s * next.own.key_stride + i);
            Floats value;
            Load(value, part.value + row * part.value_stride + i);
            sum += scores[s] * value;
          });
      Store(out + i, sum * inverse);
    }
  }

  // The part of what a head reads that is to be there when so many of its queries were computed.
  [[gnu::always_inline]] static inline void FetchPart(const AttentionHead& head, int64_t first,
                                                      int64_t count) {
    for (int64_t i = first; i < first + count; ++i)
      Fetch(head.query + i * head.query_stride, head.size);
    const AttentionKeys& own = head.own;
    const int64_t end = own.count * (first + count) / head.queries;
    for (int64_t s = own.count * first / head.queries; s < end; ++s) {
      Fetch(own.key + s * own.key_stride, head.size);
      Fetch(own.value + s * own.value_stride, head.size);
    }
  }

  // Four queries from `first` on, of which the last ones may be none.
  [[gnu::always_inline]] static inline void SomeQueries(const AttentionHead& head,
                                                        const AttentionHead& next, int64_t first,
                                                        AttentionScratch& scratch) {
    const int64_t size = head.size;
    const int64_t padded = Padded(head.Keys());
    const int64_t count = std::min(kRows, head.queries - first);
    float* query = scratch.query.data();
    float* mixed = query + kRows * size;
    float* scores = scratch.scores.data();
    FetchPart(next, first, count);
    for (int64_t i = 0; i < count; ++i)
      for (int64_t j = 0; j < size; ++j)
        query[i * size + j] = head.scale * head.query[(first + i) * head.query_stride + j];
    Multiply({query, scratch.turned.data(), scores, size, padded, padded, size}, padded);
    float inverse[kRows];
    for (int64_t i = 0; i < count; ++i)
      inverse[i] = 1.0F / Exponentials(scores + i * padded, BiasOf(head, first + i),
                                       KeysOf(head, first + i), padded);
    Multiply({scores, scratch.values.data(), mixed, padded, size, size, head.Keys()}, size);
    for (int64_t i = 0; i < count; ++i) {
      float* out = head.out + (first + i) * head.out_stride;
      for (int64_t j = 0; j < size; ++j) out[j] = inverse[i] * mixed[i * size + j];
    }
  }

  // The keys turned, [size, keys up to a whole vector], and the values without gaps.
  [[gnu::always_inline]] static inline void Gather(const AttentionHead& head,
                                                   AttentionScratch& scratch) {
    const int64_t padded = Padded(head.Keys());
    scratch.turned.assign(head.size * padded, 0.0F);
    scratch.values.resize(head.Keys() * head.size);
    float* turned = scratch.turned.data();
    float* values = scratch.values.data();
    ForKeys(
        head, head.Keys(),
        [&](const AttentionKeys& part, int64_t row, int64_t s) __attribute__((always_inline)) {
          const float* key = part.key + row * part.key_stride;
          for (int64_t j = 0; j < head.size; ++j) turned[j * padded + s] = key[j];
          std::memcpy(values + s * head.size, part.value + row * part.value_stride,
                      head.size * sizeof(float));
        });
  }

  [[gnu::always_inline]] static inline void Attend(const AttentionHead& head,
                                                   const AttentionHead& next,
                                                   AttentionScratch& scratch) {
    if (head.queries < kRows) {
      for (int64_t query = 0; query < head.queries; ++query) OneQuery(head, next, query, scratch);
      return;
    }
    Gather(head, scratch);
    scratch.query.assign(2 * kRows * head.size, 0.0F);
    scratch.scores.assign(kRows * Padded(head.Keys()), 0.0F);
    for (int64_t first = 0; first < head.queries; first += kRows)
      SomeQueries(head, next, first, scratch);
  }
};

bool HasWideVectors() {
#if defined(__x86_64__)
  static const bool has = __builtin_cpu_supports("avx512f");
  return has;
#else
  return false;
#endif
}

LOPT_FOR_CPUS
void AttendWide(const AttentionHead& head, const AttentionHead& next, AttentionScratch& scratch) {
  Kernel<kWide>::Attend(head, next, scratch);
}

LOPT_FOR_CPUS
void AttendNarrow(const AttentionHead& head, const AttentionHead& next, AttentionScratch& scratch) {
  Kernel<kNarrow>::Attend(head, next, scratch);
}

}  // namespace

void AttendHead(const AttentionHead& head, const AttentionHead& next, AttentionScratch& scratch) {
  if (HasWideVectors())
    AttendWide(head, next, scratch);
  else
    AttendNarrow(head, next, scratch);
}

}  // namespace lopt
