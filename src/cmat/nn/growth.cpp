#include "cmat/nn/growth.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "cmat/core/error.h"

namespace cmat::nn {
namespace {

void copy_corner(const NamedTensor& from, const NamedTensor& to) {
  if (from.name != to.name || from.tensor.dim() != to.tensor.dim()) {
    failure("the wider network has ", to.name, " where the narrower one has ", from.name);
  }
  const at::Tensor wide = to.tensor.detach();
  leading_corner(wide, from.tensor.sizes()).copy_(from.tensor.detach());
  if (wide.dim() < 2) return;
  const std::int64_t inputs = from.tensor.size(1);
  wide.narrow(0, 0, from.tensor.size(0)).narrow(1, inputs, wide.size(1) - inputs).zero_();
}

}  // namespace

at::Tensor leading_corner(const at::Tensor& tensor, at::IntArrayRef sizes) {
  at::Tensor corner = tensor;
  for (std::int64_t d = 0; d < tensor.dim(); ++d) {
    corner = corner.narrow(d, 0, std::min(corner.size(d), sizes[static_cast<std::size_t>(d)]));
  }
  return corner;
}

void transplant(const Network& narrow, Network& wide) {
  const at::NoGradGuard no_grad;
  const auto copy_all = [](const std::vector<NamedTensor>& from,
                           const std::vector<NamedTensor>& to) {
    if (from.size() != to.size()) failure("the wider network has other layers");
    for (std::size_t i = 0; i < from.size(); ++i) copy_corner(from[i], to[i]);
  };
  copy_all(narrow.parameters(), wide.parameters());
  copy_all(narrow.buffers(), wide.buffers());
}

}  // namespace cmat::nn
