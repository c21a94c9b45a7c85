// A split of a data set: labels, and 8-bit images that lie in memory as they lie in the source (so
// that CIFAR-100 takes 184 MB and not 737) or are decoded from files when they are asked for.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cmat/data/picture.h"

namespace cmat::data {

/// Images that are not in ImageSet::pixels. Several threads may read at once. What is read depends
/// on the index alone, whatever is cached.
class ImageReader {
 public:
  virtual ~ImageReader() = default;
  /// Writes image `index` as [channels, height, width] of the set.
  virtual void read(std::int64_t index, std::span<std::uint8_t> pixels) const = 0;
  /// The picture that image `index` is cut from, in its own proportions and with more pixels where
  /// the file has more: what a random resized crop cuts from.
  virtual std::shared_ptr<const Picture> read_larger(std::int64_t index) const = 0;
};

struct ImageSet {
  std::int64_t channels = 0, height = 0, width = 0;
  std::vector<std::uint8_t> pixels;  ///< [n, channels, height, width], row-major; or `reader`
  /// [n], class ids of the source; -1 where the split has no image of this index, because the file
  /// is damaged or belongs to the other split.
  std::vector<std::int32_t> labels;
  std::shared_ptr<const ImageReader> reader{};  ///< null: all images are in `pixels`

  std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
  std::int64_t bytes_per_image() const { return channels * height * width; }
};

/// A data set as published: a training and a test split over the same classes.
struct Source {
  std::string name;
  std::vector<std::string> class_names;
  ImageSet train, test;
};

/// Image `index` of the set, [channels, height, width]: in the set itself, or read into `buffer`.
/// Throws a failure when there is no such image.
std::span<const std::uint8_t> image_pixels(const ImageSet& images, std::int64_t index,
                                           std::vector<std::uint8_t>& buffer);

}  // namespace cmat::data
