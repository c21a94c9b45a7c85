#include "cmat/core/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <vector>

namespace cmat {
namespace {

Key example_key() {
  Key key;
  key.seed = 1;
  key.task = 2;
  key.stage = 3;
  key.epoch = 4;
  key.sample = 5;
  key.step = 6;
  key.purpose = Purpose::shuffle;
  return key;
}

// Runs on disk depend on these values, which were also computed by a second program from the
// description in random.h and random.cpp. If this test fails, mend the code and not the test.
TEST(Random, KnownAnswers) {
  Random random(example_key());
  for (const std::uint64_t expected : {0x82157fdc3ea1a492ULL, 0xd5f34ecf276c199fULL,
                                       0xa9b7e17ca063b28aULL, 0x0551ee5df473d808ULL}) {
    EXPECT_EQ(random.bits(), expected);
  }
  Random zero{Key{}};
  for (const std::uint64_t expected : {0x0648522783300d17ULL, 0x0c4223ac882a35c4ULL}) {
    EXPECT_EQ(zero.bits(), expected);
  }
  EXPECT_EQ(Random(example_key()).uniform(), 0x1.042affb87d434p-1);
  EXPECT_EQ(Random(example_key()).permutation(10),
            (std::vector<std::int64_t>{7, 1, 5, 0, 3, 8, 9, 2, 4, 6}));
  Random below(example_key());
  for (const std::uint64_t expected : {946ULL, 447ULL, 866ULL, 680ULL, 572ULL})
    EXPECT_EQ(below.below(1000), expected);
  Random normal(example_key());
  for (const double expected :
       {0.6111914446627684, -1.022530972132586, 1.4622739770582742, 0.1920268061235084}) {
    EXPECT_NEAR(normal.normal(), expected, 1e-14);  // log and sin may differ in the last bit
  }
}

TEST(Random, PurposesKeepTheirNumbers) {
  EXPECT_EQ(static_cast<int>(Purpose::initial_weights), 1);
  EXPECT_EQ(static_cast<int>(Purpose::validation_split), 2);
  EXPECT_EQ(static_cast<int>(Purpose::subset), 3);
  EXPECT_EQ(static_cast<int>(Purpose::task_order), 4);
  EXPECT_EQ(static_cast<int>(Purpose::shuffle), 5);
  EXPECT_EQ(static_cast<int>(Purpose::augment), 6);
  EXPECT_EQ(static_cast<int>(Purpose::attack_start), 7);
  EXPECT_EQ(static_cast<int>(Purpose::synthetic_prototype), 8);
  EXPECT_EQ(static_cast<int>(Purpose::synthetic_image), 9);
  EXPECT_EQ(static_cast<int>(Purpose::evaluation), 10);
  EXPECT_EQ(static_cast<int>(Purpose::torch_generator), 11);
}

TEST(Random, TheSameKeyGivesTheSameSequence) {
  Random a(example_key());
  Random b(example_key());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(a.bits(), b.bits());
}

TEST(Random, EveryFieldOfTheKeyCounts) {
  std::vector<Key> keys(9, example_key());
  ++keys[1].seed;
  ++keys[2].task;
  ++keys[3].stage;
  ++keys[4].epoch;
  ++keys[5].sample;
  ++keys[6].step;
  keys[7].purpose = Purpose::augment;
  std::swap(keys[8].task, keys[8].stage);
  std::set<std::uint64_t> seen;
  for (const Key& key : keys) {
    Random random(key);
    for (int i = 0; i < 100; ++i) seen.insert(random.bits());
  }
  EXPECT_EQ(seen.size(), 900u);
}

TEST(Random, NeighbouringKeysAreUnrelated) {
  // First bits of 20,000 neighbouring samples: each bit is set in half of them (8 sigma).
  std::array<int, 64> ones{};
  for (std::uint64_t sample = 0; sample < 20'000; ++sample) {
    const std::uint64_t bits = Random(example_key().for_sample(sample)).bits();
    for (std::size_t bit = 0; bit < 64; ++bit) ones[bit] += bits >> bit & 1;
  }
  for (const int count : ones) EXPECT_NEAR(count, 10'000, 8 * std::sqrt(5000));
}

TEST(Random, KeyHelpersChangeOneField) {
  const Key key = example_key();
  EXPECT_EQ(key.for_purpose(Purpose::augment).purpose, Purpose::augment);
  EXPECT_EQ(key.for_purpose(Purpose::augment).sample, key.sample);
  EXPECT_EQ(key.for_sample(9).sample, 9u);
  EXPECT_EQ(key.for_sample(9).step, key.step);
  EXPECT_EQ(key.for_step(9).step, 9u);
  EXPECT_EQ(key.for_step(9).seed, key.seed);
}

TEST(Random, UniformFillsItsIntervalEvenly) {
  Random random(example_key());
  std::array<int, 10> counts{};
  for (int i = 0; i < 100'000; ++i) {
    const double value = random.uniform();
    ASSERT_GE(value, 0);
    ASSERT_LT(value, 1);
    ++counts[static_cast<std::size_t>(value * 10)];
  }
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 600);  // 6 sigma
  for (int i = 0; i < 1000; ++i) {
    const double value = random.uniform(-3, -1);
    ASSERT_GE(value, -3);
    ASSERT_LT(value, -1);
  }
}

TEST(Random, BelowReachesEveryValueEvenly) {
  Random random(example_key());
  std::array<int, 7> counts{};
  for (int i = 0; i < 70'000; ++i) ++counts.at(random.below(7));
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 600);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(random.below(1), 0u);
}

TEST(Random, BelowIsUnbiasedForLargeRanges) {
  // Without rejection the lower half of {0, ..., 3 * 2^62 - 1} would come up in 2/3 of all draws.
  Random random(example_key());
  const std::uint64_t n = 3ULL << 62;
  int low = 0;
  for (int i = 0; i < 30'000; ++i) {
    const std::uint64_t value = random.below(n);
    ASSERT_LT(value, n);
    low += value < n / 3;
  }
  EXPECT_NEAR(low, 10'000, 500);
}

TEST(Random, NormalHasTheRightMoments) {
  Random random(example_key());
  constexpr int n = 200'000;
  double sum = 0, squares = 0, cubes = 0, fourths = 0;
  for (int i = 0; i < n; ++i) {
    const double value = random.normal();
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    squares += value * value;
    cubes += value * value * value;
    fourths += value * value * value * value;
  }
  EXPECT_NEAR(sum / n, 0, 0.015);
  EXPECT_NEAR(squares / n, 1, 0.02);
  EXPECT_NEAR(cubes / n, 0, 0.06);
  EXPECT_NEAR(fourths / n, 3, 0.15);
}

TEST(Random, PermutationHoldsEveryNumberOnce) {
  for (const std::int64_t n : {0, 1, 2, 17, 1000}) {
    std::vector<std::int64_t> order = Random(example_key()).permutation(n);
    std::sort(order.begin(), order.end());
    ASSERT_EQ(order.size(), static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < order.size(); ++i) {
      EXPECT_EQ(order[i], static_cast<std::int64_t>(i));
    }
  }
}

TEST(Random, EveryPermutationIsEquallyLikely) {
  std::array<int, 6> counts{};
  for (std::uint64_t sample = 0; sample < 12'000; ++sample) {
    const auto order = Random(example_key().for_sample(sample)).permutation(3);
    ++counts.at(static_cast<std::size_t>(order[0] * 2 + (order[1] > order[2])));
  }
  for (const int count : counts) EXPECT_NEAR(count, 2000, 250);
}

}  // namespace
}  // namespace cmat
