#include "cmat/data/statistics.h"

#include <cmath>

#include "data/helpers.h"

namespace cmat::data {
namespace {

ImageSet two_images() {
  // Two channels of 1x2 pixels: the first has 0, 51, 102, 255, the second the same value
  // throughout.
  return {.channels = 2,
          .height = 1,
          .width = 2,
          .pixels = {0, 51, 204, 204, 102, 255, 204, 204},
          .labels = {2, 0}};
}

TEST(Statistics, AreThoseOfThePixelsOfEachChannel) {
  const ChannelStatistics s = channel_statistics(two_images());
  ASSERT_EQ(s.mean.size(), 2u);
  ASSERT_EQ(s.deviation.size(), 2u);
  EXPECT_NEAR(s.mean[0], (0 + 0.2 + 0.4 + 1.0) / 4, 1e-15);
  // Squares of the distances from the mean 0.4, written out.
  EXPECT_NEAR(s.deviation[0], std::sqrt((0.16 + 0.04 + 0 + 0.36) / 4), 1e-15);
  EXPECT_NEAR(s.mean[1], 0.8, 1e-15);
  EXPECT_EQ(s.deviation[1], 0.0);
}

TEST(Statistics, OfASelection) {
  const std::vector<std::int64_t> second = {1}, outside = {2};
  EXPECT_NEAR(channel_statistics(two_images(), second).mean[0], 0.7, 1e-15);
  test::expect_error(ErrorKind::failure, {"image 2 of 2"},
                     [&] { channel_statistics(two_images(), outside); });
  test::expect_error(ErrorKind::failure, {"no images"},
                     [] { channel_statistics(two_images(), std::vector<std::int64_t>{}); });
}

TEST(Statistics, CountTheImagesOfEachClass) {
  EXPECT_EQ(images_per_class(two_images(), 4), (std::vector<std::int64_t>{1, 0, 1, 0}));
}

}  // namespace
}  // namespace cmat::data
