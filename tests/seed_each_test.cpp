// Seeds libtorch's generator before each case, so that a case sees the same numbers alone, among
// all others of its program, and in every build.
#include <ATen/Context.h>
#include <gtest/gtest.h>

namespace {

class SeedEachTest : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo& /*test*/) override { at::manual_seed(1); }
};

[[maybe_unused]] const bool is_appended = [] {
  testing::UnitTest::GetInstance()->listeners().Append(new SeedEachTest);  // which gtest deletes
  return true;
}();

}  // namespace
