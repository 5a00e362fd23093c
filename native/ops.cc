// The ops: one line each. Names and order of arguments are PyTorch's; lib/native.ts types them.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/variable.h>

#include "generator.h"
#include "int8_linear.h"
#include "op.h"

namespace lopt {
namespace {

using at::Device;
using at::Generator;
using at::Scalar;
using at::ScalarType;
using at::Tensor;
using OptionalDims = std::optional<Dims>;
using OptionalInt = std::optional<int64_t>;
using OptionalScalar = std::optional<Scalar>;
using OptionalTensor = std::optional<Tensor>;
using Two = std::tuple<Tensor, Tensor>;
using Three = std::tuple<Tensor, Tensor, Tensor>;

at::TensorOptions Options(ScalarType dtype, Device device) {
  return at::TensorOptions().dtype(dtype).device(device);
}

at::OptionalIntArrayRef Ref(const OptionalDims& dims) {
  return dims ? at::OptionalIntArrayRef(*dims) : at::OptionalIntArrayRef();
}

int64_t ReductionFromName(const std::string& name) {
  if (name == "none") return at::Reduction::None;
  if (name == "mean") return at::Reduction::Mean;
  if (name == "sum") return at::Reduction::Sum;
  throw TypeMistake("Expected reduction to be none, mean or sum but received " + name);
}

Tensor Index(const Tensor& a, const std::vector<OptionalTensor>& indices) {
  c10::List<OptionalTensor> list;
  bool any = false;
  for (const auto& index : indices) {
    any |= index.has_value();
    // A mask is counted and then read again: a copy, that no job changes in between.
    const bool is_mask =
        index && (index->scalar_type() == at::kBool || index->scalar_type() == at::kByte);
    list.push_back(is_mask ? OptionalTensor(index->clone()) : index);
  }
  if (!any) throw RangeMistake("Expected at least one index that is not null");
  return at::index(a, list);
}

// LAPACK writes to the terminal that it met a NaN, and libtorch takes that for a fault of its own.
Tensor Lstsq(const Tensor& a, const Tensor& b) {
  for (const auto& [name, matrix] : {std::pair("a", a), std::pair("b", b)})
    if (matrix.is_cpu() && at::isnan(matrix).any().item<bool>())
      throw RangeMistake(std::string("Expected ") + name + " to be without NaN");
  return std::get<0>(at::linalg_lstsq(a, b));
}

// One line an op, however long.
// clang-format off

void DefineCreation(OpTables& t) {
  t.Pure("zeros", [](const Dims& s, ScalarType y, Device d) { return at::zeros(s, Options(y, d)); });
  t.Pure("ones", [](const Dims& s, ScalarType y, Device d) { return at::ones(s, Options(y, d)); });
  t.Pure("full", [](const Dims& s, const Scalar& v, ScalarType y, Device d) { return at::full(s, v, Options(y, d)); });
  t.Pure("arange", [](const Scalar& start, const Scalar& end, const Scalar& step, ScalarType y, Device d) { return at::arange(start, end, step, Options(y, d)); });
  t.Pure("linspace", [](const Scalar& start, const Scalar& end, int64_t steps, ScalarType y, Device d) { return at::linspace(start, end, steps, Options(y, d)); });
  t.Pure("eye", [](int64_t n, ScalarType y, Device d) { return at::eye(n, Options(y, d)); });
  t.Pure("randn", [](const Dims& s, const Generator& g, ScalarType y) { return at::randn(s, g, Options(y, at::kCPU)); });
  t.Pure("rand", [](const Dims& s, const Generator& g, ScalarType y) { return at::rand(s, g, Options(y, at::kCPU)); });
  t.Pure("exponential", [](const Dims& s, const Generator& g, ScalarType y) { return at::empty(s, Options(y, at::kCPU)).exponential_(1, g); });
  t.Pure("randint", [](int64_t low, int64_t high, const Dims& s, const Generator& g) { return at::randint(low, high, s, g, at::kLong); });
  t.Pure("randperm", [](int64_t n, const Generator& g) { return at::randperm(n, g, at::kLong); });
  t.Pure("multinomial", [](const Tensor& p, int64_t count, bool replacement, const Generator& g) { return at::multinomial(p, count, replacement, g); });
}

void DefineArithmetic(OpTables& t) {
  t.Pure("add", [](const Tensor& a, const Operand& b, const Scalar& alpha) { return at::add(a, b.tensor, alpha); });
  t.Pure("sub", [](const Tensor& a, const Operand& b, const Scalar& alpha) { return at::sub(a, b.tensor, alpha); });
  t.Pure("mul", [](const Tensor& a, const Operand& b) { return at::mul(a, b.tensor); });
  t.Pure("div", [](const Tensor& a, const Operand& b) { return at::div(a, b.tensor); });
  t.Pure("pow", [](const Tensor& a, const Operand& b) { return at::pow(a, b.tensor); });
  t.Pure("remainder", [](const Tensor& a, const Operand& b) { return at::remainder(a, b.tensor); });
  t.Pure("neg", [](const Tensor& a) { return at::neg(a); });
  t.Pure("exp", [](const Tensor& a) { return at::exp(a); });
  t.Pure("log", [](const Tensor& a) { return at::log(a); });
  t.Pure("sqrt", [](const Tensor& a) { return at::sqrt(a); });
  t.Pure("rsqrt", [](const Tensor& a) { return at::rsqrt(a); });
  t.Pure("reciprocal", [](const Tensor& a) { return at::reciprocal(a); });
  t.Pure("square", [](const Tensor& a) { return at::square(a); });
  t.Pure("abs", [](const Tensor& a) { return at::abs(a); });
  t.Pure("sign", [](const Tensor& a) { return at::sign(a); });
  t.Pure("sin", [](const Tensor& a) { return at::sin(a); });
  t.Pure("cos", [](const Tensor& a) { return at::cos(a); });
  t.Pure("erf", [](const Tensor& a) { return at::erf(a); });
  t.Pure("floor", [](const Tensor& a) { return at::floor(a); });
  t.Pure("round", [](const Tensor& a) { return at::round(a); });
  t.Pure("clamp", [](const Tensor& a, const OptionalScalar& min, const OptionalScalar& max) { return at::clamp(a, min, max); });
  t.Pure("minimum", [](const Tensor& a, const Tensor& b) { return at::minimum(a, b); });
  t.Pure("maximum", [](const Tensor& a, const Tensor& b) { return at::maximum(a, b); });
}

void DefineProducts(OpTables& t) {
  t.Pure("matmul", [](const Tensor& a, const Tensor& b) { return at::matmul(a, b); });
  t.Pure("addmm", [](const Tensor& bias, const Tensor& a, const Tensor& b, const Scalar& beta, const Scalar& alpha) { return at::addmm(bias, a, b, beta, alpha); });
  t.Pure("linear", [](const Tensor& a, const Tensor& weight, const OptionalTensor& bias) { return at::linear(a, weight, bias); });
  t.Pure("einsum", [](const std::string& equation, const std::vector<Tensor>& operands) { return at::einsum(equation, operands); });
  t.Pure("svd", [](const Tensor& a, bool full) -> Three { return at::linalg_svd(a, full); });
  t.Pure("lstsq", [](const Tensor& a, const Tensor& b) { return Lstsq(a, b); });
}

void DefineReductions(OpTables& t) {
  t.Pure("sum", [](const Tensor& a, const OptionalDims& dims, bool keepdim) { return at::sum(a, Ref(dims), keepdim); });
  t.Pure("mean", [](const Tensor& a, const OptionalDims& dims, bool keepdim) { return at::mean(a, Ref(dims), keepdim); });
  t.Pure("std", [](const Tensor& a, const OptionalDims& dims, const Scalar& correction, bool keepdim) { return at::std(a, Ref(dims), correction, keepdim); });
  t.Pure("variance", [](const Tensor& a, const OptionalDims& dims, const Scalar& correction, bool keepdim) { return at::var(a, Ref(dims), correction, keepdim); });
  t.Pure("amax", [](const Tensor& a, const Dims& dims, bool keepdim) { return at::amax(a, dims, keepdim); });
  t.Pure("amin", [](const Tensor& a, const Dims& dims, bool keepdim) { return at::amin(a, dims, keepdim); });
  t.Pure("prod", [](const Tensor& a) { return at::prod(a); });
  t.Pure("all", [](const Tensor& a) { return at::all(a); });
  t.Pure("any", [](const Tensor& a) { return at::any(a); });
  t.Pure("cumsum", [](const Tensor& a, int64_t dim) { return at::cumsum(a, dim); });
  t.Pure("logsumexp", [](const Tensor& a, const Dims& dims, bool keepdim) { return at::logsumexp(a, dims, keepdim); });
  t.Pure("norm", [](const Tensor& a, double p, const Dims& dims, bool keepdim) { return at::norm(a, Scalar(p), dims, keepdim); });
  t.Pure("argmax", [](const Tensor& a, const OptionalInt& dim, bool keepdim) { return at::argmax(a, dim, keepdim); });
  t.Pure("argmin", [](const Tensor& a, const OptionalInt& dim, bool keepdim) { return at::argmin(a, dim, keepdim); });
  t.Pure("quantizeRows", [](const Tensor& rows) -> Two { return QuantizeRows(rows); });
  t.Pure("topk", [](const Tensor& a, int64_t k, int64_t dim, bool largest, bool sorted) -> Two { return at::topk(a, k, dim, largest, sorted); });
  t.Pure("sort", [](const Tensor& a, int64_t dim, bool descending, bool stable) -> Two { return at::sort(a, stable, dim, descending); });
}

void DefineShape(OpTables& t) {
  t.Pure("reshape", [](const Tensor& a, const Dims& shape) { return at::reshape(a, shape); });
  t.Pure("view", [](const Tensor& a, const Dims& shape) { return a.view(shape); });
  t.Pure("transpose", [](const Tensor& a, int64_t dim0, int64_t dim1) { return at::transpose(a, dim0, dim1); });
  t.Pure("permute", [](const Tensor& a, const Dims& dims) { return at::permute(a, dims); });
  t.Pure("unsqueeze", [](const Tensor& a, int64_t dim) { return at::unsqueeze(a, dim); });
  t.Pure("squeeze", [](const Tensor& a, const OptionalInt& dim) { return dim ? at::squeeze(a, *dim) : at::squeeze(a); });
  t.Pure("flatten", [](const Tensor& a, int64_t start, int64_t end) { return at::flatten(a, start, end); });
  t.Pure("expand", [](const Tensor& a, const Dims& shape) { return a.expand(shape); });
  t.Pure("repeat", [](const Tensor& a, const Dims& repeats) { return a.repeat(repeats); });
  t.Pure("slice", [](const Tensor& a, int64_t dim, const OptionalInt& start, const OptionalInt& end, int64_t step) { return at::slice(a, dim, start, end, step); });
  t.Pure("select", [](const Tensor& a, int64_t dim, int64_t index) { return at::select(a, dim, index); });
  t.Pure("flip", [](const Tensor& a, const Dims& dims) { return at::flip(a, dims); });
  t.Pure("tril", [](const Tensor& a, int64_t diagonal) { return at::tril(a, diagonal); });
  t.Pure("triu", [](const Tensor& a, int64_t diagonal) { return at::triu(a, diagonal); });
  t.Pure("cat", [](const std::vector<Tensor>& tensors, int64_t dim) { return at::cat(tensors, dim); });
  t.Pure("stack", [](const std::vector<Tensor>& tensors, int64_t dim) { return at::stack(tensors, dim); });
  t.Pure("split", [](const Tensor& a, const Dims& sizes, int64_t dim) { return at::split_with_sizes(a, sizes, dim); });
  t.Pure("contiguous", [](const Tensor& a) { return a.contiguous(); });
  t.Pure("clone", [](const Tensor& a) { return at::clone(a); });
  t.Pure("detach", [](const Tensor& a) { return a.detach(); });
  t.Pure("asParameter", [](const Tensor& a) { return a.detach().set_requires_grad(true); });
  t.Pure("pinMemory", [](const Tensor& a) { return a.pin_memory(); });
  t.Pure("isPinned", [](const Tensor& a) { return a.is_pinned(); });
  t.Pure("to", [](const Tensor& a, const std::optional<ScalarType>& dtype, const std::optional<Device>& device, bool non_blocking) { return a.to(at::TensorOptions().dtype(dtype).device(device), non_blocking); });
}

void DefineIndexing(OpTables& t) {
  t.Pure("gather", [](const Tensor& a, int64_t dim, const Tensor& index) { return at::gather(a, dim, index); });
  t.Pure("scatter", [](const Tensor& a, int64_t dim, const Tensor& index, const Tensor& source) { return at::scatter(a, dim, index, source); });
  t.Pure("indexSelect", [](const Tensor& a, int64_t dim, const Tensor& index) { return at::index_select(a, dim, index); });
  t.Pure("index", [](const Tensor& a, const std::vector<OptionalTensor>& indices) { return Index(a, indices); });
  t.Pure("maskedFill", [](const Tensor& a, const Tensor& mask, const Scalar& value) { return at::masked_fill(a, mask, value); });
  t.Pure("where", [](const Tensor& condition, const Operand& a, const Operand& b) { return at::where(condition, a.tensor, b.tensor); });
  t.Pure("embedding", [](const Tensor& weight, const Tensor& ids) { return at::embedding(weight, ids); });
  t.Pure("nonzero", [](const Tensor& a) { return at::nonzero(a.clone()); });
}

void DefineComparisons(OpTables& t) {
  t.Pure("eq", [](const Tensor& a, const Operand& b) { return at::eq(a, b.tensor); });
  t.Pure("ne", [](const Tensor& a, const Operand& b) { return at::ne(a, b.tensor); });
  t.Pure("lt", [](const Tensor& a, const Operand& b) { return at::lt(a, b.tensor); });
  t.Pure("le", [](const Tensor& a, const Operand& b) { return at::le(a, b.tensor); });
  t.Pure("gt", [](const Tensor& a, const Operand& b) { return at::gt(a, b.tensor); });
  t.Pure("ge", [](const Tensor& a, const Operand& b) { return at::ge(a, b.tensor); });
  t.Pure("logicalAnd", [](const Tensor& a, const Tensor& b) { return at::logical_and(a, b); });
  t.Pure("logicalOr", [](const Tensor& a, const Tensor& b) { return at::logical_or(a, b); });
  t.Pure("logicalNot", [](const Tensor& a) { return at::logical_not(a); });
  t.Pure("isfinite", [](const Tensor& a) { return at::isfinite(a); });
  t.Pure("isnan", [](const Tensor& a) { return at::isnan(a); });
  t.Pure("equal", [](const Tensor& a, const Tensor& b) { return at::equal(a, b); });
  t.Pure("allclose", [](const Tensor& a, const Tensor& b, double rtol, double atol, bool equal_nan) { return at::allclose(a, b, rtol, atol, equal_nan); });
}

void DefineNetwork(OpTables& t) {
  t.Pure("relu", [](const Tensor& a) { return at::relu(a); });
  t.Pure("gelu", [](const Tensor& a, const std::string& approximate) { return at::gelu(a, approximate); });
  t.Pure("tanh", [](const Tensor& a) { return at::tanh(a); });
  t.Pure("sigmoid", [](const Tensor& a) { return at::sigmoid(a); });
  t.Pure("silu", [](const Tensor& a) { return at::silu(a); });
  t.Pure("softshrink", [](const Tensor& a, double lambda) { return at::softshrink(a, lambda); });
  t.Pure("softmax", [](const Tensor& a, int64_t dim) { return at::softmax(a, dim); });
  t.Pure("logSoftmax", [](const Tensor& a, int64_t dim) { return at::log_softmax(a, dim); });
  t.Pure("layerNorm", [](const Tensor& a, const Dims& shape, const OptionalTensor& weight, const OptionalTensor& bias, double eps) { return at::layer_norm(a, shape, weight, bias, eps); });
  t.Pure("rmsNorm", [](const Tensor& a, const Dims& shape, const OptionalTensor& weight, double eps) { return at::rms_norm(a, shape, weight, eps); });
  t.Pure("scaledDotProductAttention", [](const Tensor& query, const Tensor& key, const Tensor& value, const OptionalTensor& mask, bool is_causal, const std::optional<double>& scale) { return at::scaled_dot_product_attention(query, key, value, mask, 0.0, is_causal, scale); });
  t.Pure("crossEntropy", [](const Tensor& logits, const Tensor& target, const OptionalTensor& weight, const std::string& reduction, int64_t ignore_index, double label_smoothing) { return at::cross_entropy_loss(logits, target, weight, ReductionFromName(reduction), ignore_index, label_smoothing); });
}

void DefineInPlace(OpTables& t) {
  t.Job("copy_", [](const Tensor& a, const Tensor& source) { at::NoGradGuard no_grad; a.copy_(source); });
  t.Job("fill_", [](const Tensor& a, const Scalar& value) { at::NoGradGuard no_grad; a.fill_(value); });
  t.Job("add_", [](const Tensor& a, const Operand& b, const Scalar& alpha) { at::NoGradGuard no_grad; a.add_(b.tensor, alpha); });
  t.Job("mul_", [](const Tensor& a, const Operand& b) { at::NoGradGuard no_grad; a.mul_(b.tensor); });
}

// clang-format on

}  // namespace

void DefineOps(OpTables& tables) {
  DefineCreation(tables);
  DefineArithmetic(tables);
  DefineProducts(tables);
  DefineReductions(tables);
  DefineShape(tables);
  DefineIndexing(tables);
  DefineComparisons(tables);
  DefineNetwork(tables);
  DefineInPlace(tables);
}

}  // namespace lopt
