#include <algorithm>
#include <cmath>

#include "cmat/data/source.h"
#include "cmat/data/statistics.h"
#include "data/helpers.h"

namespace cmat::data {
namespace {

using test::expect_error;

/// Mean image of each class, in [0,1].
std::vector<std::vector<double>> class_means(const ImageSet& set, std::int64_t classes) {
  const auto size = static_cast<std::size_t>(set.bytes_per_image());
  std::vector<std::vector<double>> means(static_cast<std::size_t>(classes),
                                         std::vector<double>(size, 0.0));
  const auto counts = images_per_class(set, classes);
  for (std::size_t i = 0; i < set.labels.size(); ++i) {
    const auto label = static_cast<std::size_t>(set.labels[i]);
    for (std::size_t j = 0; j < size; ++j) {
      means[label][j] += set.pixels[i * size + j] / 255.0 / static_cast<double>(counts[label]);
    }
  }
  return means;
}

/// Share of images that stay nearer to their own class's mean than to every other, when each pixel
/// moves by eps towards that other (the worst a Linf attack can do to this linear classifier).
double nearest_mean_accuracy(const ImageSet& set, const std::vector<std::vector<double>>& means,
                             double eps) {
  const auto size = static_cast<std::size_t>(set.bytes_per_image());
  int correct = 0;
  for (std::size_t i = 0; i < set.labels.size(); ++i) {
    const auto& own = means[static_cast<std::size_t>(set.labels[i])];
    bool right = true;
    for (const auto& other : means) {
      if (&other == &own) continue;
      double margin = 0;
      for (std::size_t j = 0; j < size; ++j) {
        const double towards = own[j] - other[j], middle = (own[j] + other[j]) / 2;
        margin += towards * (set.pixels[i * size + j] / 255.0 - middle) - eps * std::abs(towards);
      }
      right = right && margin > 0;
    }
    correct += right;
  }
  return correct / static_cast<double>(set.size());
}

TEST(Synthetic, HasTheShapeThatWasAskedFor) {
  SyntheticOptions options{.classes = 3,
                           .channels = 2,
                           .height = 5,
                           .width = 7,
                           .train_per_class = 4,
                           .test_per_class = 2};
  const Source source = make_synthetic(options, 1);
  EXPECT_EQ(source.name, "synthetic");
  EXPECT_EQ(source.class_names, (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_EQ(source.train.size(), 12);
  EXPECT_EQ(source.test.size(), 6);
  EXPECT_EQ(source.train.bytes_per_image(), 70);
  EXPECT_EQ(source.train.pixels.size(), 12u * 70);
  EXPECT_EQ(source.test.pixels.size(), 6u * 70);
  EXPECT_EQ(source.test.height, 5);
  EXPECT_EQ(source.test.width, 7);
  EXPECT_EQ(images_per_class(source.train, 3), (std::vector<std::int64_t>{4, 4, 4}));
  EXPECT_EQ(images_per_class(source.test, 3), (std::vector<std::int64_t>{2, 2, 2}));
}

TEST(Synthetic, IsMadeFromTheSeedAlone) {
  const Source a = make_synthetic({}, 5), b = make_synthetic({}, 5), c = make_synthetic({}, 6);
  EXPECT_EQ(a.train.pixels, b.train.pixels);
  EXPECT_EQ(a.test.pixels, b.test.pixels);
  EXPECT_NE(a.train.pixels, c.train.pixels);
  // More images of a class leave those that were there as they are.
  SyntheticOptions more;
  more.train_per_class = 60;
  const Source longer = make_synthetic(more, 5);
  EXPECT_TRUE(
      std::equal(a.train.pixels.begin(), a.train.pixels.end(), longer.train.pixels.begin()));
}

TEST(Synthetic, TestImagesAreNotTrainingImages) {
  const Source source = make_synthetic({}, 1);
  EXPECT_FALSE(std::equal(source.test.pixels.begin(), source.test.pixels.end(),
                          source.train.pixels.begin()));
}

TEST(Synthetic, WithoutNoiseAClassIsItsSmoothPrototype) {
  SyntheticOptions options;
  options.noise = 0;
  options.height = options.width = 16;
  const Source source = make_synthetic(options, 3);
  const auto size = static_cast<std::size_t>(source.train.bytes_per_image());
  const auto& pixels = source.train.pixels;
  // Image 10 is of class 0 again; image 1 is of another class.
  EXPECT_TRUE(std::equal(pixels.begin(), pixels.begin() + std::ptrdiff_t(size),
                         pixels.begin() + std::ptrdiff_t(10 * size)));
  EXPECT_FALSE(std::equal(pixels.begin(), pixels.begin() + std::ptrdiff_t(size),
                          pixels.begin() + std::ptrdiff_t(size)));
  int largest_step = 0;
  for (std::size_t x = 1; x < 16; ++x) {
    largest_step = std::max(largest_step, std::abs(int{pixels[x]} - int{pixels[x - 1]}));
  }
  EXPECT_LE(largest_step, 24);  // 0.4 over five pixels, and rounding
}

TEST(Synthetic, CanBeLearnedAndAttacked) {
  const Source source = make_synthetic({}, 1);
  const auto means = class_means(source.train, 10);
  EXPECT_GT(nearest_mean_accuracy(source.test, means, 0), 0.95);
  EXPECT_LT(nearest_mean_accuracy(source.test, means, 16 / 255.0), 0.8);
}

TEST(Synthetic, TinyImagesWork) {
  const SyntheticOptions options{.classes = 2,
                                 .channels = 1,
                                 .height = 1,
                                 .width = 1,
                                 .train_per_class = 1,
                                 .test_per_class = 1};
  EXPECT_EQ(make_synthetic(options, 1).train.pixels.size(), 2u);
}

TEST(Synthetic, RefusesWhatMakesNoSense) {
  const auto refuse = [](const SyntheticOptions& options, const std::string& key) {
    expect_error(ErrorKind::usage, {"data.synthetic" + key}, [&] { make_synthetic(options, 1); });
  };
  refuse({.classes = 1}, ".classes = 1");
  refuse({.channels = 0}, ".channels = 0");
  refuse({.height = -1}, ".height = -1");
  refuse({.width = 100000}, ".width");
  refuse({.train_per_class = 0}, ".train_per_class = 0");
  refuse({.test_per_class = 0}, ".test_per_class = 0");
  refuse({.noise = -0.1}, ".noise");
  refuse({.noise = std::nan("")}, ".noise");
  refuse({.classes = 1000, .channels = 16, .height = 512, .width = 512, .train_per_class = 100000},
         " asks for more than 4 GB");
}

}  // namespace
}  // namespace cmat::data
