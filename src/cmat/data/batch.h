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
  /// Instead of the image take a random part of its picture, of at least this share of the area and
  /// a ratio of sides from 3/4 to 4/3, and resize it (Szegedy et al., 2015); 0: off.
  double random_resized_crop = 0;
  /// Black out a square of this many pixels a side around a random pixel, cut off at the border
  /// (DeVries and Taylor, 2017); 0: off.
  int cutout = 0;
};

/// Reads augment.crop_padding, augment.flip, augment.random_resized_crop and augment.cutout.
Augmentation read_augmentation(Config& config);

/// Writes images[indices] as [n, c, h, w] floats in [0,1] (value/255) to `out`. Each image is
/// augmented by its own key, key.for_sample(index).for_purpose(augment), so the result depends on
/// neither the batch nor its order: flip and padded crop draw at step 0 of it, the resized crop at
/// step 1, cutout at step 2, so that none of them changes what another draws.
void fill_batch(const ImageSet& images, std::span<const std::int64_t> indices,
                const Augmentation& augmentation, const Key& key, std::span<float> out);

}  // namespace cmat::data
