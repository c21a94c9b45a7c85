// cmat inspect against what the model file itself says, counted the slow way.
#include <gtest/gtest.h>

#include "app/expect_refused.h"
#include "app/run_watch.h"
#include "app/tiny_run.h"
#include "cmat/core/tensor_file.h"

namespace cmat::test {
namespace {

json inspect(const fs::path& run) {
  const Outcome outcome = run_program({"inspect", run.string(), "--json"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  return json::parse(outcome.out);
}

std::string layer_name(const json& layer) { return layer.at("name").get<std::string>(); }

/// How many of the owner's entries a task picks in this layer: all where it has no picks.
std::int64_t slow_picks(const TensorFile& file, const std::string& layer, int task, int owner) {
  const std::string& owners = file.tensors.at("model/bank0/" + layer + "/owners").bytes;
  const auto picks =
      file.tensors.find("model/task" + std::to_string(task) + "/" + layer + "/picks");
  std::int64_t count = 0;
  std::size_t bit = 0;
  for (const char o : owners) {
    if (o <= 0 || o >= task) continue;
    const bool picked = picks == file.tensors.end() ||
                        (static_cast<unsigned char>(picks->second.bytes[bit / 8]) >> bit % 8 & 1);
    ++bit;
    count += o == owner && picked;
  }
  return count;
}

class InspectOwned : public ::testing::TestWithParam<std::string> {};

TEST_P(InspectOwned, CountsAreThoseOfTheModelFile) {
  const TemporaryFolder folder;
  const fs::path run = folder / "run";
  train_to_end(run, {"method.name=" + GetParam(), "method.quota=fixed"});
  const json result = inspect(run);
  const TensorFile file = read_tensor_file(run / "model.safetensors");
  ASSERT_EQ(result.at("layers").size(), 2u);  // conv1 and conv2
  for (const json& layer : result.at("layers")) {
    const std::string& owners =
        file.tensors.at("model/bank0/" + layer_name(layer) + "/owners").bytes;
    EXPECT_EQ(layer.at("weights"), owners.size());
    EXPECT_EQ(layer.at("free"), std::count(owners.begin(), owners.end(), '\0'));
    EXPECT_GT(layer.at("free"), 0);
    for (int task = 1; task <= 3; ++task) {
      EXPECT_EQ(layer.at("own")[static_cast<std::size_t>(task - 1)],
                std::count(owners.begin(), owners.end(), static_cast<char>(task)));
    }
  }
  for (int task = 1; task <= 3; ++task) {
    const json& row = result.at("picks").at(static_cast<std::size_t>(task - 1));
    ASSERT_EQ(row.size(), static_cast<std::size_t>(task - 1));
    for (int owner = 1; owner < task; ++owner) {
      std::int64_t picked = 0, owned = 0;
      for (const json& layer : result.at("layers")) {
        picked += slow_picks(file, layer_name(layer), task, owner);
        owned += layer.at("own")[static_cast<std::size_t>(owner - 1)].get<std::int64_t>();
      }
      EXPECT_EQ(row[static_cast<std::size_t>(owner - 1)],
                json({{"owned", owned}, {"picked", picked}}));
      EXPECT_GT(picked, 0);
    }
  }
}

TEST_P(InspectOwned, BytesAddUp) {
  const TemporaryFolder folder;
  const fs::path run = folder / "run";
  train_to_end(run, {"method.name=" + GetParam(), "method.quota=fixed"});
  const json result = inspect(run);
  const json& bytes = result.at("bytes");
  std::int64_t sum = bytes.at("owners").get<std::int64_t>(), weights = 0;
  for (const json& layer : result.at("layers")) {
    sum += 4 * layer.at("free").get<std::int64_t>();
    weights += layer.at("weights").get<std::int64_t>();
  }
  for (const json& task : result.at("tasks")) {
    EXPECT_EQ(task.at("bytes").at("values"), 4 * task.at("own").get<std::int64_t>());
    sum += task.at("bytes").at("marginal").get<std::int64_t>();
  }
  EXPECT_EQ(bytes.at("values"), 4 * weights);
  EXPECT_EQ(bytes.at("total"), sum);
  EXPECT_EQ(bytes.at("total"), read_json(run / "results.json").at("bytes").at("total"));
  EXPECT_DOUBLE_EQ(bytes.at("amortised").get<double>(), static_cast<double>(sum) / 3);
}

INSTANTIATE_TEST_SUITE_P(Methods, InspectOwned, ::testing::Values("cmat", "packnet"),
                         [](const auto& test) { return test.param; });

TEST(Inspect, IndividualNetworksAddThemselvesWhole) {
  const TemporaryFolder folder;
  const fs::path run = folder / "run";
  train_to_end(run, {"method.name=individual"});
  const json result = inspect(run);
  std::int64_t sum = 0;
  for (const json& task : result.at("tasks")) {
    sum += task.at("bytes").at("marginal").get<std::int64_t>();
    EXPECT_EQ(task.at("picked"), 0);
  }
  EXPECT_EQ(sum, result.at("bytes").at("total").get<std::int64_t>());
  EXPECT_TRUE(result.at("layers")[0].at("free").is_null());
}

TEST(Inspect, FineTuningHasOneNetwork) {
  const TemporaryFolder folder;
  const fs::path run = folder / "run";
  train_to_end(run, {"method.name=finetune"});
  const json result = inspect(run);
  EXPECT_EQ(result.at("tasks").size(), 3u);
  EXPECT_EQ(result.at("tasks")[1].at("bytes").at("values"), 0);
  const json& layer = result.at("layers")[0];
  EXPECT_EQ(layer.at("own"), json::array({0, 0, layer.at("weights")}));
}

TEST(Inspect, ZeroChannelsAreThoseThatExportRemoves) {
  const TemporaryFolder folder;
  const fs::path run = folder / "run";
  train_to_end(run, {"network.width=2", "method.quota=fixed", "method.fixed_ratio=0.98"});
  std::int64_t some = 0;
  const json result = inspect(run);
  for (const json& task : result.at("tasks")) {
    const Outcome outcome =
        run_program({"export", run.string(), "--task", std::to_string(task.at("task").get<int>()),
                     "-o", (folder / "net.onnx").string(), "--json"});
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    const json exported = json::parse(outcome.out);
    const json& network = task.at("network");
    EXPECT_EQ(network.at("zero_channels"), exported.at("removed_channels"));
    EXPECT_EQ(network.at("weights").get<std::int64_t>() -
                  network.at("weights_of_zero_channels").get<std::int64_t>(),
              exported.at("weights").get<std::int64_t>());
    some += network.at("zero_channels").get<std::int64_t>();
  }
  EXPECT_GT(some, 0);
}

TEST(Inspect, UnfinishedRuns) {
  for (const std::string method : {"cmat", "finetune"}) {
    SCOPED_TRACE(method);
    const TemporaryFolder folder;
    const fs::path run = folder / "run";
    kill_in_task_2(run, {"method.name=" + method});
    const json result = inspect(run);
    EXPECT_LT(result.at("tasks").size(), 3u);
    EXPECT_EQ(result.at("tasks_in_stream"), 3);
    // While fine-tuning learns a task, the network is none of the finished ones.
    EXPECT_EQ(result.at("tasks")[0].at("network").is_null(), method == "finetune");
    const Outcome words = run_program({"inspect", run.string()});
    EXPECT_EQ(words.status, 0) << words.err;
    EXPECT_NE(words.out.find("of 3 finished"), std::string::npos) << words.out;
  }
}

TEST(Inspect, Refusals) {
  const TemporaryFolder folder;
  expect_refused({"inspect", folder.path().string()}, 2, {"is not a run folder"});
  expect_refused({"inspect"}, 2, {"run is required"});
}

}  // namespace
}  // namespace cmat::test
