// From 8-bit images to float batches in [0,1], augmented by key.
#pragma once

#include <cstdint>
#include <span>

#include "cmat/core/config.h"
#include "cmat/core/random.h"
#include "cmat/data/image_set.h"

namespace cmat::data {

struct Augmentation {
  int crop_padding = 0;  ///< pad by this many zero pixels on each side, then crop at random; 0: off
  bool flip = false;     ///< mirror left-right with probability 1/2
};

/// Reads augment.crop_padding and augment.flip.
Augmentation read_augmentation(Config& config);

/// Writes images[indices] as [n, c, h, w] floats in [0,1] (value/255) to `out`. Each image is
/// augmented by its own key: key.for_sample(index).for_purpose(augment), so the result depends on
/// neither the batch nor its order.
void fill_batch(const ImageSet& images, std::span<const std::int64_t> indices,
                const Augmentation& augmentation, const Key& key, std::span<float> out);

}  // namespace cmat::data
