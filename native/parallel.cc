// `at::parallel_for` is a plain loop in code that is compiled without OpenMP, and with it the addon
// might load a second OpenMP beside libtorch's, with threads of its own. What libtorch does with
// each number of a tensor runs on its threads wherever it is called from.
#include "parallel.h"

#include <ATen/ATen.h>
#include <ATen/TensorIterator.h>

#include <algorithm>

namespace lopt {

void ParallelFor(int64_t count, int64_t least,
                 c10::function_ref<void(int64_t begin, int64_t end)> function) {
  if (count <= 0) return;
  if (count <= least) return function(0, count);
  at::Tensor places = at::empty({count}, at::kChar);  // they are counted, not touched
  const auto* first = static_cast<const char*>(places.const_data_ptr());
  auto iterator = at::TensorIterator::nullary_op(places);
  iterator.for_each(
      [&](char** data, const int64_t*, int64_t size) {
        const int64_t begin = data[0] - first;
        function(begin, begin + size);
      },
      std::max<int64_t>(1, least));
}

}  // namespace lopt
