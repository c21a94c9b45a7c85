#include "cmat/attack/losses.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "cmat/attack/classifier.h"
#include "cmat/core/error.h"
#include "golden_tensor.h"

namespace cmat::attack {
namespace {

using test::golden;
using test::golden_net;
using test::golden_tensor;
using test::max_difference;

using Loss =
    std::function<at::Tensor(const at::Tensor& z, const at::Tensor& y, const at::Tensor& t)>;

/// The losses by their names in the golden files.
const std::map<std::string, Loss>& losses() {
  static const std::map<std::string, Loss> table = {
      {"ce", [](auto& z, auto& y, auto&) { return cross_entropy(z, y); }},
      {"ce_targeted", [](auto& z, auto&, auto& t) { return cross_entropy_targeted(z, t); }},
      {"margin", [](auto& z, auto& y, auto&) { return margin(z, y); }},
      {"targeted_margin", [](auto& z, auto& y, auto& t) { return margin_targeted(z, y, t); }},
      {"dlr", [](auto& z, auto& y, auto&) { return dlr(z, y); }},
      {"dlr_targeted", [](auto& z, auto& y, auto& t) { return dlr_targeted(z, y, t); }},
  };
  return table;
}

TEST(LossesGolden, ValuesAndLogitGradients) {
  const nlohmann::json tables = golden("losses.json").at("table");
  int compared = 0;
  for (const auto& [classes, entry] : tables.items()) {
    if (!entry.contains("y")) continue;  // the hand-made row has its own test
    const at::Tensor y = golden_tensor(entry.at("y")), t = golden_tensor(entry.at("target"));
    for (const auto& [name, loss] : losses()) {
      if (!entry.contains(name)) continue;
      SCOPED_TRACE(classes + " " + name);
      at::Tensor z = golden_tensor(entry.at("logits")).requires_grad_(true);
      const at::Tensor values = loss(z, y, t);
      EXPECT_LE(max_difference(values.detach(), golden_tensor(entry.at(name).at("value"))), 1e-12);
      values.sum().backward();
      EXPECT_LE(max_difference(z.grad(), golden_tensor(entry.at(name).at("grad_logits"))), 1e-10);
      ++compared;
    }
  }
  EXPECT_GT(compared, 0);
}

TEST(LossesGolden, HandMadeRow) {
  const nlohmann::json entry = golden("losses.json").at("table").at("hand_made");
  const at::Tensor row = golden_tensor(entry.at("logits"));
  const std::int64_t classes = row.size(0);
  const at::Tensor z = row.expand({classes, classes}), y = at::arange(classes);
  EXPECT_LE(max_difference(margin(z, y), golden_tensor(entry.at("margin"))), 1e-12);
  EXPECT_LE(max_difference(dlr(z, y), golden_tensor(entry.at("dlr"))), 1e-12);
  for (std::int64_t target = 0; target < classes; ++target) {
    const at::Tensor expected =
        golden_tensor(entry.at("dlr_targeted_row_y_col_t")).select(1, target);
    EXPECT_LE(max_difference(dlr_targeted(z, y, at::full_like(y, target)), expected), 1e-12);
  }
}

TEST(LossesGolden, ValuesOnTheNetworks) {
  const nlohmann::json nets = golden("losses.json").at("net");
  ASSERT_FALSE(nets.empty());
  for (const auto& [net_name, entry] : nets.items()) {
    const auto net = golden_net(net_name);
    const at::Tensor t = golden_tensor(entry.at("target"));
    const at::Tensor z = NetworkClassifier(*net.network).logits(net.x);
    for (const auto& [name, loss] : losses()) {
      if (!entry.contains(name)) continue;
      EXPECT_LE(max_difference(loss(z, net.y, t), golden_tensor(entry.at(name))), 1e-12)
          << net_name << " " << name;
    }
  }
}

TEST(LossesGolden, InputGradients) {
  const nlohmann::json gradients = golden("loss_gradients.json").at("input_gradients");
  const nlohmann::json tables = golden("losses.json").at("net");
  for (const auto& [net_name, entry] : gradients.items()) {
    const auto net = golden_net(net_name);
    const at::Tensor t = golden_tensor(tables.at(net_name).at("target"));
    NetworkClassifier model(*net.network);
    for (const auto& [name, array] : entry.items()) {
      if (!losses().contains(name)) continue;
      const Loss& loss = losses().at(name);
      const Gradient g = model.gradient(net.x, [&](auto& z) { return loss(z, net.y, t); });
      EXPECT_LE(max_difference(g.dx, golden_tensor(array)), 1e-10) << net_name << " " << name;
    }
  }
}

TEST(Losses, TooFewClassesAreOneSentence) {
  const at::Tensor y = at::zeros({1}, at::kLong);
  try {
    dlr(at::rand({1, 2}), y);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "the DLR loss needs at least 3 classes, but the network has 2");
  }
  EXPECT_THROW(dlr_targeted(at::rand({1, 3}), y, y), Error);
}

TEST(Losses, TiedLogitsGiveFiniteValues) {
  const at::Tensor z = at::ones({2, 5}, at::kDouble), y = at::zeros({2}, at::kLong);
  EXPECT_TRUE(dlr(z, y).isfinite().all().item<bool>());
  EXPECT_TRUE(dlr_targeted(z, y, y + 1).isfinite().all().item<bool>());
}

}  // namespace
}  // namespace cmat::attack
