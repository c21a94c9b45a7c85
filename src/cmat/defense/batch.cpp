#include "cmat/defense/batch.h"

#include <ATen/Functions.h>

#include <algorithm>

namespace cmat::defense {
namespace {

at::Tensor empty_images(const data::ImageSet& images, std::span<const std::int64_t> indices) {
  return at::empty(
      {static_cast<std::int64_t>(indices.size()), images.channels, images.height, images.width},
      at::TensorOptions(at::kFloat));
}

Batch finish(const data::ImageSet& images, const data::Task& task,
             std::span<const std::int64_t> indices, const at::Tensor& pixels, at::Device device) {
  const auto n = static_cast<std::int64_t>(indices.size());
  at::Tensor labels = at::empty({n}, at::TensorOptions(at::kLong));
  auto* label = labels.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < n; ++i) {
    label[i] = task.label_of(
        images.labels[static_cast<std::size_t>(indices[static_cast<std::size_t>(i)])]);
  }
  return {pixels.to(device),
          labels.to(device),
          {indices.begin(), indices.end()},
          static_cast<std::int64_t>(task.train.size())};
}

}  // namespace

Batch make_batch(const data::ImageSet& images, const data::Task& task,
                 std::span<const std::int64_t> indices, const data::Augmentation& augmentation,
                 const Key& key, at::Device device) {
  at::Tensor pixels = empty_images(images, indices);
  data::fill_batch(images, indices, augmentation, key,
                   {pixels.data_ptr<float>(), static_cast<std::size_t>(pixels.numel())});
  return finish(images, task, indices, pixels, device);
}

Batch make_batch(const data::ImageSet& images, const data::Task& task,
                 const data::FilledBatch& filled, at::Device device) {
  at::Tensor pixels = empty_images(images, filled.indices);
  std::copy(filled.pixels.begin(), filled.pixels.end(), pixels.data_ptr<float>());
  return finish(images, task, filled.indices, pixels, device);
}

}  // namespace cmat::defense
