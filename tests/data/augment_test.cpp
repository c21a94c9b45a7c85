// Random resized crop and cutout; flip and padded crop are in batch_test.cpp.
#include <cmath>
#include <set>

#include "cmat/data/batch.h"
#include "data/helpers.h"

namespace cmat::data {
namespace {

constexpr std::int64_t side = 32;

/// Channel 0 tells the column, channel 1 the row: value 8 times the position, so that a resized
/// part says where it was taken from.
ImageSet map_images(std::int64_t count) {
  ImageSet set{.channels = 2, .height = side, .width = side, .pixels = {}, .labels = {}};
  for (std::int64_t i = 0; i < count; ++i) {
    set.labels.push_back(0);
    for (int c = 0; c < 2; ++c) {
      for (std::int64_t y = 0; y < side; ++y) {
        for (std::int64_t x = 0; x < side; ++x) {
          set.pixels.push_back(static_cast<std::uint8_t>(8 * (c == 0 ? x : y)));
        }
      }
    }
  }
  return set;
}

std::vector<float> filled(const ImageSet& set, std::int64_t index, const Augmentation& how,
                          std::uint64_t seed = 1) {
  std::vector<float> out(static_cast<std::size_t>(set.bytes_per_image()));
  Key key;
  key.seed = seed;
  fill_batch(set, std::vector{index}, how, key, out);
  return out;
}

/// Length of the part that was taken, along one channel's direction, from the slope in the middle.
double extent(const std::vector<float>& image, bool vertical) {
  const auto at = [&](std::int64_t i) {
    const std::int64_t place = vertical ? side * side + i * side + side / 2 : side / 2 * side + i;
    return static_cast<double>(image[static_cast<std::size_t>(place)]) * 255 / 8;
  };
  return std::abs(at(3 * side / 4) - at(side / 4)) * 2;
}

TEST(RandomResizedCrop, TakesPartsOfTheAllowedAreaAndRatio) {
  const ImageSet set = map_images(400);
  double smallest = 1, largest = 0, flattest = 1, tallest = 1;
  for (std::int64_t i = 0; i < set.size(); ++i) {
    const auto image = filled(set, i, {.random_resized_crop = 0.3});
    const double width = extent(image, false), height = extent(image, true);
    const double share = width * height / (side * side);
    smallest = std::min(smallest, share);
    largest = std::max(largest, share);
    flattest = std::max(flattest, width / height);
    tallest = std::min(tallest, width / height);
  }
  // Up to the rounding of sides to whole pixels and of values to 1/8 of a pixel.
  EXPECT_GT(smallest, 0.3 - 0.04);
  EXPECT_LT(smallest, 0.36);
  EXPECT_LT(largest, 1.04);
  EXPECT_GT(largest, 0.9);
  EXPECT_LT(flattest, 4.0 / 3 + 0.1);
  EXPECT_GT(flattest, 1.25);
  EXPECT_GT(tallest, 3.0 / 4 - 0.06);
  EXPECT_LT(tallest, 0.8);
}

TEST(RandomResizedCrop, OfTheWholeAreaAndNarrowImagesIsTheLargestPartInTheMiddle) {
  // A strip of 4 x 32 pixels has no part of its whole area with an allowed ratio.
  ImageSet strip{.channels = 1, .height = 4, .width = 32, .pixels = {}, .labels = {0}};
  for (int i = 0; i < 128; ++i) strip.pixels.push_back(static_cast<std::uint8_t>(8 * (i % 32)));
  const auto image = filled(strip, 0, {.random_resized_crop = 1});
  // Columns 13 to 17 of 32: round(4 * 4/3) = 5 of them.
  EXPECT_NEAR(image.front() * 255 / 8, 13, 0.2);
  EXPECT_NEAR(image.back() * 255 / 8, 17, 0.2);
}

TEST(RandomResizedCrop, LeavesTheOtherDrawsAlone) {
  const ImageSet set = map_images(40);
  std::set<bool> seen;
  for (std::int64_t i = 0; i < set.size(); ++i) {
    const auto mirrored = [&](const Augmentation& how) {
      const auto image = filled(set, i, how);
      return image[side / 2 * side + 4] > image[side / 2 * side + 27];
    };
    const bool alone = mirrored({.flip = true});
    seen.insert(alone);
    EXPECT_EQ(mirrored({.flip = true, .random_resized_crop = 0.5}), alone);
    EXPECT_EQ(mirrored({.flip = true, .random_resized_crop = 0.5, .cutout = 3}), alone);
  }
  EXPECT_EQ(seen.size(), 2u);
}

TEST(RandomResizedCrop, DependsOnTheKeyAlone) {
  const ImageSet set = map_images(3);
  const Augmentation how{.random_resized_crop = 0.2};
  EXPECT_EQ(filled(set, 1, how, 5), filled(set, 1, how, 5));
  EXPECT_NE(filled(set, 1, how, 5), filled(set, 1, how, 6));
  EXPECT_NE(filled(set, 1, how, 5), filled(set, 2, how, 5));
}

struct Hole {
  std::int64_t top = side, bottom = 0, left = side, right = 0, pixels = 0;
};

Hole find_hole(const std::vector<float>& image) {
  Hole hole;
  for (std::int64_t y = 0; y < side; ++y) {
    for (std::int64_t x = 0; x < side; ++x) {
      if (image[static_cast<std::size_t>(y * side + x)] != 0) continue;
      hole.top = std::min(hole.top, y);
      hole.bottom = std::max(hole.bottom, y + 1);
      hole.left = std::min(hole.left, x);
      hole.right = std::max(hole.right, x + 1);
      ++hole.pixels;
    }
  }
  return hole;
}

TEST(Cutout, BlacksOutOneSquareAroundARandomPixel) {
  const std::int64_t count = 600;
  const ImageSet white{.channels = 1,
                       .height = side,
                       .width = side,
                       .pixels = std::vector<std::uint8_t>(count * side * side, 255),
                       .labels = std::vector<std::int32_t>(count, 0)};
  std::set<std::int64_t> tops, lefts;
  std::int64_t whole = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const Hole hole = find_hole(filled(white, i, {.cutout = 7}));
    const std::int64_t height = hole.bottom - hole.top, width = hole.right - hole.left;
    EXPECT_EQ(hole.pixels, height * width);
    EXPECT_TRUE(height == 7 || hole.top == 0 || hole.bottom == side) << height;
    EXPECT_TRUE(width == 7 || hole.left == 0 || hole.right == side) << width;
    EXPECT_GE(std::min(height, width), 4);  // the middle is always in the image
    whole += hole.pixels == 49;
    tops.insert(hole.top);
    lefts.insert(hole.left);
  }
  // 26 of 32 middles a direction leave the square whole: 66 %.
  EXPECT_NEAR(static_cast<double>(whole) / count, 26.0 * 26 / (32 * 32), 0.08);
  EXPECT_EQ(tops.size(), 29u);  // 0 to 28
  EXPECT_EQ(lefts.size(), 29u);
}

TEST(Cutout, ChangesNothingElse) {
  const ImageSet set = map_images(20);
  for (std::int64_t i = 0; i < set.size(); ++i) {
    const Augmentation without{.crop_padding = 3, .flip = true};
    Augmentation with = without;
    with.cutout = 6;
    const auto plain = filled(set, i, without), cut = filled(set, i, with);
    for (std::size_t p = 0; p < plain.size(); ++p) {
      EXPECT_TRUE(cut[p] == plain[p] || cut[p] == 0);
    }
    EXPECT_NE(plain, cut);
  }
}

TEST(AugmentationConfig, ReadsEveryKey) {
  Config config = Config::parse(
      "[augment]\ncrop_padding = 2\nflip = true\nrandom_resized_crop = 0.4\ncutout = 8\n", "test");
  const Augmentation read = read_augmentation(config);
  config.finish();
  EXPECT_EQ(read.crop_padding, 2);
  EXPECT_TRUE(read.flip);
  EXPECT_EQ(read.random_resized_crop, 0.4);
  EXPECT_EQ(read.cutout, 8);
  Config empty = Config::parse("", "test");
  const Augmentation off = read_augmentation(empty);
  EXPECT_EQ(off.random_resized_crop, 0);
  EXPECT_EQ(off.cutout, 0);
}

}  // namespace
}  // namespace cmat::data
