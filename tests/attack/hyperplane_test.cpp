#include "cmat/attack/hyperplane.h"

#include "attack_helpers.h"
#include "cmat/attack/projection.h"

namespace cmat::attack {
namespace {

using test::golden;
using test::golden_tensor;
using test::max_difference;

const std::vector<std::pair<std::string, Norm>> norms = {
    {"Linf", Norm::linf}, {"L2", Norm::l2}, {"L1", Norm::l1}};

TEST(HyperplaneGolden, ByHand) {
  const nlohmann::json entries =
      golden("hyperplanes.json").at("golden_small");  // outlives the loop
  for (const auto& [offset, entry] : entries.items()) {
    const at::Tensor t = golden_tensor(entry.at("t")).unsqueeze(0);
    const at::Tensor w = golden_tensor(entry.at("w")).unsqueeze(0);
    const at::Tensor excess = (t * w).sum(1) - entry.at("b").get<double>();
    for (const auto& [name, norm] : norms) {
      const at::Tensor step = hyperplane_step(t, w, excess, norm);
      EXPECT_LE(max_difference(step[0], golden_tensor(entry.at(name))), 1e-12) << offset << name;
    }
  }
}

TEST(HyperplaneGolden, Random) {
  const nlohmann::json file = golden("hyperplanes.json").at("random");
  const at::Tensor t = golden_tensor(file.at("t")), w = golden_tensor(file.at("w"));
  const at::Tensor excess = (t * w).sum(1) - golden_tensor(file.at("b"));
  for (const auto& [name, norm] : norms) {
    const at::Tensor steps = hyperplane_step(t, w, excess, norm);
    const at::Tensor expected = golden_tensor(file.at(name));
    for (std::int64_t i = 0; i < t.size(0); ++i) {
      EXPECT_LE(max_difference(steps[i], expected[i]), 1e-12)
          << name << " " << file.at("names")[static_cast<std::size_t>(i)];
    }
  }
}

TEST(Hyperplane, StepsAreTheShortestAndStayInTheBox) {
  Random random({.seed = 4});
  for (int k = 0; k < 300; ++k) {
    SCOPED_TRACE(k);
    std::vector<double> points(8), weights(8);
    for (double& p : points) p = std::clamp(random.uniform(-0.3, 1.3), 0.0, 1.0);
    for (double& w : weights) w = random.below(4) ? random.normal() : 0.0;
    const at::Tensor t = at::tensor(points, at::kDouble).view({1, 8});
    const at::Tensor w = at::tensor(weights, at::kDouble).view({1, 8});
    const double excess = random.uniform(-1, 1);
    std::vector<double> downhill = weights;
    if (excess < 0) std::for_each(downhill.begin(), downhill.end(), [](double& v) { v = -v; });
    for (const Norm norm : {Norm::linf, Norm::l2}) {
      const at::Tensor d = hyperplane_step(t, w, at::full({1}, excess, at::kDouble), norm);
      EXPECT_GE((t + d).min().item<double>(), -1e-15);
      EXPECT_LE((t + d).max().item<double>(), 1 + 1e-15);
      const double expected =
          plane_distance(points.data(), downhill.data(), 8, std::abs(excess), norm);
      const double fallen = (w * d).sum().item<double>();
      const double length = at::linalg_vector_norm(
                                d, norm == Norm::l2 ? 2.0 : std::numeric_limits<double>::infinity())
                                .item<double>();
      if (std::isfinite(expected)) {
        EXPECT_NEAR(fallen, -excess, 1e-12);
        EXPECT_NEAR(length, expected, 1e-12);
      } else {
        EXPECT_NEAR(std::abs(fallen), reach(points.data(), downhill.data(), 8, 1e6, norm), 1e-12);
      }
    }
  }
}

TEST(Hyperplane, OtherDevicesTakeTheSameSteps) {
  const at::Tensor t = at::rand({300, 1, 3, 3}, at::kDouble).mul(1.4).sub(0.2).clamp(0, 1);
  const at::Tensor w = at::randn({300, 1, 3, 3}, at::kDouble) * (at::rand({300, 1, 3, 3}) > 0.3);
  const at::Tensor excess = at::randn({300}, at::kDouble);
  for (const Norm norm : {Norm::linf, Norm::l2}) {
    const at::Tensor loops = hyperplane_step(t, w, excess, norm);
    EXPECT_LE(max_difference(loops, hyperplane_step(t, w, excess, norm, /*with_tensors=*/true)),
              1e-13);
  }
}

TEST(Hyperplane, RowsDoNotSeeEachOther) {
  const at::Tensor t = at::rand({7, 3, 4, 4}, at::kDouble),
                   w = at::randn({7, 3, 4, 4}, at::kDouble);
  const at::Tensor excess = at::randn({7}, at::kDouble);
  for (const auto& [name, norm] : norms) {
    const at::Tensor all = hyperplane_step(t, w, excess, norm);
    const at::Tensor one =
        hyperplane_step(t.narrow(0, 3, 1), w.narrow(0, 3, 1), excess.narrow(0, 3, 1), norm);
    EXPECT_LE(max_difference(all.narrow(0, 3, 1), one), 1e-15) << name;
  }
}

}  // namespace
}  // namespace cmat::attack
