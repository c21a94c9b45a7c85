#include "cmat/data/resize.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "data/helpers.h"
#include "golden_file.h"

namespace cmat::data {
namespace {

Picture noise(std::int64_t channels, std::int64_t height, std::int64_t width) {
  Picture picture{.channels = channels, .height = height, .width = width};
  std::mt19937 random(7);
  for (std::int64_t i = 0; i < channels * height * width; ++i) {
    picture.pixels.push_back(static_cast<std::uint8_t>(random()));
  }
  return picture;
}

/// The weight of a source pixel for a target pixel, straight from the definition.
double weight(std::int64_t source, std::int64_t target, std::int64_t in, std::int64_t out) {
  const double scale = double(in) / double(out), reach = std::max(1.0, scale);
  const double distance = (double(source) + 0.5) - (double(target) + 0.5) * scale;
  return std::max(0.0, 1 - std::abs(distance) / reach);
}

/// Every source pixel for every target pixel.
Picture slow_resize(const Picture& in, std::int64_t height, std::int64_t width) {
  Picture out{.channels = in.channels, .height = height, .width = width};
  for (std::int64_t c = 0; c < in.channels; ++c) {
    for (std::int64_t y = 0; y < height; ++y) {
      for (std::int64_t x = 0; x < width; ++x) {
        double sum = 0, weights = 0;
        for (std::int64_t v = 0; v < in.height; ++v) {
          for (std::int64_t u = 0; u < in.width; ++u) {
            const double w = weight(v, y, in.height, height) * weight(u, x, in.width, width);
            weights += w;
            sum += w * in.pixels[std::size_t((c * in.height + v) * in.width + u)];
          }
        }
        out.pixels.push_back(static_cast<std::uint8_t>(std::floor(sum / weights + 0.5)));
      }
    }
  }
  return out;
}

int largest_difference(const Picture& a, const Picture& b) {
  EXPECT_EQ(a.pixels.size(), b.pixels.size());
  int largest = 0;
  for (std::size_t i = 0; i < std::min(a.pixels.size(), b.pixels.size()); ++i) {
    largest = std::max(largest, std::abs(int(a.pixels[i]) - int(b.pixels[i])));
  }
  return largest;
}

TEST(Resize, AgreesWithTheDefinition) {
  const Picture picture = noise(2, 13, 17);
  for (const auto& [height, width] :
       {std::pair(5, 6), std::pair(13, 4), std::pair(30, 17), std::pair(1, 1), std::pair(26, 3)}) {
    SCOPED_TRACE(height);
    const Picture fast = resize(picture, height, width);
    EXPECT_EQ(fast.height, height);
    EXPECT_EQ(fast.width, width);
    EXPECT_LE(largest_difference(fast, slow_resize(picture, height, width)), 1);
  }
}

TEST(Resize, LeavesTheSameSizeAndOneColourAlone) {
  const Picture picture = noise(3, 9, 7);
  EXPECT_EQ(resize(picture, 9, 7).pixels, picture.pixels);
  const Picture grey{
      .channels = 1, .height = 50, .width = 3, .pixels = std::vector<std::uint8_t>(150, 77)};
  EXPECT_EQ(resize(grey, 7, 9).pixels, std::vector<std::uint8_t>(63, 77));
}

TEST(Resize, SeesNothingOutsideOfThePart) {
  Picture picture = noise(1, 12, 12), blackened = picture;
  const Box part{3, 2, 5, 7};
  for (std::int64_t y = 0; y < 12; ++y) {
    for (std::int64_t x = 0; x < 12; ++x) {
      const bool inside = y >= 3 && y < 8 && x >= 2 && x < 9;
      if (!inside) blackened.pixels[std::size_t(y * 12 + x)] = 0;
    }
  }
  std::vector<std::uint8_t> a(16), b(16);
  resize(picture.pixels, 1, 12, 12, part, 4, 4, a);
  resize(blackened.pixels, 1, 12, 12, part, 4, 4, b);
  EXPECT_EQ(a, b);
}

TEST(ResizeGolden, AgreesWithPillow) {
  std::ifstream file(test::source_dir() / "tests/golden/resize.json");
  const auto golden = nlohmann::json::parse(file);
  for (const auto& each : golden.at("cases")) {
    const Picture picture{.channels = 1,
                          .height = each.at("in_height"),
                          .width = each.at("in_width"),
                          .pixels = each.at("in")};
    const Picture expected{.channels = 1,
                           .height = each.at("height"),
                           .width = each.at("width"),
                           .pixels = each.at("out")};
    // That program rounds between the two directions.
    EXPECT_LE(largest_difference(resize(picture, expected.height, expected.width), expected), 1);
  }
}

TEST(Resize, KeepsProportions) {
  const auto size = [](std::int64_t height, std::int64_t width) {
    const Picture made =
        resize_shorter_side({.channels = 1,
                             .height = height,
                             .width = width,
                             .pixels = std::vector<std::uint8_t>(std::size_t(height * width))},
                            8);
    return std::pair(made.height, made.width);
  };
  EXPECT_EQ(size(16, 16), std::pair(8L, 8L));
  EXPECT_EQ(size(4, 6), std::pair(8L, 12L));
  EXPECT_EQ(size(100, 9), std::pair(89L, 8L));
  EXPECT_EQ(size(9, 100), std::pair(8L, 89L));
}

TEST(Resize, CutsOutTheMiddle) {
  Picture picture{.channels = 2, .height = 4, .width = 5};
  for (int i = 0; i < 40; ++i) picture.pixels.push_back(static_cast<std::uint8_t>(i));
  EXPECT_EQ(centre_crop(picture, 2).pixels,
            (std::vector<std::uint8_t>{6, 7, 11, 12, 26, 27, 31, 32}));
}

}  // namespace
}  // namespace cmat::data
