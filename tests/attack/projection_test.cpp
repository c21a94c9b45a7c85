#include "cmat/attack/projection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "cmat/core/error.h"
#include "golden_tensor.h"

namespace cmat::attack {
namespace {

using test::golden;
using test::golden_tensor;
using test::max_difference;

/// Golden rows [n, d] as images.
at::Tensor rows_as_images(const nlohmann::json& array) {
  const at::Tensor rows = golden_tensor(array);
  return rows.view({rows.size(0), rows.size(1), 1, 1});
}

void expect_golden(const char* kind, Norm norm) {
  const nlohmann::json file = golden("projections.json");
  const at::Tensor x = rows_as_images(file.at("points").at("x"));
  const at::Tensor delta = rows_as_images(file.at("points").at("delta"));
  for (const auto& [radius, entry] : file.at(kind).items()) {
    const at::Tensor projected = project(x, x + delta, {norm, entry.at("eps").get<double>()});
    EXPECT_LE(max_difference(projected - x, rows_as_images(entry.at("delta"))), 1e-12) << radius;
  }
}

TEST(ProjectionGolden, Linf) { expect_golden("linf", Norm::linf); }
TEST(ProjectionGolden, L2ThenBox) { expect_golden("l2_then_box", Norm::l2); }

TEST(ProjectionGolden, L1IsExact) {
  expect_golden("l1_exact", Norm::l1);
  const nlohmann::json few = golden("projections.json").at("l1_few_inside");
  const at::Tensor x = rows_as_images(few.at("x"));
  const at::Tensor projected =
      project(x, x + rows_as_images(few.at("delta_in")), {Norm::l1, few.at("eps").get<double>()});
  EXPECT_LE(max_difference(projected - x, rows_as_images(few.at("delta"))), 1e-12);
}

struct RandomCase {
  at::Tensor images, moved;
  ThreatModel threat;
};

/// Images with exact zeros and ones, moves from far inside the ball to far outside the box.
RandomCase random_case(std::uint64_t seed) {
  Random random({.seed = seed, .purpose = Purpose::evaluation});
  RandomCase result;
  const Norm norms[] = {Norm::linf, Norm::l2, Norm::l1};
  result.threat.norm = norms[random.below(3)];
  result.threat.eps_pixels = random.below(8) ? random.uniform(0, 1) * random.uniform() : 0;
  std::vector<double> pixels(2 * 3 * 5 * 4), moves(pixels.size());
  const double reach = std::pow(10, random.uniform(-4, 1));
  for (double& pixel : pixels) pixel = std::clamp(random.uniform(-0.2, 1.2), 0.0, 1.0);
  for (double& move : moves) move = reach * random.normal();
  const auto as_images = [](const std::vector<double>& values) {
    return at::tensor(values, at::kDouble).to(at::kFloat).view({2, 3, 5, 4});
  };
  result.images = as_images(pixels);
  result.moved = result.images + as_images(moves);
  return result;
}

TEST(Projection, LandsInBallAndBoxAndStaysThere) {
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE(seed);
    const auto [images, moved, threat] = random_case(seed);
    const at::Tensor once = project(images, moved, threat);
    EXPECT_GE(once.min().item<double>(), 0);
    EXPECT_LE(once.max().item<double>(), 1);
    EXPECT_LE(distance(images, once, threat.norm).max().item<double>(),
              threat.eps_pixels * (1 + 1e-5) + 8e-6);
    EXPECT_LE(max_difference(project(images, once, threat), once), 1e-6);
    if (threat.norm == Norm::linf) {
      EXPECT_TRUE(project(images, once, threat).equal(once));
    }
    if (threat.eps_pixels == 0) {
      EXPECT_TRUE(once.equal(images));
    }
    EXPECT_TRUE(Projector(images, threat)(moved).equal(once));
  }
}

TEST(Projection, LeavesAPointInsideAlone) {
  const at::Tensor images = at::full({1, 1, 2, 2}, 0.5, at::kDouble);
  const at::Tensor moved = images + 0.01;
  EXPECT_TRUE(project(images, moved, {Norm::linf, 0.1}).equal(moved));
  EXPECT_LE(max_difference(project(images, moved, {Norm::l2, 0.1}), moved), 1e-15);
}

TEST(RandomStart, DependsOnTheSampleAndNotOnTheBatch) {
  for (const Norm norm : {Norm::linf, Norm::l2, Norm::l1}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
      const ThreatModel threat = {norm, 0.3};
      const Key key = {.seed = 5, .task = 1, .epoch = 2};
      const at::Tensor images = at::rand({4, 3, 5, 7}, dtype);
      const at::Tensor all = random_start(images, {10, 11, 12, 13}, threat, key);
      const at::Tensor order = at::tensor({2, 0}, at::kLong);
      const at::Tensor some = random_start(images.index_select(0, order), {12, 10}, threat, key);
      EXPECT_TRUE(some.equal(all.index_select(0, order)));
      const at::Tensor channels_last = images.contiguous(at::MemoryFormat::ChannelsLast);
      EXPECT_TRUE(random_start(channels_last, {10, 11, 12, 13}, threat, key).equal(all));
      EXPECT_FALSE(random_start(images, {10, 11, 12, 13}, threat, key.for_step(1)).equal(all));
    }
  }
}

TEST(RandomStart, FillsTheBall) {
  // In the middle of the box nothing is clamped, so the drawn distribution can be seen.
  const at::Tensor images = at::full({400, 1, 3, 3}, 0.5, at::kDouble);
  std::vector<std::int64_t> ids(400);
  std::iota(ids.begin(), ids.end(), 0);
  const Key key = {.seed = 1};
  const at::Tensor cube = random_start(images, ids, {Norm::linf, 0.2}, key) - images;
  EXPECT_NEAR(cube.mean().item<double>(), 0, 0.01);
  EXPECT_NEAR(cube.std().item<double>(), 0.4 / std::sqrt(12.0), 0.005);
  EXPECT_GT(cube.max().item<double>(), 0.199);
  EXPECT_LT(cube.min().item<double>(), -0.199);
  for (const Norm norm : {Norm::l2, Norm::l1}) {
    const at::Tensor lengths = distance(images, random_start(images, ids, {norm, 0.2}, key), norm);
    EXPECT_LE(lengths.max().item<double>(), 0.2 + 1e-12);
    EXPECT_NEAR(lengths.mean().item<double>(), 0.1, 0.01);
    EXPECT_NEAR(lengths.std().item<double>(), 0.2 / std::sqrt(12.0), 0.005);
  }
}

TEST(RandomStart, RadiusZeroIsTheImageAndIdsMustFit) {
  const at::Tensor images = at::rand({2, 3, 4, 4});
  for (const Norm norm : {Norm::linf, Norm::l2}) {
    EXPECT_TRUE(random_start(images, {1, 2}, {norm, 0}, {}).equal(images));
  }
  EXPECT_THROW(random_start(images, {1}, {Norm::linf, 0.1}, {}), Error);
}

}  // namespace
}  // namespace cmat::attack
