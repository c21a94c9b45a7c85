#include "cmat/compare/plan.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/expect_error.h"
#include "core/temporary_folder.h"

namespace cmat::compare {
namespace {

using test::expect_usage_error;

const std::string kTwoRows = R"(base = "base.toml"
seeds = [1, 2]
set = ["threat.eps=4/255"]
[evaluation]
attacks = ["clean", "pgd20"]
limit = 50
[[row]]
name = "cmat"
set = ["method.name=cmat"]
[[row]]
name = "packnet"
label = "PackNet"
seeds = [1]
set = ["method.name=packnet"]
published = "52.0"
published_note = "PGD-20, 5-way"
[[contrast]]
a = "cmat"
b = "packnet"
attack = "pgd20"
question = "not-worse"
)";

class PlanFile : public testing::Test {
 protected:
  Plan load(const std::string& toml, const std::vector<std::string>& overrides = {}) {
    std::ofstream(folder_ / "base.toml") << "seed = 1\n";
    std::ofstream(folder_ / "plan.toml") << toml;
    return load_plan(folder_ / "plan.toml", overrides);
  }
  void refuse(const std::string& toml, const std::vector<std::string>& parts) {
    expect_usage_error(parts, [&] { load(toml); });
  }
  /// kTwoRows with one text for another.
  static std::string with(const std::string& old, const std::string& now) {
    std::string toml = kTwoRows;
    return toml.replace(toml.find(old), old.size(), now);
  }

 private:
  test::TemporaryFolder folder_;
};

TEST_F(PlanFile, IsReadWithItsDefaults) {
  const Plan plan = load(kTwoRows, {"compact.epochs=2"});
  EXPECT_EQ(plan.name, "plan");
  ASSERT_EQ(plan.rows.size(), 2U);
  EXPECT_EQ(plan.rows[0].label, "cmat");
  EXPECT_EQ(plan.rows[0].group, "task-aware");
  ASSERT_EQ(plan.rows[0].runs.size(), 2U);
  EXPECT_EQ(plan.rows[0].runs[1].name, "cmat-s2");
  EXPECT_EQ(plan.rows[0].runs[1].overrides,
            (std::vector<std::string>{"threat.eps=4/255", "method.name=cmat", "seed=2",
                                      "compact.epochs=2"}));
  EXPECT_EQ(plan.rows[1].runs.size(), 1U);
  EXPECT_EQ(plan.contrasts[0].question, Question::not_worse);
  EXPECT_DOUBLE_EQ(plan.margin, 0.02);
}

TEST_F(PlanFile, ASourceHasWhatIsCommonToAllRows) {
  const std::string row = "[[row]]\nname = \"pre\"\nset = [\"a=1\"]\nsource = [\"b=2\"]\n";
  const Plan plan = load(kTwoRows + row, {"compact.epochs=2"});
  EXPECT_TRUE(plan.rows[0].runs[0].source.empty());
  EXPECT_EQ(plan.rows[2].runs[1].overrides,
            (std::vector<std::string>{"threat.eps=4/255", "a=1", "seed=2", "compact.epochs=2"}));
  EXPECT_EQ(plan.rows[2].runs[1].source,
            (std::vector<std::string>{"threat.eps=4/255", "b=2", "seed=2", "compact.epochs=2"}));
}

TEST_F(PlanFile, FirstSeedsOfAllRowsComeFirst) {
  const Plan plan = load(kTwoRows);
  std::string order;
  for (const RunIndex& i : run_order(plan)) order += plan.rows[i.row].runs[i.run].name + " ";
  EXPECT_EQ(order, "cmat-s1 packnet-s1 cmat-s2 ");
}

TEST_F(PlanFile, OrdersMultiplyRuns) {
  const Plan plan = load("orders = [\"given\", \"seeded\"]\n" + kTwoRows);
  ASSERT_EQ(plan.rows[0].runs.size(), 4U);
  EXPECT_EQ(plan.rows[0].runs[1].name, "cmat-s1-seeded");
  EXPECT_EQ(plan.rows[0].runs[1].overrides.back(), "stream.order=seeded");
}

TEST_F(PlanFile, TwoProtocolsShareNeitherTableNorContrast) {
  const std::string other = with("label = \"PackNet\"",
                                 "label = \"PackNet\"\nprotocol = \"class-incremental\"\n"
                                 "group = \"task-aware\"");
  refuse(other, {"two protocols cannot share a table", "cmat", "packnet"});
  refuse(with("label = \"PackNet\"", "protocol = \"class-incremental\""),
         {"contrast.1.", "different protocols"});
}

TEST_F(PlanFile, MistakesAreNamed) {
  refuse(with("b = \"packnet\"", "b = \"paknet\""), {"no row \"paknet\"", "did you mean packnet"});
  refuse(with("name = \"packnet\"", "name = \"cmat\""), {"cmat"});
  refuse(with("name = \"packnet\"", "name = \"../x\""), {"row.2.name", "../x"});
  refuse(with("attack = \"pgd20\"", "attack = \"pgd40\""), {"contrast.1.attack", "pgd40"});
  refuse(with("seeds = [1, 2]", "seeds = [1, 1]"), {"seeds", "twice"});
  refuse(with("published_note = \"PGD-20, 5-way\"", ""), {"published_note"});
  refuse(with("base.toml", "bass.toml"), {"base", "bass.toml"});
  refuse(with("limit = 50", "limits = 50"), {"evaluation.limits"});
  refuse("base = \"base.toml\"\n", {"[[row]]"});
}

}  // namespace
}  // namespace cmat::compare
