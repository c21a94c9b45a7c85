// cmat export as a user calls it. What the files compute is checked in tests/continual and
// tests/nn.
#include <gtest/gtest.h>

#include "app/expect_refused.h"
#include "app/run_watch.h"
#include "app/tiny_run.h"
#include "cmat/core/tensor_file.h"

namespace cmat::test {
namespace {

class Export : public ::testing::Test {
 protected:
  /// One run for all tests, with named tasks; nobody writes into it.
  static const fs::path& run() {
    static const TemporaryFolder made;
    static const fs::path path = [] {
      train_to_end(made / "run", {"stream.names=[\"cats\",\"dogs\",\"3\"]"});
      return made / "run";
    }();
    return path;
  }
  static Arguments call(const std::string& task, const fs::path& output,
                        const Arguments& more = {}) {
    return Arguments{"export", run().string(), "--task", task, "-o", output.string()} + more;
  }

  TemporaryFolder folder_;
};

TEST_F(Export, EveryFormatByNameAndByExtension) {
  for (const char* name : {"net.onnx", "net.pt", "net.safetensors"}) {
    const Outcome outcome = run_program(call("dogs", folder_ / name));
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    EXPECT_NE(outcome.out.find("task 2 (dogs)"), std::string::npos) << outcome.out;
    EXPECT_GT(fs::file_size(folder_ / name), 1000u);
  }
  for (const char* format : {"onnx", "torchscript", "safetensors"}) {
    const Outcome outcome =
        run_program(call("2", folder_ / "net.bin", {"--format", format, "--json"}));
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    const json result = json::parse(outcome.out);
    EXPECT_EQ(result.at("format"), format);
    EXPECT_EQ(result.at("name"), "dogs");
    EXPECT_EQ(result.at("bytes"), fs::file_size(folder_ / "net.bin"));
  }
}

TEST_F(Export, ATaskIsFoundByNumberFirst) {
  const Outcome outcome = run_program(call("3", folder_ / "net.onnx", {"--json"}));
  EXPECT_EQ(json::parse(outcome.out).at("task"), 3);
}

TEST_F(Export, AnExistingFileIsReplacedWhole) {
  const fs::path file = folder_ / "net.safetensors";
  write_file_atomic(file, std::string(100'000, 'x'));
  const fs::path old = folder_ / "kept";
  fs::create_hard_link(file, old);
  ASSERT_EQ(run_program(call("cats", file)).status, 0);
  EXPECT_EQ(read_tensor_file(file).metadata.at("task"), "cats");
  // Not written over: whoever had the old file open still reads it whole.
  EXPECT_EQ(read_file(old), std::string(100'000, 'x'));
}

TEST_F(Export, ARefusalLeavesTheOldFile) {
  write_file_atomic(folder_ / "net.onnx", "old");
  expect_refused(call("catz", folder_ / "net.onnx"), 2,
                 {"no task \"catz\"", "did you mean \"cats\"?", "1: cats, 2: dogs, 3: 3"});
  expect_refused(call("4", folder_ / "net.onnx"), 2, {"no task \"4\"", "1: cats"});
  expect_refused(call("0", folder_ / "net.onnx"), 2, {"no task \"0\""});
  expect_refused(call("-1", folder_ / "net.onnx"), 2, {"no task \"-1\""});
  EXPECT_EQ(read_file(folder_ / "net.onnx"), "old");
}

TEST_F(Export, Formats) {
  expect_refused(call("1", folder_ / "net.pb"), 2, {"net.pb", ".onnx, .pt or .safetensors"});
  expect_refused(call("1", folder_ / "net"), 2, {"--format"});
  expect_refused(call("1", folder_ / "net.onnx", {"--format", "onx"}), 2,
                 {"\"onx\"", "did you mean onnx?"});
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

TEST_F(Export, Places) {
  fs::create_directory(folder_ / "net.onnx");
  expect_refused(call("1", folder_ / "net.onnx"), 2, {"is a folder"});
  expect_refused(call("1", folder_ / "none/net.onnx"), 2, {"there is no folder"});
  const std::string model = read_file(run() / "model.safetensors");
  expect_refused(call("1", run() / "model.safetensors"), 2, {"keeps its own model"});
  expect_refused(call("1", run() / "checkpoint/last.safetensors"), 2, {"keeps its own model"});
  EXPECT_EQ(read_file(run() / "model.safetensors"), model);
}

TEST_F(Export, WhatIsMissing) {
  expect_refused({"export", run().string(), "-o", "net.onnx"}, 2, {"--task is required"});
  expect_refused({"export", run().string(), "--task", "1"}, 2, {"--output is required"});
  expect_refused(
      {"export", folder_.path().string(), "--task", "1", "-o", (folder_ / "net.onnx").string()}, 2,
      {"is not a run folder"});
}

TEST_F(Export, UnfinishedTasks) {
  const fs::path unfinished = folder_ / "run";
  kill_in_task_2(unfinished);
  const std::string file = (folder_ / "net.onnx").string();
  EXPECT_EQ(run_program({"export", unfinished.string(), "--task", "1", "-o", file}).status, 0);
  expect_refused({"export", unfinished.string(), "--task", "3", "-o", file}, 2,
                 {"task 3", "is not finished", "of its 3 tasks"});
}

}  // namespace
}  // namespace cmat::test
