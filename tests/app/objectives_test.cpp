// Every objective trains under every method, and what a method promises holds under each of them.
#include <gtest/gtest.h>

#include "app/tiny_run.h"

namespace cmat::test {
namespace {

/// Two steps a task.
Arguments two_steps() {
  return {"data.synthetic.train_per_class=4",
          "optimizer.batch=4",
          "compact.epochs=1",
          "data.validation=0.0",
          "stream.only=[0,1]",
          "objective.free_replays=2"};
}

class ObjectiveGrid : public testing::TestWithParam<std::string> {};

TEST_P(ObjectiveGrid, TrainsAndForgetsNothing) {
  TemporaryFolder folder;
  for (const std::string objective :
       {"standard", "pgd-at", "free", "fast", "trades", "mart", "anp-vs", "pgd-at+awp"}) {
    SCOPED_TRACE(objective);
    const bool awp = objective.ends_with("+awp");
    const fs::path run = folder / objective;
    train_to_end(
        run, two_steps() + Arguments{"method.name=" + GetParam(),
                                     "objective.name=" + objective.substr(0, objective.find('+')),
                                     std::string("objective.awp=") + (awp ? "0.01" : "0")});
    const json results = read_json(run / "results.json");
    EXPECT_EQ(results.at("tasks").size(), 2U);
    EXPECT_GT(results.at("images_backward").get<std::int64_t>(), 0);
    if (GetParam() == "finetune") continue;  // forgets, and says so
    const Outcome proof = run_program({"verify", run.string(), "--json", "--threads", "1"});
    EXPECT_EQ(json::parse(proof.out).at("identical"), true) << proof.err;
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, ObjectiveGrid,
                         testing::Values("cmat", "packnet", "pae", "piggyback", "individual",
                                         "finetune", "joint"),
                         [](const auto& each) { return each.param; });

}  // namespace
}  // namespace cmat::test
