// Pictures of another size.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "cmat/data/picture.h"

namespace cmat::data {

/// A part of a picture, in whole pixels.
struct Box {
  std::int64_t top = 0, left = 0, height = 0, width = 0;
};

/// The part of the planes [channels, in_height, in_width], resized to out[channels, height, width].
/// Linear interpolation whose triangle is as wide as a target pixel where that is more than a
/// source pixel, so that nothing is skipped when shrinking; nothing outside of the part has a say.
/// Rounds half up, alike on every machine. REQUIRES that the part lies in the picture.
void resize(std::span<const std::uint8_t> in, std::int64_t channels, std::int64_t in_height,
            std::int64_t in_width, const Box& part, std::int64_t height, std::int64_t width,
            std::span<std::uint8_t> out);
Picture resize(const Picture& picture, std::int64_t height, std::int64_t width);

/// With a shorter side of `side` pixels, in its own proportions.
Picture resize_shorter_side(const Picture& picture, std::int64_t side);

/// The size x size pixels in the middle. REQUIRES that no side is shorter.
Picture centre_crop(const Picture& picture, std::int64_t size);

/// How a picture becomes an image of height x width: "squash" resizes both sides; "crop" resizes
/// the shorter side and cuts out the middle (where the image is not square it squashes, too).
Picture fit(const Picture& picture, std::int64_t height, std::int64_t width,
            const std::string& how);

}  // namespace cmat::data
