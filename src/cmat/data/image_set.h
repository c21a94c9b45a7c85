// Images in memory: 8-bit, as they lie in the source, so that CIFAR-100 takes 184 MB and not 737.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cmat::data {

struct ImageSet {
  std::int64_t channels = 0, height = 0, width = 0;
  std::vector<std::uint8_t> pixels;  ///< [n, channels, height, width], row-major
  std::vector<std::int32_t> labels;  ///< [n], class ids of the source

  std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
  std::int64_t bytes_per_image() const { return channels * height * width; }
};

/// A data set as published: a training and a test split over the same classes.
struct Source {
  std::string name;
  std::vector<std::string> class_names;
  ImageSet train, test;
};

}  // namespace cmat::data
