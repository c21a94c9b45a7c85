// cmat verify tells an unchanged network from one in which a single value was changed.
#include <gtest/gtest.h>

#include <cstring>

#include "app/expect_refused.h"
#include "app/run_watch.h"
#include "app/tiny_run.h"
#include "cmat/core/tensor_file.h"

namespace cmat::test {
namespace {

/// A copy of a finished run of this method, made once for all tests of the process.
fs::path copy_of_run(const std::string& method, const TemporaryFolder& folder) {
  static const TemporaryFolder made;
  const fs::path original = made / method;
  if (!fs::exists(original)) train_to_end(original, {"method.name=" + method});
  fs::copy(original, folder / "run", fs::copy_options::recursive);
  return folder / "run";
}

Outcome verify(const fs::path& run, const Arguments& more = {"--threads", "1"}) {
  return run_program(Arguments{"verify", run.string(), "--json"} + more);
}

/// Writes the model file again, its digest right, after changing one number of this tensor.
void tamper(const fs::path& run, const std::string& name, std::size_t index) {
  TensorFile file = read_tensor_file(run / "model.safetensors");
  std::string& bytes = file.tensors.at(name).bytes;
  ASSERT_LT(4 * index, bytes.size());
  bytes[4 * index] ^= 1;  // the last bit of a little-endian float
  write_tensor_file(run / "model.safetensors", file);
}

/// The position of a weight that this task owns.
std::size_t owned_weight(const fs::path& run, const std::string& layer, int task) {
  const TensorFile file = read_tensor_file(run / "model.safetensors");
  const std::string& owners = file.tensors.at("model/bank0/" + layer + "/owners").bytes;
  const std::size_t found = owners.find(static_cast<char>(task));
  EXPECT_NE(found, std::string::npos);
  return found;
}

/// Whatever kernels the attacks of training used: certificates are libtorch's.
TEST(Kernels, AreRecordedAndLeaveCertificatesAlone) {
  TemporaryFolder folder;
  for (const std::string kernels : {"auto", "torch"}) {
    const fs::path run = folder / kernels;
    train_to_end(run, {"network.kernels=" + kernels});
    const json record = json::parse(read_file(run / "run.json"));
    const bool frozen = record.at("kernels").get<std::string>().starts_with("frozen ");
    EXPECT_EQ(frozen, kernels == "auto");
    EXPECT_EQ(json::parse(verify(run).out).at("identical"), true);
  }
}

class Verify : public ::testing::TestWithParam<std::string> {};

TEST_P(Verify, NothingWasForgotten) {
  TemporaryFolder folder;
  const fs::path run = copy_of_run(GetParam(), folder);
  const Outcome outcome = verify(run);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const json result = json::parse(outcome.out);
  EXPECT_EQ(result.at("identical"), true);
  EXPECT_FALSE(result.contains("note"));
  ASSERT_EQ(result.at("tasks").size(), 3u);
  for (int i = 0; i < 3; ++i) {
    const json& task = result.at("tasks")[static_cast<std::size_t>(i)];
    EXPECT_EQ(task.at("task"), i + 1);
    EXPECT_EQ(task.at("weights_identical"), true);
    EXPECT_EQ(task.at("logits_identical"), true);
    EXPECT_EQ(task.at("max_logit_difference"), 0.0);
  }
  const Outcome words = run_program({"verify", run.string(), "--threads", "1"});
  EXPECT_EQ(words.status, 0);
  EXPECT_NE(words.out.find("Nothing was forgotten"), std::string::npos) << words.out;
}

INSTANTIATE_TEST_SUITE_P(Methods, Verify, ::testing::Values("cmat", "packnet", "individual"),
                         [](const auto& test) { return test.param; });

TEST(VerifyChange, FineTuningForgets) {
  TemporaryFolder folder;
  const fs::path run = copy_of_run("finetune", folder);
  const Outcome outcome = verify(run);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.err, "");
  const json result = json::parse(outcome.out);
  EXPECT_EQ(result.at("identical"), false);
  EXPECT_EQ(result.at("tasks")[0].at("weights_identical"), false);
  EXPECT_EQ(result.at("tasks")[2].at("weights_identical"), true);
  const Outcome words = run_program({"verify", run.string(), "--threads", "1"});
  EXPECT_EQ(words.status, 1);
  EXPECT_NE(words.out.find("NOT identical"), std::string::npos) << words.out;
}

TEST(VerifyChange, AFlippedByteIsDamage) {
  TemporaryFolder folder;
  const fs::path run = copy_of_run("cmat", folder);
  std::string content = read_file(run / "model.safetensors");
  const std::string whole = content;
  for (const std::size_t back : {std::size_t{1}, whole.size() / 4, whole.size() / 2}) {
    content = whole;
    content[content.size() - back] ^= 0x10;
    write_file_atomic(run / "model.safetensors", content);
    expect_error_line(verify(run), 1, {"model.safetensors"});
  }
}

TEST(VerifyChange, OneBitOfATasksHead) {
  TemporaryFolder folder;
  const fs::path run = copy_of_run("cmat", folder);
  tamper(run, "model/task1/fc.weight", 0);
  const Outcome outcome = verify(run);
  EXPECT_EQ(outcome.status, 1);
  const json result = json::parse(outcome.out);
  EXPECT_EQ(result.at("identical"), false);
  EXPECT_EQ(result.at("tasks")[0].at("weights_identical"), false);
  EXPECT_EQ(result.at("tasks")[1].at("weights_identical"), true);
  EXPECT_EQ(result.at("tasks")[2].at("weights_identical"), true);
}

TEST(VerifyChange, OneBitOfASharedWeight) {
  TemporaryFolder folder;
  const fs::path run = copy_of_run("cmat", folder);
  tamper(run, "model/bank0/conv2.weight/values", owned_weight(run, "conv2.weight", 1));
  const Outcome outcome = verify(run);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(json::parse(outcome.out).at("tasks")[0].at("weights_identical"), false);
}

TEST(VerifyChange, ALaterTasksWeightIsNoMatterOfEarlierOnes) {
  TemporaryFolder folder;
  const fs::path run = copy_of_run("cmat", folder);
  tamper(run, "model/bank0/conv2.weight/values", owned_weight(run, "conv2.weight", 3));
  const json result = json::parse(verify(run).out);
  EXPECT_EQ(result.at("tasks")[0].at("weights_identical"), true);
  EXPECT_EQ(result.at("tasks")[1].at("weights_identical"), true);
  EXPECT_EQ(result.at("tasks")[2].at("weights_identical"), false);
}

// The certificate travels in the model file; the log of the run has it, too.
TEST(VerifyChange, ACertificateThatWasMadeToFit) {
  TemporaryFolder folder;
  const fs::path run = copy_of_run("cmat", folder);
  TensorFile file = read_tensor_file(run / "model.safetensors");
  json state = json::parse(file.metadata.at("state"));
  state.at("certificates")[0].at("weight_digest") = std::string(64, 'a');
  file.metadata.at("state") = state.dump();
  write_tensor_file(run / "model.safetensors", file);
  EXPECT_EQ(verify(run).status, 1);
}

TEST(VerifyThreads, ThereIsANoteAndTheWeightsDecide) {
  TemporaryFolder folder;
  const fs::path run = copy_of_run("cmat", folder);
  const Arguments two = {"--threads", "2"};
  Outcome outcome = verify(run, two);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  json result = json::parse(outcome.out);
  EXPECT_NE(result.at("note").get<std::string>().find("threads=1"), std::string::npos);
  EXPECT_EQ(result.at("identical"), true);
  EXPECT_TRUE(result.at("tasks")[0].at("logits_identical").is_null());
  EXPECT_LT(result.at("tasks")[0].at("max_logit_difference"), 1e-3);

  tamper(run, "model/task2/fc.weight", 3);
  outcome = verify(run, two);
  EXPECT_EQ(outcome.status, 1);
  result = json::parse(outcome.out);
  EXPECT_EQ(result.at("identical"), false);
  EXPECT_EQ(result.at("tasks")[1].at("weights_identical"), false);
}

TEST(VerifyUnfinished, ProvesTheTasksThatAreThere) {
  TemporaryFolder folder;
  const fs::path run = folder / "run";
  Program program(train_tiny(run, {"checkpoint.every_steps=1", "compact.epochs=8"}));
  ASSERT_TRUE(program.send_when(SIGKILL, event_added(run, "epoch", 2)));
  program.wait();
  const Outcome outcome = verify(run);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(json::parse(outcome.out).at("tasks").size(), 1u);
}

TEST(VerifyUnfinished, NothingToProveBeforeTheFirstTask) {
  TemporaryFolder folder;
  const fs::path run = folder / "run";
  Program program(train_tiny(run, {"compact.epochs=8"}));
  ASSERT_TRUE(program.send_when(SIGTERM, event_added(run, "epoch", 1)));
  ASSERT_EQ(program.wait().status, 130);
  expect_error_line(verify(run), 1, {"has not finished a task yet"});
  expect_refused({"eval", run.string()}, 1, {"has not finished a task yet"});
}

}  // namespace
}  // namespace cmat::test
