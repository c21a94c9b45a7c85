// What a set of images looks like in numbers: the mean and deviation that normalise a network's
// input.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cmat/data/image_set.h"

namespace cmat::data {

struct ChannelStatistics {
  std::vector<double> mean;       ///< one a channel, of pixel values in [0,1]
  std::vector<double> deviation;  ///< population standard deviation over all pixels
};

/// Exact up to one rounding (pixels are counted, not summed), so the same on every machine.
ChannelStatistics channel_statistics(const ImageSet& images);
ChannelStatistics channel_statistics(const ImageSet& images, std::span<const std::int64_t> indices);

/// How many images each class has: [classes].
std::vector<std::int64_t> images_per_class(const ImageSet& images, std::int64_t classes);

}  // namespace cmat::data
