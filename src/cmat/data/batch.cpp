#include "cmat/data/batch.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <vector>

#include "cmat/core/error.h"
#include "cmat/data/resize.h"

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

/// The image [channels, height, width] of the shape of `shape` as floats, where `placement` puts
/// it.
void write_image(const std::uint8_t* plane, const ImageSet& shape, const Placement& placement,
                 float* out) {
  for (std::int64_t c = 0; c < shape.channels; ++c) {
    for (std::int64_t y = 0; y < shape.height; ++y, out += shape.width) {
      const std::int64_t source = y + placement.top;
      if (source < 0 || source >= shape.height) {
        std::fill(out, out + shape.width, 0.0f);
      } else {
        write_row(plane + source * shape.width, shape.width, placement, out);
      }
    }
    plane += shape.height * shape.width;
  }
}

/// A part of a picture with a random share of its area and a random ratio of width to height; where
/// ten of them do not fit, the largest in the middle whose ratio is allowed.
Box draw_part(double min_share, const Key& key, std::int64_t height, std::int64_t width) {
  constexpr int attempts = 10;
  constexpr double narrowest = 3.0 / 4, widest = 4.0 / 3;
  Random random(key);
  const double area = static_cast<double>(height * width);
  for (int i = 0; i < attempts; ++i) {
    const double share = random.uniform(min_share, 1);
    const double ratio = std::exp(random.uniform(std::log(narrowest), std::log(widest)));
    const std::int64_t w = std::llround(std::sqrt(share * area * ratio));
    const std::int64_t h = std::llround(std::sqrt(share * area / ratio));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const auto top = static_cast<std::int64_t>(random.below(std::uint64_t(height - h + 1)));
    const auto left = static_cast<std::int64_t>(random.below(std::uint64_t(width - w + 1)));
    return {top, left, h, w};
  }
  const auto limited = [](std::int64_t length, std::int64_t other, double most) {
    return std::clamp<std::int64_t>(std::llround(static_cast<double>(other) * most), 1, length);
  };
  const std::int64_t w = limited(width, height, widest), h = limited(height, width, 1 / narrowest);
  return {(height - h) / 2, (width - w) / 2, h, w};
}

void cut_out(int side, const Key& key, const ImageSet& shape, float* image) {
  Random random(key);
  const auto height = shape.height, width = shape.width;
  const auto y = static_cast<std::int64_t>(random.below(std::uint64_t(height)));
  const auto x = static_cast<std::int64_t>(random.below(std::uint64_t(width)));
  const std::int64_t top = std::max<std::int64_t>(0, y - side / 2);
  const std::int64_t bottom = std::min<std::int64_t>(height, y - side / 2 + side);
  const std::int64_t left = std::max<std::int64_t>(0, x - side / 2);
  const std::int64_t right = std::min<std::int64_t>(width, x - side / 2 + side);
  for (std::int64_t c = 0; c < shape.channels; ++c, image += height * width) {
    for (std::int64_t row = top; row < bottom; ++row) {
      std::fill(image + row * width + left, image + row * width + right, 0.0f);
    }
  }
}

/// A random part of image `index` in the size of the set.
std::span<const std::uint8_t> random_part(const ImageSet& images, std::int64_t index,
                                          double min_share, const Key& key,
                                          std::vector<std::uint8_t>& buffer) {
  std::vector<std::uint8_t> whole;
  std::shared_ptr<const Picture> picture;
  std::span<const std::uint8_t> pixels;
  std::int64_t height = images.height, width = images.width;
  if (images.reader) {
    picture = images.reader->read_larger(index);
    pixels = picture->pixels;
    height = picture->height;
    width = picture->width;
  } else {
    pixels = image_pixels(images, index, whole);
  }
  buffer.resize(static_cast<std::size_t>(images.bytes_per_image()));
  resize(pixels, images.channels, height, width, draw_part(min_share, key, height, width),
         images.height, images.width, buffer);
  return buffer;
}

}  // namespace

Augmentation read_augmentation(Config& config) {
  Augmentation augmentation;
  augmentation.crop_padding = static_cast<int>(config.integer("augment.crop_padding", 0, 0, 64));
  augmentation.flip = config.boolean("augment.flip", false);
  augmentation.random_resized_crop = config.number("augment.random_resized_crop", 0, 0, 1);
  augmentation.cutout = static_cast<int>(config.integer("augment.cutout", 0, 0, 512));
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
  std::vector<std::uint8_t> buffer;
  for (const std::int64_t index : indices) {
    if (index < 0 || index >= images.size()) {
      failure("fill_batch was asked for image ", index, " of ", images.size());
    }
    const Key own = key.for_sample(static_cast<std::uint64_t>(index)).for_purpose(Purpose::augment);
    const double min_share = augmentation.random_resized_crop;
    const auto pixels = min_share > 0
                            ? random_part(images, index, min_share, own.for_step(1), buffer)
                            : image_pixels(images, index, buffer);
    write_image(pixels.data(), images, draw_placement(augmentation, own), image);
    if (augmentation.cutout > 0) cut_out(augmentation.cutout, own.for_step(2), images, image);
    image += values;
  }
}

}  // namespace cmat::data
