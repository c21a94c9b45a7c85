// The bound `small`: what the formula counts is what a run stores, and no wider network fits.
#include "cmat/continual/budget.h"

#include <gtest/gtest.h>

#include "cmat/continual/run.h"
#include "cmat/continual/setup.h"
#include "continual/short_run.h"
#include "core/expect_error.h"
#include "core/temporary_folder.h"

namespace cmat::continual {
namespace {

using nlohmann::json;

json results_of_run(const std::filesystem::path& out, const test::Overrides& overrides) {
  return test::trained(test::short_run(out, {"compact.epochs=1"}, overrides));
}

nn::NetworkOptions network_like(const std::string& architecture) {
  nn::NetworkOptions options;
  options.architecture = architecture;
  return options;
}

TEST(Budget, TheWidestNetworkThatFits) {
  for (const char* architecture : {"resnet8", "resnet18", "vgg16_bn", "small_cnn", "tinybn"}) {
    for (const std::int64_t budget : {2'000'000, 5'000'000, 30'000'000}) {
      const std::vector<std::int64_t> classes(20, 5);
      nn::NetworkOptions network = network_like(architecture);
      network.width = width_within(budget, network, classes);
      EXPECT_LE(stored_bytes(nn::describe(network), classes), budget) << architecture;
      network.width += 1.0 / 1024;
      if (network.width > nn::kMaxWidth) continue;
      EXPECT_GT(stored_bytes(nn::describe(network), classes), budget) << architecture;
    }
  }
}

TEST(Budget, TooLittleIsRefused) {
  test::expect_usage_error({"method.budget = 1000", "20 networks resnet8", "at the least"}, [] {
    width_within(1000, network_like("resnet8"), std::vector<std::int64_t>(20, 5));
  });
}

TEST(Budget, OfAnotherRunIsMetAndOnRecord) {
  const test::TemporaryFolder folder;
  const json reference = results_of_run(folder / "cmat", {});
  const std::int64_t budget = reference.at("bytes").at("total");
  const json small = results_of_run(
      folder / "small", {"method.name=small", "method.budget_run=" + (folder / "cmat").string()});
  const std::int64_t total = small.at("bytes").at("total");
  EXPECT_EQ(small.at("bytes").at("budget"), budget);
  EXPECT_LE(total, budget);
  EXPECT_GT(total, budget * 9 / 10);
  EXPECT_LT(small.at("width"), reference.at("width"));
  const OpenedRun opened = open_run(folder / "small", {});
  EXPECT_EQ(stored_bytes(opened.setup->description, {2, 2, 2}), total);
  // The run is read once: its config holds the number.
  std::filesystem::remove_all(folder / "cmat");
  EXPECT_TRUE(verify(folder / "small", {}).at("identical").get<bool>());
  TrainOptions again;
  again.config = folder / "small";
  again.resume = true;
  EXPECT_EQ(train(again), RunStatus::finished);
}

}  // namespace
}  // namespace cmat::continual
