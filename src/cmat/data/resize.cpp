#include "cmat/data/resize.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cmat/core/error.h"

namespace cmat::data {
namespace {

/// For each target position the first source position that counts, and the weights from there on.
struct Taps {
  std::vector<std::int64_t> first;
  std::vector<std::vector<float>> weights;
};

/// Positions are of pixel centres. A weight falls linearly to 0 at `reach` source pixels.
Taps make_taps(std::int64_t in, std::int64_t out) {
  Taps taps;
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double reach = std::max(scale, 1.0);
  for (std::int64_t i = 0; i < out; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto first =
        std::max<std::int64_t>(0, static_cast<std::int64_t>(std::ceil(centre - reach - 0.5)));
    const auto last =
        std::min<std::int64_t>(in - 1, static_cast<std::int64_t>(std::floor(centre + reach - 0.5)));
    std::vector<double> weights;
    double sum = 0;
    for (std::int64_t j = first; j <= last; ++j) {
      const double distance = std::abs(static_cast<double>(j) + 0.5 - centre) / reach;
      weights.push_back(std::max(0.0, 1.0 - distance));
      sum += weights.back();
    }
    taps.first.push_back(first);
    taps.weights.emplace_back();
    for (const double weight : weights) {
      taps.weights.back().push_back(static_cast<float>(weight / sum));
    }
  }
  return taps;
}

std::uint8_t to_byte(float value) {
  return static_cast<std::uint8_t>(std::clamp(value + 0.5f, 0.0f, 255.0f));
}

/// A row shrunk or stretched.
void resize_row(const std::uint8_t* in, const Taps& taps, float* out) {
  for (std::size_t x = 0; x < taps.first.size(); ++x) {
    const std::uint8_t* from = in + taps.first[x];
    float sum = 0;
    for (const float weight : taps.weights[x]) sum += weight * static_cast<float>(*from++);
    out[x] = sum;
  }
}

}  // namespace

void resize(std::span<const std::uint8_t> in, std::int64_t channels, std::int64_t in_height,
            std::int64_t in_width, const Box& part, std::int64_t height, std::int64_t width,
            std::span<std::uint8_t> out) {
  if (std::ssize(in) != channels * in_height * in_width ||
      std::ssize(out) != channels * height * width) {
    failure("resize got planes of another size than it was told");
  }
  const Taps down = make_taps(part.height, height), across = make_taps(part.width, width);
  std::vector<float> narrow(static_cast<std::size_t>(part.height * width));
  std::vector<float> sums(static_cast<std::size_t>(width));
  std::uint8_t* target = out.data();
  for (std::int64_t c = 0; c < channels; ++c) {
    const std::uint8_t* plane =
        in.data() + c * in_height * in_width + part.top * in_width + part.left;
    for (std::int64_t y = 0; y < part.height; ++y) {
      resize_row(plane + y * in_width, across, narrow.data() + y * width);
    }
    for (std::size_t y = 0; y < down.first.size(); ++y) {
      std::fill(sums.begin(), sums.end(), 0.0f);
      const float* row = narrow.data() + down.first[y] * width;
      for (const float weight : down.weights[y]) {
        for (std::size_t x = 0; x < sums.size(); ++x) sums[x] += weight * row[x];
        row += width;
      }
      for (const float sum : sums) *target++ = to_byte(sum);
    }
  }
}

Picture resize(const Picture& picture, std::int64_t height, std::int64_t width) {
  if (picture.height == height && picture.width == width) return picture;
  Picture result{.channels = picture.channels, .height = height, .width = width};
  result.pixels.resize(static_cast<std::size_t>(result.channels * height * width));
  resize(picture.pixels, picture.channels, picture.height, picture.width,
         {0, 0, picture.height, picture.width}, height, width, result.pixels);
  return result;
}

Picture resize_shorter_side(const Picture& picture, std::int64_t side) {
  const auto other = [&](std::int64_t longer, std::int64_t shorter) {
    const double length = static_cast<double>(side) * static_cast<double>(longer);
    return std::max<std::int64_t>(side, std::llround(length / static_cast<double>(shorter)));
  };
  const bool tall = picture.height >= picture.width;
  return tall ? resize(picture, other(picture.height, picture.width), side)
              : resize(picture, side, other(picture.width, picture.height));
}

Picture centre_crop(const Picture& picture, std::int64_t size) {
  Picture result{.channels = picture.channels, .height = size, .width = size};
  const std::int64_t top = (picture.height - size) / 2, left = (picture.width - size) / 2;
  for (std::int64_t c = 0; c < picture.channels; ++c) {
    for (std::int64_t y = 0; y < size; ++y) {
      const auto row =
          picture.pixels.begin() + ((c * picture.height + top + y) * picture.width + left);
      result.pixels.insert(result.pixels.end(), row, row + size);
    }
  }
  return result;
}

Picture fit(const Picture& picture, std::int64_t height, std::int64_t width,
            const std::string& how) {
  if (how == "squash" || height != width) return resize(picture, height, width);
  return centre_crop(resize_shorter_side(picture, height), height);
}

}  // namespace cmat::data
