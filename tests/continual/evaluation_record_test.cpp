// What the record of cmat eval says of verdicts that are made up: two tasks of two classes.
#include "cmat/continual/evaluation_record.h"

#include <gtest/gtest.h>

namespace cmat::continual {
namespace {

using nlohmann::json;

constexpr double kEps = 8.0 / 255;

/// `wrong`: places of the images that are misclassified, of 10 in task 1 and of 30 in task 2.
Measurement measured(std::int64_t task, const std::string& attack,
                     const std::vector<std::size_t>& wrong) {
  Measurement m;
  m.task = task;
  m.task_name = "some";
  m.classes = 2;
  m.asked = m.attack = attack;
  const std::size_t images = task == 1 ? 10 : 30;
  for (std::size_t i = 0; i < images; ++i) {
    m.verdicts.samples.push_back(static_cast<std::int64_t>(i));
    m.verdicts.labels.push_back(static_cast<std::int64_t>(i % 2));
  }
  m.verdicts.predictions = m.verdicts.labels;
  for (std::size_t i : wrong) m.verdicts.predictions[i] = 1 - m.verdicts.labels[i];
  if (attack != "clean") m.eps_pixels = kEps;
  return m;
}

json record_of(const std::vector<Measurement>& measurements) {
  return evaluation_record({attack::ThreatModel{}}, measurements);
}

json checks_named(const json& record, const std::string& name) {
  json found = json::array();
  for (const json& check : record.at("checks")) {
    if (check.at("check") == name) found.push_back(check);
  }
  return found;
}

/// An AutoAttack of three parts; `broken_by`: which of them broke the wrong images, -1: none.
Measurement auto_attack(const std::vector<std::size_t>& wrong,
                        const std::vector<std::int64_t>& broken_by) {
  Measurement m = measured(1, "autoattack", wrong);
  m.attack = "AA-standard[C=2,t=1]";
  for (const char* name : {"apgd-ce", "square", "fab-t"})
    m.verdicts.parts.push_back({.name = name, .recipe = ""});
  m.verdicts.broken_by.assign(10, -1);
  for (std::size_t i = 0; i < wrong.size(); ++i) m.verdicts.broken_by[wrong[i]] = broken_by[i];
  return m;
}

TEST(EvaluationRecord, TargetsAreCountedBesideAccuracy) {
  // Three classes: image 0 goes to its target, 2, under both attacks, 1 under the second only, and
  // 3 to the class between.
  std::vector<Measurement> all = {measured(1, "clean", {}), measured(1, "apgd-ce", {0, 3}),
                                  measured(1, "square", {0, 1})};
  for (Measurement& m : all) {
    m.classes = 3;
    m.verdicts.targets.assign(10, 2);
  }
  all[1].verdicts.predictions[0] = all[2].verdicts.predictions[0] = 2;
  all[2].verdicts.predictions[1] = 2;
  const json record = record_of(all);
  EXPECT_EQ(record.at("protocol"), "task-aware-targeted");
  std::vector<std::int64_t> reached;
  for (const json& row : record.at("evaluations")) reached.push_back(row.at("reached"));
  EXPECT_EQ(reached, (std::vector<std::int64_t>{0, 1, 2}));
  EXPECT_EQ(record["evaluations"][1].at("correct"), 8);
  EXPECT_DOUBLE_EQ(record["evaluations"][2].at("success").get<double>(), 0.2);
  const json& worst = record["worst_case"][0];
  EXPECT_EQ(worst.at("correct"), 7);
  EXPECT_EQ(worst.at("reached"), 2);
  // Square got where the other did not, which says nothing of gradients that lead elsewhere.
  for (const char* check : {"black-box", "accuracy-rises", "accuracy-rises-with-steps"})
    EXPECT_TRUE(checks_named(record, check).empty()) << check;
}

TEST(EvaluationRecord, WorstCaseIsTakenImageByImage) {
  // Task 1: image 0 is wrong as it is, and 1, 2 and 3 under one or both attacks.
  const json record = record_of({measured(1, "clean", {0}), measured(1, "apgd-ce", {0, 1, 2}),
                                 measured(1, "apgd-t", {2, 3}), measured(2, "clean", {}),
                                 measured(2, "apgd-ce", {5}), measured(2, "apgd-t", {7, 8})});
  ASSERT_EQ(record.at("worst_case").size(), 2u);
  EXPECT_EQ(record["worst_case"][0].at("correct"), 6);
  EXPECT_EQ(record["worst_case"][0].at("total"), 10);
  EXPECT_EQ(record["worst_case"][1].at("correct"), 27);
  const json& mean = record.at("averages").back();
  EXPECT_EQ(mean.at("attack"), "worst case");
  EXPECT_DOUBLE_EQ(mean.at("accuracy").get<double>(), (0.6 + 0.9) / 2);
  EXPECT_DOUBLE_EQ(record.at("means").at("apgd-ce").get<double>(), (0.7 + 29.0 / 30) / 2);
}

TEST(EvaluationRecord, CleanImagesCountInTheWorstCaseThoughNotListed) {
  Measurement clean = measured(1, "clean", {0, 9});
  clean.listed = false;
  const json record = record_of({clean, measured(1, "apgd-ce", {1})});
  EXPECT_EQ(record.at("evaluations").size(), 1u);
  EXPECT_EQ(record.at("verdicts").size(), 1u);
  EXPECT_EQ(record.at("means").size(), 1u);
  EXPECT_EQ(record["worst_case"][0].at("correct"), 7);
  const json clean_only = record_of({measured(1, "clean", {0})});
  EXPECT_TRUE(clean_only.at("worst_case").empty());
  EXPECT_TRUE(clean_only.at("checks").empty());
}

TEST(EvaluationRecord, SquareIsHeldAgainstAllOthers) {
  // Image 0 is wrong as it is, whatever the attacks say of it; image 4 only Square broke.
  const auto checks = [](const std::vector<std::size_t>& square) {
    return checks_named(
        record_of({measured(1, "clean", {0}), measured(1, "apgd-ce", {1, 2}),
                   measured(1, "apgd-t", {2, 3}), measured(1, "square1000", square)}),
        "black-box");
  };
  const json fine = checks({0, 1, 3}), raised = checks({0, 1, 4});
  ASSERT_EQ(fine.size(), 1u);
  EXPECT_EQ(fine[0].at("raised"), false);
  ASSERT_EQ(raised.size(), 1u);
  EXPECT_EQ(raised[0].at("raised"), true);
  EXPECT_EQ(raised[0].at("images"), 1);
  EXPECT_EQ(raised[0].at("eps_pixels"), kEps);
}

TEST(EvaluationRecord, SquareInsideAutoAttackIsHeldAgainstWhatRanBefore) {
  const auto check = [](const std::vector<std::int64_t>& broken_by) {
    const json found = checks_named(
        record_of({measured(1, "clean", {0}), auto_attack({0, 1, 2}, broken_by)}), "black-box");
    EXPECT_EQ(found.size(), 1u);
    return found.at(0);
  };
  // What the part behind Square broke, Square had not broken either.
  EXPECT_EQ(check({-1, 0, 2}).at("raised"), false);
  const json raised = check({-1, 0, 1});
  EXPECT_EQ(raised.at("raised"), true);
  EXPECT_EQ(raised.at("images"), 1);
  EXPECT_NE(raised.at("message").get<std::string>().find("of the 8 images that apgd-ce left"),
            std::string::npos)
      << raised;
}

TEST(EvaluationRecord, AnAttackIsHeldAgainstItselfOverAllTasks) {
  // Three images a task more are right under attack than without one: only both are too many.
  std::vector<Measurement> measurements = {measured(1, "clean", {0, 1, 2}), measured(1, "fgsm", {}),
                                           measured(2, "clean", {0, 1, 2}),
                                           measured(2, "fgsm", {})};
  const json both = checks_named(record_of(measurements), "accuracy-rises");
  measurements.resize(2);
  const json one = checks_named(record_of(measurements), "accuracy-rises");
  ASSERT_EQ(both.size(), 1u);
  EXPECT_EQ(both[0].at("raised"), true);
  EXPECT_EQ(both[0].at("images"), 6);
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].at("raised"), false);
}

TEST(EvaluationRecord, AutoAttackOverDifferentClassesGoesByTheNameAskedFor) {
  Measurement other = auto_attack({1}, {0});
  other.task = 2;
  const std::vector<Measurement> same = {measured(1, "clean", {}), auto_attack({1}, {0})};
  EXPECT_EQ(record_of(same).at("averages")[1].at("attack"), "AA-standard[C=2,t=1]");
  other.attack = "AA-standard[C=5,t=4]";
  Measurement clean = measured(1, "clean", {});
  clean.task = 2;
  const json record = record_of({same[0], same[1], clean, other});
  EXPECT_EQ(record.at("averages")[1].at("attack"), "autoattack");
  EXPECT_EQ(record.at("evaluations")[3].at("attack"), "AA-standard[C=5,t=4]");
}

}  // namespace
}  // namespace cmat::continual
