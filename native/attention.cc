// Attention of int8 models, in float32: few queries a row, or short rows, which libtorch's kernel
// cuts into products too small for a library. What it does not take goes to libtorch's.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "attention_head.h"
#include "parallel.h"

namespace lopt {
namespace {

using at::Tensor;

// Multiplications that are worth another thread.
constexpr int64_t kWorkOfAThread = 1 << 15;

bool IsPlain(const Tensor& heads) {
  return heads.dim() == 4 && heads.scalar_type() == at::kFloat && heads.stride(3) == 1 &&
         heads.size(3) % kAttentionLanes == 0 && !heads.is_neg();
}

struct Heads {
  const float* data;
  int64_t batch, head, row;  // strides
};

Heads HeadsOf(const Tensor& heads) {
  return {heads.const_data_ptr<float>(), heads.size(0) == 1 ? 0 : heads.stride(0), heads.stride(1),
          heads.stride(2)};
}

// Keys and values, and how many of them a row has.
struct Part {
  Heads key, value;
  int64_t count = 0;

  AttentionKeys Of(int64_t row, int64_t head, int64_t own) const {
    return {.key = key.data + row * key.batch + head * key.head,
            .value = value.data + row * value.batch + head * value.head,
            .key_stride = key.row,
            .value_stride = value.row,
            .count = own};
  }
};

Part PartOf(const Tensor& key, const Tensor& value) {
  return {HeadsOf(key), HeadsOf(value), key.size(2)};
}

// Keys and values before the rows' own: row b's are those of `owners[b]`, or as many rows in turn
// stand behind each.
struct Before {
  Tensor key, value;  // [M, heads, P, D]
  const int64_t* owners = nullptr;

  int64_t OwnerOf(int64_t row, int64_t rows) const {
    return owners == nullptr ? row / (rows / key.size(0)) : owners[row];
  }
};

// Strides are 0 where it is the same for all.
struct Bias {
  const float* data = nullptr;
  int64_t batch = 0, head = 0, query = 0;
};

Bias BiasOf(const Tensor& bias) {
  const auto stride = [&](int64_t dim) { return bias.size(dim) == 1 ? 0 : bias.stride(dim); };
  return {bias.const_data_ptr<float>(), stride(0), stride(1), stride(2)};
}

// libtorch's, [B, heads, Q, D] -> [B, Q, heads * D].
Tensor PlainAttention(const Tensor& query, const Tensor& key, const Tensor& value,
                      const std::optional<Tensor>& bias, bool causal, double scale) {
  const auto shape = query.sizes();
  const std::vector<int64_t> all = {shape[0], key.size(1), key.size(2), key.size(3)};
  const Tensor mixed = at::scaled_dot_product_attention(query, key.expand(all), value.expand(all),
                                                        bias, 0.0, causal, scale);
  return mixed.transpose(1, 2).flatten(2);
}

// query [B, heads, Q, D], key and value [B or 1, heads, S, D], bias [B or 1, heads or 1, Q or 1, at
// least all keys], added to the scores -> [B, Q, heads * D]. `lengths` [B]: how many keys a row
// has.
Tensor Attend(const Tensor& query, const Before* before, const Tensor& key, const Tensor& value,
              const std::optional<Tensor>& bias, const int64_t* lengths, bool causal,
              double scale) {
  const int64_t B = query.size(0);
  const int64_t H = query.size(1);
  const int64_t Q = query.size(2);
  const int64_t D = query.size(3);
  Tensor out = at::empty({B, Q, H * D}, query.options());
  const Heads of_query = HeadsOf(query);
  const Part shared = before == nullptr ? Part{} : PartOf(before->key, before->value);
  const Part own = PartOf(key, value);
  const Bias of_bias = bias ? BiasOf(*bias) : Bias{};
  auto* to = out.mutable_data_ptr<float>();
  const auto head = [&](int64_t i) {
    const int64_t b = i / H;
    const int64_t h = i % H;
    return AttentionHead{
        .query = of_query.data + b * of_query.batch + h * of_query.head,
        .before =
            before == nullptr ? AttentionKeys{} : shared.Of(before->OwnerOf(b, B), h, shared.count),
        .own = own.Of(b, h, lengths == nullptr ? own.count : lengths[b]),
        .bias =
            of_bias.data == nullptr ? nullptr : of_bias.data + b * of_bias.batch + h * of_bias.head,
        .out = to + b * Q * H * D + h * D,
        .query_stride = of_query.row,
        .bias_stride = of_bias.query,
        .out_stride = H * D,
        .queries = Q,
        .size = D,
        .scale = static_cast<float>(scale),
        .causal = causal};
  };
  const int64_t work = Q * (shared.count + own.count) * D;
  const int64_t least = std::max<int64_t>(1, kWorkOfAThread / std::max<int64_t>(1, work));
  ParallelFor(B * H, least, [&](int64_t begin, int64_t end) {
    AttentionScratch scratch;
    for (int64_t i = begin; i < end; ++i)
      AttendHead(head(i), head(std::min(i + 1, end - 1)), scratch);
  });
  return out;
}

void CheckShapes(const Tensor& query, const Tensor& key, const Tensor& value,
                 const std::optional<Tensor>& bias) {
  TORCH_CHECK(query.dim() == 4 && key.dim() == 4 && value.sizes() == key.sizes() &&
                  query.size(1) == key.size(1) && query.size(3) == key.size(3) &&
                  (key.size(0) == 1 || key.size(0) >= query.size(0)),
              "attention: ", query.sizes(), " x ", key.sizes(), " x ", value.sizes(),
              " do not align");
  const auto is_one_or = [](int64_t size, int64_t all) { return size == 1 || size == all; };
  TORCH_CHECK(
      !bias || (bias->dim() == 4 && is_one_or(bias->size(0), query.size(0)) &&
                is_one_or(bias->size(1), query.size(1)) && is_one_or(bias->size(2), query.size(2))),
      "attention: a bias of another shape");
}

// Its keys without gaps between them: what broadcasting made may lie in any order.
std::optional<Tensor> Dense(const std::optional<Tensor>& bias) {
  return bias && bias->stride(3) != 1 ? bias->contiguous() : bias;
}

bool Takes(const Tensor& query, const Tensor& key, const Tensor& value,
           const std::optional<Tensor>& bias) {
  return IsPlain(query) && IsPlain(key) && IsPlain(value) &&
         (!bias || bias->scalar_type() == at::kFloat);
}

Tensor Attention(const Tensor& query, const Tensor& key, const Tensor& value,
                 const std::optional<Tensor>& bias, bool causal, double scale) {
  CheckShapes(query, key, value, bias);
  TORCH_CHECK(!bias || bias->size(3) == key.size(2), "attention: a bias for other keys");
  if (!Takes(query, key, value, bias))
    return PlainAttention(query, key, value, bias, causal, scale);
  return Attend(query, nullptr, key, value, Dense(bias), nullptr, causal, scale);
}

// Keys or values [M, heads, P, D] and the rows' own [B, heads, S, D] -> [B, heads, P + S, D].
Tensor Joined(const Tensor& before, const std::optional<Tensor>& owners, const Tensor& own) {
  const Tensor of_rows = owners ? before.index_select(0, *owners)
                                : before.repeat_interleave(own.size(0) / before.size(0), 0);
  return at::cat({of_rows, own}, 2);
}

void CheckBefore(const Tensor& query, const Tensor& past_key, const Tensor& past_value,
                 const std::optional<Tensor>& owners, const std::optional<Tensor>& bias,
                 int64_t keys) {
  const int64_t B = query.size(0);
  TORCH_CHECK(past_key.dim() == 4 && past_value.sizes() == past_key.sizes() &&
                  past_key.size(0) > 0 && past_key.size(1) == query.size(1) &&
                  past_key.size(3) == query.size(3) && (owners || B % past_key.size(0) == 0),
              "attention_behind: ", query.sizes(), " behind ", past_key.sizes(), " do not align");
  TORCH_CHECK(!bias || bias->size(3) == past_key.size(2) + keys,
              "attention_behind: a bias for other keys");
  if (!owners) return;
  TORCH_CHECK(owners->scalar_type() == at::kLong && owners->is_contiguous() && owners->numel() == B,
              "attention_behind: owners ", owners->sizes(), " of ", B, " rows");
  const auto* of = owners->const_data_ptr<int64_t>();
  TORCH_CHECK(std::all_of(of, of + B, [&](int64_t i) { return i >= 0 && i < past_key.size(0); }),
              "attention_behind: an owner that is not there");
}

// As Attention, of rows behind keys and values [M, heads, P, D] that several share, which are read
// where they lie. owners int64 [B]: whose a row stands behind; none: as many rows in turn behind
// each. bias [.., P + S].
Tensor AttentionBehind(const Tensor& query, const Tensor& past_key, const Tensor& past_value,
                       const std::optional<Tensor>& owners, const Tensor& key, const Tensor& value,
                       const std::optional<Tensor>& bias, double scale) {
  CheckShapes(query, key, value, bias);
  CheckBefore(query, past_key, past_value, owners, bias, key.size(2));
  if (!Takes(query, key, value, bias) || !IsPlain(past_key) || !IsPlain(past_value))
    return PlainAttention(query, Joined(past_key, owners, key), Joined(past_value, owners, value),
                          bias, false, scale);
  const Before before{past_key, past_value, owners ? owners->const_data_ptr<int64_t>() : nullptr};
  return Attend(query, &before, key, value, Dense(bias), nullptr, false, scale);
}

// Puts a row's newest [heads, D] behind what it has in its slot [heads, capacity, D].
void Write(const Tensor& cache, const Tensor& now, const int64_t* lengths) {
  for (int64_t b = 0; b < now.size(0); ++b)
    cache.select(0, b).select(1, lengths[b]).copy_(now.select(0, b).select(1, 0));
}

void WriteHeads(const Tensor& cache, const Tensor& now, const int64_t* lengths) {
  if (!IsPlain(cache) || !IsPlain(now)) return Write(cache, now, lengths);
  const Heads from = HeadsOf(now);
  auto* to = cache.mutable_data_ptr<float>();
  const int64_t D = now.size(3);
  for (int64_t b = 0; b < now.size(0); ++b)
    for (int64_t h = 0; h < now.size(1); ++h) {
      const auto* row = from.data + b * now.stride(0) + h * from.head;
      std::copy(row, row + D,
                to + b * cache.stride(0) + h * cache.stride(1) + lengths[b] * cache.stride(2));
    }
}

// A step of decoding: query, key and value [B, heads, 1, D] of each row's newest token, the caches
// [slots, heads, capacity, D], row b's slot being b, int64 lengths [B] of what each has in its
// slot. The newest key and value are put behind them; no slot is read further. bias [B or 1, heads
// or 1, 1, read]: more than any row has -> [B, 1, heads * D].
Tensor AttendSlots(const Tensor& query, const Tensor& key, const Tensor& value,
                   const Tensor& key_cache, const Tensor& value_cache, const Tensor& lengths,
                   const Tensor& bias, double scale) {
  CheckShapes(query, key_cache, value_cache, bias);
  const int64_t B = query.size(0);
  TORCH_CHECK(query.size(2) == 1 && key.sizes() == query.sizes() &&
                  value.sizes() == query.sizes() && key_cache.size(0) >= B &&
                  lengths.scalar_type() == at::kLong && lengths.is_contiguous() &&
                  lengths.numel() == B,
              "attend_slots: ", query.sizes(), " with slots ", key_cache.sizes(), " do not align");
  const auto* before = lengths.const_data_ptr<int64_t>();
  std::vector<int64_t> own(before, before + B);
  const int64_t read = bias.size(3);
  for (auto& length : own) {
    TORCH_CHECK(length >= 0 && length < read && read <= key_cache.size(2),
                "attend_slots: a row has ", length, " keys, and ", read, " are read");
    ++length;
  }
  WriteHeads(key_cache, key, before);
  WriteHeads(value_cache, value, before);
  const Tensor keys = key_cache.slice(0, 0, B).slice(2, 0, read);
  const Tensor values = value_cache.slice(0, 0, B).slice(2, 0, read);
  if (!Takes(query, keys, values, bias))
    return PlainAttention(query, keys, values, bias, false, scale);
  return Attend(query, nullptr, keys, values, Dense(bias), own.data(), false, scale);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(lopt, library) {
  library.def(
      "attention(Tensor query, Tensor key, Tensor value, Tensor? bias, bool causal, float scale) "
      "-> "
      "Tensor");
  library.def(
      "attention_behind(Tensor query, Tensor past_key, Tensor past_value, Tensor? owners, Tensor "
      "key, Tensor value, Tensor? bias, float scale) -> Tensor");
  library.def(
      "attend_slots(Tensor query, Tensor key, Tensor value, Tensor(a!) key_cache, Tensor(b!) "
      "value_cache, Tensor lengths, Tensor bias, float scale) -> Tensor");
}

TORCH_LIBRARY_IMPL(lopt, CPU, library) {
  library.impl("attention", &Attention);
  library.impl("attention_behind", &AttentionBehind);
  library.impl("attend_slots", &AttendSlots);
}

}  // namespace lopt
