#include "cmat/data/batch.h"

#include <algorithm>
#include <array>

#include "cmat/core/error.h"

namespace cmat::data {
namespace {

/// v / 255 for each byte: a look-up is faster than a conversion and a division, and rounds alike.
const std::array<float, 256>& unit_values() {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> values{};
    for (std::size_t v = 0; v < values.size(); ++v) values[v] = static_cast<float>(v) / 255.0f;
    return values;
  }();
  return table;
}

/// Where an output image's pixel (0, 0) lies in the original, and whether it is mirrored.
struct Placement {
  std::int64_t top = 0, left = 0;
  bool mirrored = false;
};

Placement draw_placement(const Augmentation& augmentation, const Key& key) {
  Placement placement;
  if (augmentation.crop_padding <= 0 && !augmentation.flip) return placement;
  Random random(key);
  // The flip is drawn first, so that turning the crop on or off leaves it as it is.
  placement.mirrored = (random.bits() & 1) != 0 && augmentation.flip;
  if (augmentation.crop_padding > 0) {
    const auto positions = static_cast<std::uint64_t>(2 * augmentation.crop_padding + 1);
    placement.top = static_cast<std::int64_t>(random.below(positions)) - augmentation.crop_padding;
    placement.left = static_cast<std::int64_t>(random.below(positions)) - augmentation.crop_padding;
  }
  return placement;
}

/// One row of the crop: what lies outside of the original is 0.
void write_row(const std::uint8_t* row, std::int64_t width, const Placement& placement,
               float* out) {
  const auto& table = unit_values();
  const std::int64_t first = std::clamp<std::int64_t>(-placement.left, 0, width);
  const std::int64_t last = std::clamp<std::int64_t>(width - placement.left, first, width);
  std::fill(out, out + first, 0.0f);
  for (std::int64_t x = first; x < last; ++x) out[x] = table[row[x + placement.left]];
  std::fill(out + last, out + width, 0.0f);
  if (placement.mirrored) std::reverse(out, out + width);
}

void write_image(const ImageSet& images, std::int64_t index, const Placement& placement,
                 float* out) {
  const std::uint8_t* plane = images.pixels.data() + index * images.bytes_per_image();
  for (std::int64_t c = 0; c < images.channels; ++c) {
    for (std::int64_t y = 0; y < images.height; ++y, out += images.width) {
      const std::int64_t source = y + placement.top;
      if (source < 0 || source >= images.height) {
        std::fill(out, out + images.width, 0.0f);
      } else {
        write_row(plane + source * images.width, images.width, placement, out);
      }
    }
    plane += images.height * images.width;
  }
}

}  // namespace

Augmentation read_augmentation(Config& config) {
  Augmentation augmentation;
  augmentation.crop_padding = static_cast<int>(config.integer("augment.crop_padding", 0, 0, 64));
  augmentation.flip = config.boolean("augment.flip", false);
  return augmentation;
}

void fill_batch(const ImageSet& images, std::span<const std::int64_t> indices,
                const Augmentation& augmentation, const Key& key, std::span<float> out) {
  const auto values = static_cast<std::size_t>(images.bytes_per_image());
  if (out.size() != indices.size() * values) {
    failure("fill_batch got room for ", out.size(), " values, but ", indices.size(), " images of ",
            values, " values need ", indices.size() * values);
  }
  float* image = out.data();
  for (const std::int64_t index : indices) {
    if (index < 0 || index >= images.size()) {
      failure("fill_batch was asked for image ", index, " of ", images.size());
    }
    const Key own = key.for_sample(static_cast<std::uint64_t>(index)).for_purpose(Purpose::augment);
    write_image(images, index, draw_placement(augmentation, own), image);
    image += values;
  }
}

}  // namespace cmat::data
