#include "cmat/data/statistics.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "cmat/core/error.h"

namespace cmat::data {
namespace {

using Histogram = std::array<std::int64_t, 256>;

void count_image(const ImageSet& images, std::int64_t index, std::vector<Histogram>& histograms) {
  const std::int64_t plane = images.height * images.width;
  std::vector<std::uint8_t> buffer;
  const std::uint8_t* pixel = image_pixels(images, index, buffer).data();
  for (Histogram& histogram : histograms) {
    for (std::int64_t i = 0; i < plane; ++i) ++histogram[*pixel++];
  }
}

}  // namespace

ChannelStatistics channel_statistics(const ImageSet& images) {
  std::vector<std::int64_t> all;
  for (std::int64_t i = 0; i < images.size(); ++i) {
    if (images.labels[static_cast<std::size_t>(i)] >= 0) all.push_back(i);
  }
  return channel_statistics(images, all);
}

ChannelStatistics channel_statistics(const ImageSet& images,
                                     std::span<const std::int64_t> indices) {
  std::vector<Histogram> histograms(static_cast<std::size_t>(images.channels), Histogram{});
  for (const std::int64_t index : indices) {
    if (index < 0 || index >= images.size()) {
      failure("channel_statistics was asked for image ", index, " of ", images.size());
    }
    count_image(images, index, histograms);
  }
  const double pixels =
      static_cast<double>(indices.size()) * static_cast<double>(images.height * images.width);
  if (pixels == 0) failure("there is no mean of no images");

  ChannelStatistics result;
  for (const Histogram& histogram : histograms) {
    // Integer sums are exact for up to 2^64 / 255^2 pixels; only the last steps round.
    std::uint64_t sum = 0, squares = 0;
    for (std::uint64_t value = 0; value < histogram.size(); ++value) {
      const auto count = static_cast<std::uint64_t>(histogram[value]);
      sum += count * value;
      squares += count * value * value;
    }
    const double mean = static_cast<double>(sum) / pixels;
    const double variance = static_cast<double>(squares) / pixels - mean * mean;
    result.mean.push_back(mean / 255.0);
    result.deviation.push_back(std::sqrt(std::max(variance, 0.0)) / 255.0);
  }
  return result;
}

std::vector<std::int64_t> images_per_class(const ImageSet& images, std::int64_t classes) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(classes), 0);
  for (const std::int32_t label : images.labels) {
    if (label >= 0) ++counts.at(static_cast<std::size_t>(label));
  }
  return counts;
}

}  // namespace cmat::data
