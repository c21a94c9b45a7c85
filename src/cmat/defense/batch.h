// A batch as tensors: the point where 8-bit images become float tensors on the device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "cmat/core/random.h"
#include "cmat/data/batch.h"
#include "cmat/data/loader.h"
#include "cmat/data/stream.h"

namespace cmat::defense {

struct Batch {
  at::Tensor images;                     ///< [n,c,h,w] float32 in [0,1]
  at::Tensor labels;                     ///< [n] int64, labels of the task (0..C-1)
  std::vector<std::int64_t> sample_ids;  ///< indices in the source, which name the random draws
  std::int64_t training_images = 0;      ///< that the task has in all; 0: these are all
};

Batch make_batch(const data::ImageSet& images, const data::Task& task,
                 std::span<const std::int64_t> indices, const data::Augmentation& augmentation,
                 const Key& key, at::Device device);
/// From what a prefetcher filled.
Batch make_batch(const data::ImageSet& images, const data::Task& task,
                 const data::FilledBatch& filled, at::Device device);

}  // namespace cmat::defense
