// Every way to compute a convolution against the sum that defines it.
#include "cmat/nn/frozen/product.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <hwy/targets.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <random>
#include <set>
#include <vector>

#include "cmat/core/error.h"
#include "cmat/nn/frozen/parallel.h"

namespace cmat::test {
namespace {

using namespace nn::frozen;
using Floats = std::vector<float>;

/// A layer's shapes; an image's few channels may lie without padding.
ConvolutionShape shape_of(std::int64_t in, std::int64_t out, std::int64_t height,
                          std::int64_t width, std::int64_t kernel, std::int64_t stride,
                          std::int64_t padding, bool narrow = false) {
  const auto length = [&](std::int64_t l) { return (l + 2 * padding - kernel) / stride + 1; };
  ConvolutionShape s;
  s.in = {in, height, width, narrow ? in : padded(in)};
  s.out = {out, length(height), length(width), padded(out)};
  s.kernel = kernel;
  s.stride = stride;
  s.padding = padding;
  return s;
}

/// Random values in an exactly sized block of aligned memory, so that a sanitizer sees every step
/// beyond it; channels that do not exist are 0.
class Values {
 public:
  Values(const Side& side, std::int64_t images, std::mt19937& generator)
      : size_(images * side.floats()) {
    std::normal_distribution<float> normal;
    data_ =
        static_cast<float*>(std::aligned_alloc(64, static_cast<std::size_t>(padded(size_)) * 4));
    for (std::int64_t i = 0; i < size_; ++i) {
      data_[i] = i % side.stride < side.channels ? normal(generator) : 0.0f;
    }
  }
  ~Values() { std::free(data_); }
  Values(const Values&) = delete;
  Values& operator=(const Values&) = delete;
  float* data() { return data_; }
  float operator[](std::int64_t i) const { return data_[i]; }
  std::int64_t size() const { return size_; }

 private:
  float* data_;
  std::int64_t size_;
};

/// The sums in float64, forward or back, by the definition.
std::vector<double> reference(const ConvolutionShape& s, Direction direction, const Values& x,
                              const Values* scale, const at::Tensor& weight, std::int64_t images) {
  const bool forward = direction == Direction::forward;
  const Side& to = forward ? s.out : s.in;
  std::vector<double> y(static_cast<std::size_t>(images * to.floats()), 0.0);
  const at::Tensor w = weight.to(at::kDouble).contiguous();
  const double* weights = w.const_data_ptr<double>();
  for (std::int64_t n = 0; n < images; ++n) {
    for (std::int64_t i = 0; i < s.out.pixels(); ++i) {
      for (std::int64_t tap = 0; tap < s.kernel * s.kernel; ++tap) {
        const std::int64_t row = i / s.out.width * s.stride - s.padding + tap / s.kernel;
        const std::int64_t column = i % s.out.width * s.stride - s.padding + tap % s.kernel;
        if (row < 0 || row >= s.in.height || column < 0 || column >= s.in.width) continue;
        const std::int64_t in = n * s.in.floats() + (row * s.in.width + column) * s.in.stride;
        const std::int64_t out = n * s.out.floats() + i * s.out.stride;
        for (std::int64_t a = 0; a < s.in.channels; ++a) {
          for (std::int64_t b = 0; b < s.out.channels; ++b) {
            const double value = weights[(b * s.in.channels + a) * s.kernel * s.kernel + tap];
            const std::int64_t from = forward ? in + a : out + b;
            const double factor = scale ? (*scale)[forward ? a : b] : 1.0;
            y[static_cast<std::size_t>(forward ? out + b : in + a)] += value * factor * x[from];
          }
        }
      }
    }
  }
  return y;
}

std::unique_ptr<Product> make(const ConvolutionShape& shape, Direction direction,
                              const std::string& method) {
  if (method == "direct") return make_direct(shape, direction);
  if (method == "linear") return make_linear(shape, direction);
  if (method == "col2im") return make_image_gradient(shape);
  return make_winograd(shape, direction, method == "winograd 2x2" ? 2 : 4);
}

/// Fills what a product works in, so that what it never wrote does not pass for a 0.
void spoil(Workspace& workspace) {
  constexpr std::int64_t floats = 1 << 19;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  workspace.reserve_own(floats);
  for (int t = 0; t < omp_get_max_threads(); ++t) std::fill_n(workspace.own(t), floats, nan);
  std::fill_n(workspace.shared(floats), floats, nan);
}

void expect_equal(const ConvolutionShape& s, Direction direction, const std::string& method,
                  std::int64_t images, bool with_epilogue) {
  const bool forward = direction == Direction::forward;
  const Side& from = forward ? s.in : s.out;
  const Side& to = forward ? s.out : s.in;
  SCOPED_TRACE(text(method, forward ? " forward " : " backward ", s.in.channels, "->",
                    s.out.channels, " of ", s.in.height, "x", s.in.width, ", kernel ", s.kernel,
                    ", stride ", s.stride, ", padding ", s.padding, ", images ", images));
  std::mt19937 generator(static_cast<unsigned>(s.in.channels * 100 + s.out.channels));
  Values x(from, images, generator),
      scale({from.channels, 1, 1, padded(from.channels)}, 1, generator);
  at::Tensor weight = at::randn({s.out.channels, s.in.channels, s.kernel, s.kernel});
  if (images % 2 && method != "linear") weight = weight.contiguous(at::MemoryFormat::ChannelsLast);
  const auto product = make(s, direction, method);
  EXPECT_EQ(product->method(), method);
  product->load(weight);
  const Side row{to.channels, 1, 1, padded(to.channels)};
  Values factor(row, 1, generator), bias(row, 1, generator);
  Values add(to, images, generator), mask(to, images, generator), y(to, images, generator);
  const auto bit = [](const std::vector<std::uint8_t>& bits, std::int64_t i) {
    return bits[static_cast<std::size_t>(i / 8)] >> i % 8 & 1;
  };
  std::vector<std::uint8_t> masked(static_cast<std::size_t>(mask.size() / 8 + kBytesBehind));
  std::vector<std::uint8_t> positive(masked.size(), 0x5a);  // of which nothing may stay
  for (std::int64_t i = 0; i < mask.size(); ++i) {
    masked[static_cast<std::size_t>(i / 8)] |= static_cast<std::uint8_t>((mask[i] > 0) << i % 8);
  }
  Epilogue epilogue;
  const bool finished = with_epilogue && method != "col2im";  // which takes a scale alone
  if (finished)
    epilogue = {factor.data(), bias.data(), add.data(), masked.data(), true, positive.data()};
  const bool scaled = with_epilogue && method != "linear";
  Workspace workspace;
  spoil(workspace);
  product->run(x.data(), images, scaled ? scale.data() : nullptr, epilogue, y.data(), workspace);

  std::vector<double> right = reference(s, direction, x, scaled ? &scale : nullptr, weight, images);
  double worst = 0, largest = 0;
  for (std::int64_t i = 0; i < y.size(); ++i) {
    double& value = right[static_cast<std::size_t>(i)];
    const std::int64_t c = i % to.stride;
    if (finished) {
      value = std::max(0.0, value * factor[c] + bias[c] + add[i]);
      if (mask[i] <= 0) value = 0;
      ASSERT_EQ(bit(positive, i), y[i] > 0) << "at " << i;
    }
    ASSERT_FALSE(std::isnan(y[i])) << "at " << i;
    worst = std::max(worst, std::abs(value - y[i]));
    largest = std::max(largest, std::abs(value));
  }
  // F(4 x 4, 3 x 3) loses about two digits (Lavin and Gray, table 6).
  EXPECT_LE(worst, 2e-5 * std::max(largest, 1.0));
}

TEST(Product, EqualsItsDefinition) {
  const std::vector<ConvolutionShape> shapes = {
      shape_of(16, 16, 8, 8, 3, 1, 1), shape_of(24, 40, 9, 7, 3, 1, 1),
      shape_of(8, 3, 5, 5, 3, 1, 1),   shape_of(33, 17, 1, 1, 3, 1, 1),
      shape_of(16, 48, 2, 3, 3, 1, 1), shape_of(3, 16, 8, 8, 3, 1, 1, true),
      shape_of(64, 32, 4, 13, 3, 1, 1)};
  for (const ConvolutionShape& shape : shapes) {
    for (const char* method : {"direct", "winograd 2x2", "winograd 4x4"}) {
      const bool narrow = shape.in.stride < kPanel;
      for (std::int64_t images : {1, 2, 5}) {
        if (!narrow || std::string(method) == "direct") {
          expect_equal(shape, Direction::forward, method, images, images != 2);
        }
        expect_equal(shape, Direction::backward, method, images, images != 2 && !narrow);
      }
    }
  }
}

TEST(Product, WinogradOfStrideTwoEqualsItsDefinition) {
  for (const auto& [in, out, height, width] :
       std::vector<std::array<std::int64_t, 4>>{{16, 16, 16, 16},
                                                {24, 40, 9, 7},
                                                {33, 17, 1, 1},
                                                {16, 48, 2, 3},
                                                {64, 32, 8, 26},
                                                {8, 16, 17, 31},
                                                {32, 64, 15, 8}}) {
    const auto shape = shape_of(in, out, height, width, 3, 2, 1);
    for (std::int64_t images : {1, 2, 5}) {
      expect_equal(shape, Direction::forward, "winograd 4x4", images, images != 2);
      expect_equal(shape, Direction::backward, "winograd 4x4", images, images != 2);
    }
  }
  for (std::int64_t channels : {3, 9, 12, 15}) {
    const auto narrow = shape_of(channels, 16, 9, 12, 3, 2, 1, true);
    expect_equal(narrow, Direction::backward, "winograd 4x4", 2, false);
  }
}

#if HWY_ARCH_X86
/// Vectors of one lane, 8 and 16; of those that this machine has.
TEST(Product, EqualsItsDefinitionWithEveryInstructionSet) {
  const std::int64_t supported = hwy::SupportedTargets();
  for (const std::int64_t set : {HWY_EMU128 | HWY_SCALAR, HWY_AVX2, HWY_AVX3}) {
    if ((supported & set) == 0) continue;
    hwy::SetSupportedTargetsForTest(set);
    SCOPED_TRACE(instruction_set());
    if (set == HWY_AVX2 || set == HWY_AVX3) {
      EXPECT_STREQ(instruction_set(), hwy::TargetName(set));
    }
    for (const Direction direction : {Direction::forward, Direction::backward}) {
      for (const char* method : {"direct", "winograd 2x2", "winograd 4x4"}) {
        expect_equal(shape_of(24, 40, 9, 7, 3, 1, 1), direction, method, 2, true);
      }
      expect_equal(shape_of(24, 40, 9, 7, 3, 2, 1), direction, "winograd 4x4", 2, true);
      expect_equal(shape_of(48, 32, 1, 1, 1, 1, 0), direction, "linear", 3, true);
    }
    expect_equal(shape_of(3, 20, 14, 6, 3, 1, 1, true), Direction::backward, "col2im", 2, false);
  }
  hwy::SetSupportedTargetsForTest(0);
}
#endif

TEST(Product, DirectEqualsItsDefinitionForEveryKernelAndStride) {
  for (std::int64_t kernel : {1, 2, 3, 5, 7}) {
    for (std::int64_t stride : {1, 2, 3}) {
      for (std::int64_t padding = 0; padding <= kernel / 2; ++padding) {
        const bool narrow = (kernel + stride) % 2 == 0;
        const auto shape = shape_of(narrow ? 3 : 19, 9, 8, 11, kernel, stride, padding, narrow);
        expect_equal(shape, Direction::forward, "direct", 2, true);
        expect_equal(shape, Direction::backward, "direct", 2, !narrow);
        if (narrow) expect_equal(shape, Direction::backward, "col2im", 2, true);
      }
    }
  }
}

TEST(Product, Col2imEqualsItsDefinitionInBands) {
  for (std::int64_t stride : {1, 2}) {
    for (std::int64_t images : {1, 2}) {
      const auto shape = shape_of(3, 20, 140, 61, 3, stride, 1, true);  // of several bands
      expect_equal(shape, Direction::backward, "col2im", images, images == 1);
    }
  }
  expect_equal(shape_of(1, 16, 28, 28, 3, 1, 1, true), Direction::backward, "col2im", 3, false);
  expect_equal(shape_of(3, 9, 8, 11, 2, 1, 2, true), Direction::backward, "col2im", 2, true);
  expect_equal(shape_of(4, 16, 6, 3000, 3, 4, 1, true), Direction::backward, "col2im", 1, false);
}

TEST(Product, LinearEqualsItsDefinition) {
  for (std::int64_t images : {1, 7, 33}) {
    const auto shape = shape_of(272, 144, 1, 1, 1, 1, 0);
    for (const Direction direction : {Direction::forward, Direction::backward}) {
      expect_equal(shape, direction, "linear", images, images != 7);
      expect_equal(shape, direction, "direct", images, images != 7);
    }
  }
}

/// What a value is must not depend on how the work is shared.
void expect_same_bits(const ConvolutionShape& shape, Direction direction, const char* method) {
  const int threads = omp_get_max_threads();
  const auto product = make(shape, direction, method);
  product->load(at::randn({shape.out.channels, shape.in.channels, 3, 3}));
  const bool forward = direction == Direction::forward;
  const Side& from = forward ? shape.in : shape.out;
  const Side& to = forward ? shape.out : shape.in;
  std::mt19937 generator(1);
  const std::int64_t images = 40;  // enough tiles for the other order of work
  Values x(from, images, generator), all(to, images, generator), one(to, 1, generator);
  Workspace workspace;
  omp_set_num_threads(2);
  product->run(x.data(), images, nullptr, {}, all.data(), workspace);
  omp_set_num_threads(1);
  product->run(x.data() + 3 * from.floats(), 1, nullptr, {}, one.data(), workspace);
  omp_set_num_threads(threads);
  for (std::int64_t i = 0; i < one.size(); ++i) {
    ASSERT_EQ(one[i], all[3 * to.floats() + i]) << method << " at " << i;
  }
}

TEST(Product, BatchAndThreadsChangeNoBit) {
  for (const char* method : {"direct", "winograd 2x2", "winograd 4x4"}) {
    for (const Direction direction : {Direction::forward, Direction::backward}) {
      expect_same_bits(shape_of(48, 64, 12, 12, 3, 1, 1), direction, method);
      if (std::string(method) == "winograd 2x2") continue;  // stride 2 knows one size of tiles
      expect_same_bits(shape_of(48, 64, 16, 16, 3, 2, 1), direction, method);
    }
  }
  expect_same_bits(shape_of(3, 64, 12, 12, 3, 1, 1, true), Direction::backward, "col2im");
}

TEST(Product, TheShapeAloneChoosesTheMethod) {
  const auto tile = [](std::int64_t side, std::int64_t channels = 64) {
    return winograd_tile(shape_of(channels, channels, side, side, 3, 1, 1), Direction::forward);
  };
  EXPECT_EQ(tile(32), 4);
  EXPECT_EQ(tile(4), 4);
  EXPECT_EQ(tile(2), 2);  // a tile of 4 would be mostly border
  EXPECT_EQ(tile(1), 0);  // one tap of nine
  EXPECT_EQ(tile(32, 3), 0);
  const auto strided = [](std::int64_t side, std::int64_t stride = 2) {
    const auto shape = shape_of(64, 64, side, side, 3, stride, 1);
    EXPECT_EQ(winograd_tile(shape, Direction::forward), winograd_tile(shape, Direction::backward));
    return winograd_tile(shape, Direction::forward);
  };
  EXPECT_EQ(strided(32), 4);
  EXPECT_EQ(strided(7), 4);
  EXPECT_EQ(strided(4), 0);  // four outputs of a tile's sixteen
  EXPECT_EQ(strided(32, 3), 0);
  const auto stem = shape_of(3, 64, 32, 32, 3, 1, 1, true);
  EXPECT_EQ(winograd_tile(stem, Direction::forward), 0);
  EXPECT_EQ(winograd_tile(stem, Direction::backward), 4);
  const auto linear = [](std::int64_t in, std::int64_t out) {
    return make_product(shape_of(in, out, 1, 1, 1, 1, 0), Direction::forward)->method();
  };
  EXPECT_EQ(linear(512, 4096), "linear");
  EXPECT_EQ(linear(64, 5), "direct");
  EXPECT_EQ(linear(1000, 1001), "direct");
  const auto backward = [](const ConvolutionShape& shape) {
    return make_product(shape, Direction::backward)->method();
  };
  EXPECT_EQ(backward(stem), "col2im");
  EXPECT_EQ(backward(shape_of(3, 64, 224, 224, 7, 2, 3, true)), "col2im");
  EXPECT_EQ(backward(shape_of(3, 64, 32, 32, 3, 1, 1)), "winograd 4x4");  // padded for others
  EXPECT_EQ(backward(shape_of(3, 64, 32, 32, 1, 1, 0, true)), "direct");
  EXPECT_EQ(backward(shape_of(8, 64, 32, 32, 3, 1, 1, true)), "winograd 4x4");
  EXPECT_EQ(backward(shape_of(8, 64, 32, 32, 3, 2, 1, true)), "col2im");
  EXPECT_EQ(backward(shape_of(15, 64, 32, 32, 3, 1, 1, true)), "winograd 4x4");
}

TEST(ForEachItem, OpensNoRegionForOneThread) {
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  int calls = 0;
  for_each_item(3, [&](std::int64_t, int thread) {
    EXPECT_EQ(thread, 0);
    EXPECT_EQ(omp_get_level(), 0);
    ++calls;
  });
  omp_set_num_threads(threads);
  EXPECT_EQ(calls, 3);
}

// libgomp starts threads anew for regions inside of a region, even one of a single thread. That
// once cost a large network a third of its pass.
TEST(ForEachItem, StartsNoThreadsInsideOfItself) {
  const int threads = omp_get_max_threads();
  omp_set_num_threads(2);
  std::mutex mutex;
  std::set<pid_t> seen;
  std::atomic<int> calls = 0;
  for (std::int64_t outer : {1, 4}) {
    for (int repeat = 0; repeat < 20; ++repeat) {
      for_each_item(outer, [&](std::int64_t, int) {
        for_each_item(8, [&](std::int64_t, int thread) {
          EXPECT_LT(thread, 2);
          ++calls;
          const std::lock_guard<std::mutex> lock(mutex);
          seen.insert(gettid());  // which is not given again soon
        });
      });
    }
  }
  omp_set_num_threads(threads);
  EXPECT_EQ(calls, 20 * 8 * (1 + 4));
  EXPECT_LE(seen.size(), 2u);
}

TEST(Product, ReluKeepsNaN) {
  const auto shape = shape_of(16, 16, 4, 4, 3, 1, 1);
  std::mt19937 generator(1);
  for (const char* method : {"direct", "winograd 4x4"}) {
    Values x(shape.in, 1, generator), y(shape.out, 1, generator);
    x.data()[0] = std::numeric_limits<float>::quiet_NaN();
    const auto product = make(shape, Direction::forward, method);
    product->load(at::ones({16, 16, 3, 3}));
    Workspace workspace;
    Epilogue relu;
    relu.relu = true;
    product->run(x.data(), 1, nullptr, relu, y.data(), workspace);
    EXPECT_TRUE(std::isnan(y[0])) << method;
  }
}

}  // namespace
}  // namespace cmat::test
