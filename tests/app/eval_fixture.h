// A finished run of three tasks that is measured again and again.
#pragma once

#include <gtest/gtest.h>

#include "app/expect_refused.h"
#include "app/run_watch.h"
#include "app/tiny_run.h"

namespace cmat::test {

class Eval : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    // A step that pgd5 would not take by default: the run's attack is more than its name.
    train_to_end(run(), {"evaluation.step=\"1/255\"", "compact.epochs=6"});
  }
  static void TearDownTestSuite() { delete folder_; }

  static fs::path run() { return *folder_ / "run"; }

  static json eval(const Arguments& more) {
    const Outcome outcome =
        run_program(Arguments{"eval", run().string(), "--threads", "1", "--json"} + more);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return json::parse(outcome.out);
  }

  static void refuse(const Arguments& more, const std::vector<std::string>& parts, int status = 2) {
    expect_refused(Arguments{"eval", run().string(), "--threads", "1"} + more, status, parts);
  }

  static inline TemporaryFolder* folder_ = nullptr;
};

}  // namespace cmat::test
