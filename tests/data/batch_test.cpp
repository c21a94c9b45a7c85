#include "cmat/data/batch.h"

#include <map>
#include <numeric>

#include "data/helpers.h"

namespace cmat::data {
namespace {

/// Every pixel has its own value, so that a result says where it came from.
ImageSet numbered_images(std::int64_t count, std::int64_t channels, std::int64_t height,
                         std::int64_t width) {
  ImageSet set{.channels = channels, .height = height, .width = width, .pixels = {}, .labels = {}};
  for (std::int64_t i = 0; i < count * channels * height * width; ++i) {
    set.pixels.push_back(static_cast<std::uint8_t>(i % 255 + 1));  // never 0: that is the padding
  }
  set.labels.assign(static_cast<std::size_t>(count), 0);
  return set;
}

std::vector<float> batch(const ImageSet& images, const std::vector<std::int64_t>& indices,
                         const Augmentation& augmentation = {}, const Key& key = {}) {
  std::vector<float> out(indices.size() * static_cast<std::size_t>(images.bytes_per_image()), -1);
  fill_batch(images, indices, augmentation, key, out);
  return out;
}

/// What fill_batch must write for one placement, pixel by pixel.
std::vector<float> placed(const ImageSet& set, std::int64_t index, std::int64_t top,
                          std::int64_t left, bool mirrored) {
  std::vector<float> out;
  for (std::int64_t c = 0; c < set.channels; ++c) {
    for (std::int64_t y = 0; y < set.height; ++y) {
      for (std::int64_t x = 0; x < set.width; ++x) {
        const std::int64_t sy = y + top, sx = (mirrored ? set.width - 1 - x : x) + left;
        const bool inside = sy >= 0 && sy < set.height && sx >= 0 && sx < set.width;
        const std::int64_t at = ((index * set.channels + c) * set.height + sy) * set.width + sx;
        out.push_back(inside ? static_cast<float>(set.pixels[static_cast<std::size_t>(at)]) / 255.0f
                             : 0.0f);
      }
    }
  }
  return out;
}

TEST(Batch, ValuesAreBytesOver255InTheOrderAskedFor) {
  ImageSet set{.channels = 1, .height = 1, .width = 256, .pixels = {}, .labels = {0, 1}};
  for (int i = 0; i < 512; ++i) set.pixels.push_back(static_cast<std::uint8_t>(i < 256 ? i : 0));
  const std::vector<float> out = batch(set, {1, 0});
  ASSERT_EQ(out.size(), 512u);
  for (std::size_t i = 0; i < 256; ++i) {
    EXPECT_EQ(out[i], 0.0f);
    EXPECT_EQ(out[256 + i], static_cast<float>(i) / 255.0f);
  }
}

TEST(Batch, EveryAugmentedImageIsOneOfThePossiblePlacements) {
  const ImageSet set = numbered_images(3, 2, 5, 4);
  const Augmentation augmentation{.crop_padding = 2, .flip = true};
  std::map<std::vector<float>, int> seen;  // placements of image 1
  std::map<std::vector<float>, int> expected;
  for (int top = -2; top <= 2; ++top) {
    for (int left = -2; left <= 2; ++left) {
      for (const bool mirrored : {false, true}) expected[placed(set, 1, top, left, mirrored)];
    }
  }
  ASSERT_EQ(expected.size(), 50u);
  Key key;
  for (key.epoch = 0; key.epoch < 2000; ++key.epoch) {
    ++seen[batch(set, {1}, augmentation, key)];
  }
  EXPECT_EQ(seen.size(), expected.size());  // all 50 of 50 in 2000 draws (a miss: 50 * 0.98^2000)
  for (const auto& [image, count] : seen) {
    EXPECT_TRUE(expected.contains(image));
    EXPECT_GT(count, 10);  // 40 on average
    EXPECT_LT(count, 90);
  }
}

TEST(Batch, PaddingLargerThanTheImageIsZero) {
  const ImageSet set = numbered_images(1, 1, 2, 2);
  const Augmentation augmentation{.crop_padding = 9, .flip = false};
  bool saw_black = false;
  Key key;
  for (key.epoch = 0; key.epoch < 50; ++key.epoch) {
    const auto out = batch(set, {0}, augmentation, key);
    saw_black |= std::accumulate(out.begin(), out.end(), 0.0f) == 0.0f;
  }
  EXPECT_TRUE(saw_black);
}

TEST(Batch, AugmentationDependsOnTheImageAndNotOnTheBatch) {
  const ImageSet set = numbered_images(6, 3, 8, 8);
  const Augmentation augmentation{.crop_padding = 4, .flip = true};
  Key key;
  key.seed = 7;
  key.epoch = 3;
  const std::vector<float> all = batch(set, {0, 1, 2, 3, 4, 5}, augmentation, key);
  for (std::int64_t i = 0; i < 6; ++i) {
    const std::vector<float> alone = batch(set, {i}, augmentation, key);
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), all.begin() + i * 192)) << i;
  }
  Key other = key.for_sample(99).for_purpose(Purpose::shuffle);  // both are replaced
  EXPECT_EQ(batch(set, {4, 2}, augmentation, other), batch(set, {4, 2}, augmentation, key));
  other.epoch = 4;
  EXPECT_NE(batch(set, {0, 1, 2, 3, 4, 5}, augmentation, other), all);
}

TEST(Batch, FlipDoesNotDependOnTheCrop) {
  const ImageSet set = numbered_images(40, 1, 1, 9);
  int mirrored = 0;
  for (std::int64_t i = 0; i < 40; ++i) {
    const auto flipped = batch(set, {i}, {.crop_padding = 0, .flip = true});
    const auto both = batch(set, {i}, {.crop_padding = 1, .flip = true});
    const bool is_mirrored = flipped == placed(set, i, 0, 0, true);
    mirrored += is_mirrored;
    bool found = false;
    for (int top = -1; top <= 1; ++top) {
      for (int left = -1; left <= 1; ++left)
        found |= both == placed(set, i, top, left, is_mirrored);
    }
    EXPECT_TRUE(found) << i;
  }
  EXPECT_GT(mirrored, 5);
  EXPECT_LT(mirrored, 35);
}

TEST(Batch, RefusesWrongRoomAndImagesThatAreNotThere) {
  const ImageSet set = numbered_images(2, 1, 2, 2);
  std::vector<float> room(4);
  const std::vector<std::int64_t> two = {0, 1}, outside = {2}, negative = {-1};
  test::expect_error(ErrorKind::failure, {"room for 4", "need 8"},
                     [&] { fill_batch(set, two, {}, {}, room); });
  test::expect_error(ErrorKind::failure, {"image 2 of 2"},
                     [&] { fill_batch(set, outside, {}, {}, room); });
  test::expect_error(ErrorKind::failure, {"image -1 of 2"},
                     [&] { fill_batch(set, negative, {}, {}, room); });
}

TEST(Batch, AugmentationComesFromTheConfig) {
  Config config = Config::parse("[augment]\ncrop_padding = 4\nflip = true\n", "test");
  const Augmentation augmentation = read_augmentation(config);
  config.finish();
  EXPECT_EQ(augmentation.crop_padding, 4);
  EXPECT_TRUE(augmentation.flip);
  Config empty = Config::parse("", "test");
  EXPECT_EQ(read_augmentation(empty).crop_padding, 0);
  EXPECT_FALSE(read_augmentation(empty).flip);
}

}  // namespace
}  // namespace cmat::data
