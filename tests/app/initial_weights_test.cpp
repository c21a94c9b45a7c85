// network.init = "file": a run starts from weights that were made elsewhere, and needs the file
// only once.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "app/expect_refused.h"
#include "app/run_watch.h"
#include "app/tiny_run.h"
#include "cmat/core/tensor_file.h"

namespace cmat::test {
namespace {

/// What a network trained elsewhere might be: the body of a finished run of one network a task.
TensorFile trained_elsewhere(const fs::path& run) {
  train_to_end(run, {"method.name=individual", "seed=9"});
  const TensorFile model = read_tensor_file(run / "model.safetensors");
  TensorFile file;
  const std::string bank = "model/bank0/", part = "model/task1/", values = "/values";
  for (const auto& [name, tensor] : model.tensors) {
    if (name.starts_with(bank) && name.ends_with(values)) {
      file.tensors[name.substr(bank.size(), name.size() - bank.size() - values.size())] = tensor;
    } else if (name.starts_with(part) && !name.starts_with(part + "fc.") &&
               !name.ends_with("classes") && name != part + "width") {
      file.tensors[name.substr(part.size())] = tensor;
    }
  }
  return file;
}

/// The largest difference between two float32 tensors of one shape.
float difference(const TensorBytes& a, const TensorBytes& b) {
  EXPECT_EQ(a.shape, b.shape);
  float largest = 0;
  for (std::size_t i = 0; i + 4 <= std::min(a.bytes.size(), b.bytes.size()); i += 4) {
    float x = 0, y = 0;
    std::memcpy(&x, a.bytes.data() + i, 4);
    std::memcpy(&y, b.bytes.data() + i, 4);
    largest = std::max(largest, std::abs(x - y));
  }
  return largest;
}

// At the smallest learning rate the weights at the end are those of the start, but for rounding.
const Arguments standing_still = {"compact.lr=1e-12", "compact.epochs=1"};
constexpr float rounding = 1e-6F;

class InitialWeightsFile : public ::testing::Test {
 protected:
  void SetUp() override {
    weights = trained_elsewhere(folder / "elsewhere");
    write_tensor_file(file, weights);
  }
  Arguments from_file(const Arguments& more = {}) const {
    return Arguments{"network.init=file", "network.file=" + file.string()} + more;
  }

  TemporaryFolder folder;
  const fs::path file = folder / "weights.safetensors";
  TensorFile weights;
};

TEST_F(InitialWeightsFile, IsWhereEachNetworkStarts) {
  const fs::path run = folder / "run";
  train_to_end(run, from_file(standing_still + Arguments{"method.name=individual"}));
  const TensorFile model = read_tensor_file(run / "model.safetensors");
  const auto expect_files = [&](const std::string& name, const std::string& stored) {
    EXPECT_LE(difference(model.tensors.at(stored), weights.tensors.at(name)), rounding) << stored;
  };
  for (int task = 1; task <= 3; ++task) {
    const std::string bank = "model/bank" + std::to_string(task - 1) + "/";
    const std::string part = "model/task" + std::to_string(task) + "/";
    for (const char* name : {"conv1.weight", "conv2.weight"}) {
      expect_files(name, bank + name + "/values");
    }
    for (const char* name : {"bn1.weight", "bn2.bias"}) expect_files(name, part + name);
  }
  for (const auto& [name, tensor] : model.tensors) EXPECT_FALSE(name.starts_with("model/initial"));
}

TEST_F(InitialWeightsFile, IsTheFirstTasksInASharedNetwork) {
  const fs::path run = folder / "run";
  train_to_end(
      run, from_file(standing_still + Arguments{"method.quota=fixed", "method.fixed_ratio=0.5"}));
  const TensorFile model = read_tensor_file(run / "model.safetensors");
  const std::string bank = "model/bank0/conv2.weight";
  const std::string& owners = model.tensors.at(bank + "/owners").bytes;
  TensorBytes values = model.tensors.at(bank + "/values");
  TensorBytes start = weights.tensors.at("conv2.weight");
  std::size_t own = 0;
  for (std::size_t i = 0; i < owners.size(); ++i) {
    if (owners[i] == 1) {
      ++own;
    } else {  // not the first task's: left out of the comparison
      values.bytes.replace(4 * i, 4, 4, '\0');
      start.bytes.replace(4 * i, 4, 4, '\0');
    }
  }
  EXPECT_EQ(own, owners.size() / 2);
  EXPECT_LE(difference(values, start), rounding);
}

TEST_F(InitialWeightsFile, IsOnRecordAndItsExtrasAreNamed) {
  weights.tensors["extra.weight"] = weights.tensors.at("bn1.weight");
  write_tensor_file(file, weights);
  const Outcome outcome = run_program(train_tiny(folder / "run", from_file()));
  expect_success(outcome);
  EXPECT_NE(
      outcome.err.find("1 tensor(s) that this network has no place for, such as extra.weight"),
      std::string::npos)
      << outcome.err;
  const json record = read_json(folder / "run" / "run.json").at("initial_weights");
  EXPECT_EQ(record.at("file"), file.string());
  EXPECT_EQ(record.at("sha256"), sha256_hex(read_file(file)));
  const json event = events_of(folder / "run").at(1);
  EXPECT_EQ(event.at("event"), "initial_weights");
  EXPECT_EQ(event.at("sha256"), record.at("sha256"));
  EXPECT_EQ(event.at("unused"), json({"extra.weight"}));
  EXPECT_EQ(event.at("head"), false);
}

TEST_F(InitialWeightsFile, ARunsTaskIsWhatItsExportWouldBe) {
  const fs::path elsewhere = folder / "elsewhere", exported = folder / "exported.safetensors";
  expect_success(run_program(
      {"export", elsewhere.string(), "--task", "2", "--keep-channels", "-o", exported.string()}));
  const Arguments pretrained = {"objective.name=pretrained-at"};
  train_to_end(folder / "from-file",
               pretrained + Arguments{"network.init=file", "network.file=" + exported.string()});
  const Arguments from_run = {"network.init=run", "network.run=" + elsewhere.string()};
  train_to_end(folder / "from-run", pretrained + from_run + Arguments{"network.run_task=2"});
  const TensorFile one = read_tensor_file(folder / "from-run" / "model.safetensors"),
                   other = read_tensor_file(folder / "from-file" / "model.safetensors");
  ASSERT_EQ(one.tensors.size(), other.tensors.size());
  for (const auto& [name, tensor] : one.tensors) {
    EXPECT_TRUE(tensor.bytes == other.tensors.at(name).bytes) << name;
  }
  const json record = read_json(folder / "from-run" / "run.json").at("initial_weights");
  EXPECT_EQ(record.at("run"), elsewhere.string());
  EXPECT_EQ(record.at("task"), 2);
  EXPECT_EQ(record.at("objective"), "pgd-at");
  EXPECT_EQ(read_json(folder / "from-run" / "results.json").at("initial_weights"),
            elsewhere.string() + ", task 2");
  expect_refused(
      train_tiny(folder / "no", {"network.init=run", "network.run=" + folder.path().string()}), 2,
      {"not a run folder"});
  expect_refused(train_tiny(folder / "no", from_run + Arguments{"network.run_task=9"}), 2,
                 {"task"});
  EXPECT_FALSE(fs::exists(folder / "no"));
}

TEST_F(InitialWeightsFile, IsNotNeededToResume) {
  for (const char* method : {"cmat", "individual"}) {
    SCOPED_TRACE(method);
    write_tensor_file(file, weights);
    const Arguments all = from_file(
        {std::string("method.name=") + method, "checkpoint.every_steps=1", "evaluation.steps=40"});
    const fs::path undisturbed = folder / (std::string(method) + "-undisturbed");
    train_to_end(undisturbed, all);
    const fs::path run = folder / (std::string(method) + "-killed");
    Program program(train_tiny(run, all));
    ASSERT_TRUE(program.send_when(SIGKILL, event_added(run, "epoch", 1)));
    program.wait();
    fs::remove(file);
    expect_success(run_program(train_tiny(run, all) + Arguments{"--resume"}));
    expect_same_end(run, undisturbed);
    expect_success(run_program({"verify", run.string()}));
  }
}

TEST_F(InitialWeightsFile, StaysWithABranch) {
  train_to_end(folder / "run", from_file());
  train_to_end(folder / "branch", {}, {"--from", (folder / "run").string() + "@1"});
  EXPECT_EQ(read_json(folder / "branch" / "run.json").at("initial_weights"),
            read_json(folder / "run" / "run.json").at("initial_weights"));
}

TEST_F(InitialWeightsFile, ThatDoesNotFitLeavesNothingBehind) {
  const fs::path run = folder / "run";
  expect_refused(train_tiny(run, from_file({"network.width=1"})), 2,
                 {"its conv1.weight has the shape [3, 3, 3, 3] and not [6, 3, 3, 3]"});
  weights.tensors.erase("bn2.running_mean");
  write_tensor_file(file, weights);
  expect_refused(train_tiny(run, from_file()), 2, {"it lacks bn2.running_mean"});
  fs::remove(file);
  expect_refused(train_tiny(run, from_file()), 2, {file.string() + "\" is not a file"});
  EXPECT_FALSE(fs::exists(run));
}

}  // namespace
}  // namespace cmat::test
