#include "cmat/attack/square.h"

#include "attack_helpers.h"
#include "cmat/attack/losses.h"
#include "cmat/attack/projection.h"

namespace cmat::attack {
namespace {

using test::golden;
using test::golden_net;
using test::golden_tensor;
using test::GoldenNet;
using test::max_difference;

TEST(SquareGolden, ShareSchedule) {
  const nlohmann::json entries = golden("square.json").at("p_schedule");  // outlives the loop
  for (const auto& [name, entry] : entries.items()) {
    const SquareOptions options = {.queries = entry.at("n_queries"),
                                   .rescale = entry.at("rescaled")};
    double expected = 0;
    std::size_t next = 0;
    const nlohmann::json& changes = entry.at("first_iteration_and_p");
    for (int k = 0; k < options.queries; ++k) {
      if (next < changes.size() && changes[next][0] == k) expected = changes[next++][1];
      ASSERT_DOUBLE_EQ(square_share(k, options), expected) << name << " " << k;
    }
    EXPECT_EQ(next, changes.size());
  }
}

TEST(SquareGolden, Sides) {
  const nlohmann::json sides = golden("square.json").at("sides_32");
  for (std::size_t i = 0; i < sides.at("iterations").size(); ++i) {
    const double share = square_share(sides.at("iterations")[i], {});
    EXPECT_EQ(square_side(share, 32, 32, Norm::linf), sides.at("linf")[i]);
    EXPECT_EQ(square_side(share, 32, 32, Norm::l2), sides.at("l2")[i]);
  }
}

TEST(SquareGolden, Bumps) {
  const nlohmann::json entries = golden("square.json").at("eta");  // outlives the loop
  for (const auto& [name, array] : entries.items()) {
    const auto shape = test::shape(array);
    const std::vector<double> actual =
        name.starts_with("square") ? square_bump(shape[0]) : square_rectangle(shape[0], shape[1]);
    const at::Tensor expected = golden_tensor(array).flatten();
    EXPECT_LE(max_difference(at::tensor(actual, at::kDouble), expected), 1e-12) << name;
  }
}

TEST(SquareGolden, MarginsOfStripes) {
  const nlohmann::json entries = golden("square.json").at("margins");  // outlives the loop
  for (const auto& [name, entry] : entries.items()) {
    const GoldenNet net = golden_net(name);
    NetworkClassifier model(*net.network);
    const at::Tensor clean = margin(model.logits(net.x), net.y).neg();
    EXPECT_LE(max_difference(clean, golden_tensor(entry.at("clean_margin"))), 1e-12);
    const double eps = entry.at("eps");
    const at::Tensor moved = net.x + eps * golden_tensor(entry.at("stripe_signs"));
    const at::Tensor start = project(net.x, moved, {Norm::linf, eps});
    const at::Tensor margins = margin(model.logits(start), net.y).neg();
    EXPECT_LE(max_difference(margins, golden_tensor(entry.at("start_margin"))), 1e-12);
  }
}

TEST(Square, ARowDependsNeitherOnItsBatchNorOnItsPlace) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  for (const Norm norm : {Norm::linf, Norm::l2}) {
    const auto attack = make_square(
        {.threat = {norm, norm == Norm::linf ? 0.008 : 0.1}, .queries = 150, .restarts = 2});
    const AttackResult all = expect_rows_stand_alone(*attack, model, net, {.seed = 9});
    EXPECT_FALSE(all.fooled.all().item<bool>());
  }
}

/// Contiguous images have a loop of their own.
TEST(Square, OtherLayoutsGiveTheSame) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  const auto attack = make_square({.threat = {Norm::linf, 0.008}, .queries = 60});
  const AttackResult plain = attack->run(model, net.x, net.y, ids(6), {.seed = 3});
  EXPECT_FALSE(plain.fooled.all().item<bool>());  // so that it goes to the end
  const at::Tensor last = net.x.contiguous(at::MemoryFormat::ChannelsLast);
  ASSERT_FALSE(last.is_contiguous());
  const AttackResult other = attack->run(model, last, net.y, ids(6), {.seed = 3});
  EXPECT_TRUE(other.adversarial.equal(plain.adversarial));
  EXPECT_EQ(other.forwards, plain.forwards);
}

TEST(Square, FindsTheCornerOfALinearModel) {
  // The margin of a linear model is largest in a corner of the cube, which random signs approach
  // when windows shrink to single pixels.
  for (const std::int64_t classes : {2, 3, 6}) {
    LinearCase c = linear_case(classes, true, 5);
    const std::vector<double> exact = c.model.exact_distances(c.x, c.y, Norm::linf);
    for (std::int64_t i = 0; i < 5; ++i) {
      const double distance = exact[static_cast<std::size_t>(i)];
      if (!std::isfinite(distance) || distance > 0.4) continue;
      const auto fooled_at = [&](double eps) {
        return make_square({.threat = {Norm::linf, eps}, .queries = 1500})
            ->run(c.model, c.x.narrow(0, i, 1), c.y.narrow(0, i, 1), {i}, {})
            .fooled.item<bool>();
      };
      EXPECT_FALSE(fooled_at(distance * 0.999)) << classes << " " << i;
      EXPECT_TRUE(fooled_at(distance * 1.5)) << classes << " " << i;
    }
  }
}

TEST(Square, StaysInBallAndBoxAndUsesTheBall) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const nn::Description description = nn::describe({.architecture = "resnet8", .classes = 5});
    const auto network = nn::build_network(description, dtype, at::kCPU);
    nn::initialize(*network, description, 1, 1);
    NetworkClassifier model(*network);
    const at::Tensor images = at::rand({2, 3, 32, 32}, dtype).round_(/*decimals=*/1);
    const at::Tensor labels = model.logits(images).argmax(1);
    for (const Norm norm : {Norm::linf, Norm::l2}) {
      for (const double eps : {0.0, 1e-4, 0.5}) {
        // finish() throws if ball or box are left.
        const AttackResult result = make_square({.threat = {norm, eps}, .queries = 5})
                                        ->run(model, images, labels, ids(2), {});
        const at::Tensor unused = result.fooled.logical_and(result.distance < 0.6 * eps);
        EXPECT_FALSE(unused.any().item<bool>());
      }
    }
  }
}

TEST(Square, CountsNamesAndRefusals) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  const AttackResult result = make_square({.threat = {Norm::linf, 1e-6}, .queries = 20})
                                  ->run(model, net.x, net.y, ids(6), {});
  EXPECT_EQ(result.forwards, 6 * (1 + 1 + 20 + 1));
  EXPECT_EQ(result.backwards, 0);
  EXPECT_EQ(make_square({.queries = 300, .restarts = 2})->name(), "square300x2");
  EXPECT_EQ(make_square({})->recipe(),
            "Square on the margin, linf eps = 0.0313725 (8/255), 5000 queries, 1 run, first "
            "windows 0.8 of the image, not rescaled, windows per image");
  EXPECT_EQ(message_of([] {
              make_square({.threat = {Norm::l1, 1}});
            }),
            "Square attacks in linf and l2, not in l1");
  EXPECT_NE(message_of([] { make_square({.queries = 0}); }), "");
  EXPECT_NE(message_of([] { make_square({.first_share = 0}); }), "");
}

}  // namespace
}  // namespace cmat::attack
