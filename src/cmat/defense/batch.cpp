#include "cmat/defense/batch.h"

#include <ATen/Functions.h>

namespace cmat::defense {

Batch make_batch(const data::ImageSet& images, const data::Task& task,
                 std::span<const std::int64_t> indices, const data::Augmentation& augmentation,
                 const Key& key, at::Device device) {
  const auto n = static_cast<std::int64_t>(indices.size());
  at::Tensor pixels =
      at::empty({n, images.channels, images.height, images.width}, at::TensorOptions(at::kFloat));
  data::fill_batch(images, indices, augmentation, key,
                   {pixels.data_ptr<float>(), static_cast<std::size_t>(pixels.numel())});
  at::Tensor labels = at::empty({n}, at::TensorOptions(at::kLong));
  auto* label = labels.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < n; ++i) {
    label[i] = task.label_of(
        images.labels[static_cast<std::size_t>(indices[static_cast<std::size_t>(i)])]);
  }
  return {pixels.to(device), labels.to(device), {indices.begin(), indices.end()}};
}

}  // namespace cmat::defense
