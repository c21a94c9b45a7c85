// Each check against a planted failure, and silent where nothing is wrong.
#include "cmat/eval/checks.h"

#include <gtest/gtest.h>

#include "core/expect_error.h"

namespace cmat::eval {
namespace {

/// Of 100 images those from `first` on but before `last` are right.
Survivors right_between(std::size_t first, std::size_t last, double eps_pixels,
                        const std::string& attack = "apgd-ce") {
  Survivors s{.attack = attack, .eps_pixels = eps_pixels, .right = std::vector<bool>(100, false)};
  for (std::size_t i = first; i < last; ++i) s.right[i] = true;
  return s;
}

/// One sentence, which has all these parts.
void expect_sentence(const Finding& finding, const std::vector<std::string>& parts) {
  EXPECT_EQ(finding.message.find(". "), std::string::npos) << finding.message;
  for (const std::string& part : parts)
    EXPECT_NE(finding.message.find(part), std::string::npos) << part << " | " << finding.message;
}

TEST(WorstCase, IsRightWhereEveryListIs) {
  const std::vector<Survivors> lists = {right_between(0, 80, 0, "clean"),
                                        right_between(10, 90, 0.1), right_between(5, 60, 0.1)};
  const std::vector<bool> left = worst_case(lists);
  ASSERT_EQ(left.size(), 100u);
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(left[i], i >= 10 && i < 60) << i;
}

TEST(WorstCase, RefusesWhatCannotBeCompared) {
  test::expect_failure({"at least one"}, [] { worst_case({}); });
  std::vector<Survivors> lists = {right_between(0, 5, 0), right_between(0, 5, 0)};
  lists[1].right.resize(99);
  test::expect_failure({"100", "99"}, [&] { worst_case(lists); });
}

TEST(AccuracyFalls, SaysNothingOfAGoodAttack) {
  const std::vector<Survivors> radii = {right_between(0, 10, 8.0 / 255),
                                        right_between(0, 40, 4.0 / 255),
                                        right_between(0, 90, 0, "clean")};
  const Finding finding = check_accuracy_falls(radii);
  EXPECT_FALSE(finding.raised);
  EXPECT_EQ(finding.images, 0);
  EXPECT_EQ(finding.check, "accuracy-rises");
  expect_sentence(finding, {"apgd-ce does not rise"});
}

TEST(AccuracyFalls, FindsAnAttackThatIsWeakerInALargerBall) {
  // Between the second and the third: not neighbours of the last, and in no order.
  const std::vector<Survivors> radii = {
      right_between(0, 55, 16.0 / 255), right_between(0, 90, 0, "clean"),
      right_between(0, 30, 4.0 / 255), right_between(0, 50, 8.0 / 255)};
  const Finding finding = check_accuracy_falls(radii);
  EXPECT_TRUE(finding.raised);
  EXPECT_EQ(finding.images, 25);
  expect_sentence(finding, {"from 30 of 100 images", "4/255", "to 55", "16/255", "more steps"});
}

TEST(AccuracyFalls, FindsAnAttackThatHelps) {
  const std::vector<Survivors> radii = {right_between(0, 60, 0, "clean"),
                                        right_between(0, 70, 0.1)};
  const Finding finding = check_accuracy_falls(radii);
  EXPECT_TRUE(finding.raised);
  expect_sentence(finding, {"under apgd-ce", "from 60 of 100 images without an attack", "to 70"});
}

// Gained g and lost l images: raised when (g - l)^2 > 4 (g + l).
TEST(AccuracyFalls, LeavesChanceAlone) {
  const auto raised = [](std::size_t gained, std::size_t lost) {
    const std::vector<Survivors> radii = {right_between(0, lost + 20, 0.1),
                                          right_between(lost, lost + 20 + gained, 0.2)};
    return check_accuracy_falls(radii).raised;
  };
  EXPECT_FALSE(raised(0, 0));
  EXPECT_FALSE(raised(1, 0));
  EXPECT_FALSE(raised(4, 0));
  EXPECT_TRUE(raised(5, 0));
  EXPECT_FALSE(raised(13, 5));
  EXPECT_TRUE(raised(14, 5));
  EXPECT_FALSE(raised(5, 15));
}

TEST(BlackBox, SaysNothingWhereTheGradientsSufficed) {
  // Square alone is weaker than either, but what it broke the others broke as well.
  const std::vector<Survivors> white = {right_between(0, 40, 0.1),
                                        right_between(20, 60, 0.1, "apgd-t")};
  const Finding finding = check_black_box(white, right_between(20, 100, 0.1, "square"));
  EXPECT_FALSE(finding.raised);
  EXPECT_EQ(finding.check, "black-box");
  expect_sentence(finding, {"square", "broke none of the 20 images", "apgd-ce, apgd-t left"});
}

TEST(BlackBox, FindsOneImageThatOnlySquareBroke) {
  const std::vector<Survivors> white = {right_between(0, 40, 8.0 / 255),
                                        right_between(20, 60, 8.0 / 255, "apgd-t")};
  const Finding finding = check_black_box(white, right_between(21, 100, 8.0 / 255, "square1000"));
  EXPECT_TRUE(finding.raised);
  EXPECT_EQ(finding.images, 1);
  expect_sentence(finding,
                  {"square1000", "broke 1 of the 20 images", "8/255", "masked", "worst case"});
}

Survivors with_steps(std::size_t left, int steps) {
  Survivors s = right_between(0, left, 8.0 / 255, "pgd" + std::to_string(steps));
  s.steps = steps;
  return s;
}

TEST(Steps, MoreOfThemBreakNoFewer) {
  const std::vector<Survivors> good = {with_steps(20, 50), with_steps(60, 5), with_steps(22, 20)};
  EXPECT_FALSE(check_steps(good).raised);
  const std::vector<Survivors> bad = {with_steps(60, 50), with_steps(50, 5), with_steps(30, 20)};
  const Finding finding = check_steps(bad);
  EXPECT_TRUE(finding.raised);
  EXPECT_EQ(finding.images, 30);
  expect_sentence(finding, {"from 30 of 100", "pgd20", "to 60 under pgd50", "--curve step-size"});
}

TEST(Transfer, MustNotBeatWhiteBox) {
  const Survivors white = right_between(0, 40, 8.0 / 255, "pgd50");
  const Finding fine = check_transfer(white, right_between(0, 70, 8.0 / 255, "pgd50 of another"));
  EXPECT_FALSE(fine.raised);
  const Finding raised = check_transfer(white, right_between(0, 20, 8.0 / 255, "pgd50 of another"));
  EXPECT_TRUE(raised.raised);
  EXPECT_EQ(raised.images, 20);
  expect_sentence(raised, {"left 20 of 100", "itself 40", "masked"});
}

}  // namespace
}  // namespace cmat::eval
