#include <algorithm>
#include <cmath>

#include "cmat/core/error.h"
#include "cmat/core/random.h"
#include "cmat/data/source.h"

namespace cmat::data {
namespace {

constexpr std::int64_t grid = 4;                 ///< control points of a prototype, each way
constexpr double darkest = 0.3, lightest = 0.7;  ///< of a control point; the noise goes beyond
constexpr std::int64_t max_bytes = std::int64_t{1} << 32;

void check(const SyntheticOptions& o) {
  const auto require = [](std::int64_t value, std::int64_t low, std::int64_t high,
                          const char* key) {
    if (value < low || value > high) {
      usage_error("data.synthetic.", key, " = ", value, " is out of range: choose ", low, " to ",
                  high);
    }
  };
  require(o.classes, 2, 1000, "classes");
  require(o.channels, 1, 16, "channels");
  require(o.height, 1, 512, "height");
  require(o.width, 1, 512, "width");
  require(o.train_per_class, 1, 100000, "train_per_class");
  require(o.test_per_class, 1, 100000, "test_per_class");
  if (!(o.noise >= 0 && o.noise <= 1)) {
    usage_error("data.synthetic.noise = ", o.noise, " is out of range: choose 0 to 1");
  }
  const std::int64_t image = o.channels * o.height * o.width;
  if (o.classes * std::max(o.train_per_class, o.test_per_class) > max_bytes / image) {
    usage_error("data.synthetic asks for more than 4 GB of images: ask for fewer or smaller ones");
  }
}

/// A smooth random surface: a coarse grid of random values with straight lines between them.
std::vector<double> make_plane(const SyntheticOptions& o, const Key& key) {
  Random random(key);
  double control[grid][grid];
  for (auto& row : control) {
    for (double& value : row) value = random.uniform(darkest, lightest);
  }
  const auto locate = [](std::int64_t at, std::int64_t length) {
    return length > 1 ? static_cast<double>(at * (grid - 1)) / static_cast<double>(length - 1) : 0;
  };
  std::vector<double> plane;
  for (std::int64_t y = 0; y < o.height; ++y) {
    const double v = locate(y, o.height);
    const auto row = std::min(static_cast<std::int64_t>(v), grid - 2);
    const double down = v - static_cast<double>(row);
    for (std::int64_t x = 0; x < o.width; ++x) {
      const double u = locate(x, o.width);
      const auto column = std::min(static_cast<std::int64_t>(u), grid - 2);
      const double right = u - static_cast<double>(column);
      const double above = std::lerp(control[row][column], control[row][column + 1], right);
      const double below = std::lerp(control[row + 1][column], control[row + 1][column + 1], right);
      plane.push_back(std::lerp(above, below, down));
    }
  }
  return plane;
}

std::vector<double> make_prototype(const SyntheticOptions& o, std::uint64_t seed,
                                   std::uint64_t label) {
  std::vector<double> prototype;
  for (std::int64_t c = 0; c < o.channels; ++c) {
    Key key;
    key.seed = seed;
    key.sample = label;
    key.step = static_cast<std::uint64_t>(c);
    key.purpose = Purpose::synthetic_prototype;
    const std::vector<double> plane = make_plane(o, key);
    prototype.insert(prototype.end(), plane.begin(), plane.end());
  }
  return prototype;
}

/// The classes take turns, so that every prefix is balanced.
ImageSet make_images(const SyntheticOptions& o, const std::vector<std::vector<double>>& prototypes,
                     std::int64_t per_class, Key key) {
  ImageSet set;
  set.channels = o.channels;
  set.height = o.height;
  set.width = o.width;
  key.purpose = Purpose::synthetic_image;
  for (std::int64_t i = 0; i < per_class * o.classes; ++i) {
    Random random(key.for_sample(static_cast<std::uint64_t>(i)));
    const auto label = static_cast<std::size_t>(i % o.classes);
    for (const double value : prototypes[label]) {
      const double noisy = std::clamp(value + o.noise * random.normal(), 0.0, 1.0);
      set.pixels.push_back(static_cast<std::uint8_t>(std::floor(noisy * 255.0 + 0.5)));
    }
    set.labels.push_back(static_cast<std::int32_t>(label));
  }
  return set;
}

}  // namespace

Source make_synthetic(const SyntheticOptions& options, std::uint64_t seed) {
  check(options);
  Source source;
  source.name = "synthetic";
  std::vector<std::vector<double>> prototypes;
  for (std::int64_t c = 0; c < options.classes; ++c) {
    source.class_names.push_back(std::to_string(c));
    prototypes.push_back(make_prototype(options, seed, static_cast<std::uint64_t>(c)));
  }
  Key key;
  key.seed = seed;
  source.train = make_images(options, prototypes, options.train_per_class, key.for_step(0));
  source.test = make_images(options, prototypes, options.test_per_class, key.for_step(1));
  return source;
}

}  // namespace cmat::data
