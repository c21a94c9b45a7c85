// Trained and pruned runs, exported task by task, give the logits that the run gives.
#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "cmat/continual/run.h"
#include "cmat/continual/setup.h"
#include "cmat/core/error.h"
#include "cmat/nn/tensors.h"
#include "continual/short_run.h"
#include "core/temporary_folder.h"
#include "export_check.h"

namespace cmat::continual {
namespace {

using nlohmann::json;
using test::TemporaryFolder;

/// Almost everything is pruned, so that some filters are left empty.
void train_run(const std::filesystem::path& out, const test::Overrides& overrides) {
  test::trained(test::short_run(
      out, {"compact.epochs=2", "method.quota=fixed", "method.fixed_ratio=0.97"}, overrides));
}

struct Run {
  std::string name;
  std::vector<std::string> overrides;
  bool removes = true;  ///< some task has channels that cannot influence its logits
};

const std::vector<Run>& runs() {
  static const std::vector<std::string> image = {"data.synthetic.height=16",
                                                 "data.synthetic.width=16"};
  static const std::vector<Run> table = {
      {"cmat", {}, true},
      {"packnet", {"method.name=packnet"}, true},
      {"individual", {"method.name=individual"}, false},
      {"finetune", {"method.name=finetune"}, false},
      {"piggyback", {"method.name=piggyback", "compact.pick_lr=0.01"}, false},
      {"joint", {"method.name=joint"}, false},
      {"resnet8", {image[0], image[1], "network.architecture=resnet8", "network.width=0.5"}, true},
      {"small_cnn",
       {image[0], image[1], "network.architecture=small_cnn", "network.width=0.5",
        "network.mean=[0.4,0.5,0.6]", "network.std=[0.2,0.3,0.4]"},
       true}};
  return table;
}

/// What the exported file has to give, from the network as the run opens it.
void write_expected(const std::filesystem::path& run, std::int64_t task,
                    const std::filesystem::path& file) {
  const at::NoGradGuard no_grad;
  const OpenedRun opened = open_run(run, {});
  const Setup& setup = *opened.setup;
  setup.model->activate(task);
  const nn::Description& d = setup.description;
  const at::Tensor images = at::rand({7, d.channels, d.height, d.image_width});
  TensorFile check;
  check.metadata = {{"task", setup.task(task).name},
                    {"classes", json(setup.task(task).class_names).dump()}};
  check.tensors["images"] = nn::to_bytes(images);
  check.tensors["logits"] = nn::to_bytes(setup.model->network().forward(images));
  write_tensor_file(file.string() + ".check", check);
}

/// Every task of every run in these formats. Every other file keeps its channels.
void export_all(const std::filesystem::path& folder, const std::vector<std::string>& extensions) {
  for (const Run& run : runs()) {
    SCOPED_TRACE(run.name);
    const std::filesystem::path path = folder / run.name;
    train_run(path, run.overrides);
    std::int64_t removed = 0;
    for (std::int64_t task = 1; task <= 3; ++task) {
      for (const std::string& extension : extensions) {
        for (const bool keep : {false, true}) {
          ExportOptions options;
          options.task = std::to_string(task);
          options.output = folder / text(run.name, task, keep ? "-whole" : "", extension);
          options.keep_channels = keep;
          const json result = export_task(path, options);
          EXPECT_EQ(result.at("bytes"), std::filesystem::file_size(options.output));
          if (keep) {
            EXPECT_EQ(result.at("removed_channels"), 0);
          }
          removed += result.at("removed_channels").get<std::int64_t>();
          write_expected(path, task, options.output);
        }
      }
    }
    EXPECT_EQ(removed > 0, run.removes);
  }
}

TEST(ExportRun, OnnxRuntimeGivesTheRunsLogits) {
  const TemporaryFolder folder;
  export_all(folder.path(), {".onnx"});
  test::check_exports(test::onnx_python(), folder.path());
}

TEST(ExportRun, TorchGivesTheRunsLogits) {
  const TemporaryFolder folder;
  export_all(folder.path(), {".pt", ".safetensors"});
  test::check_exports(test::torch_python(), folder.path());
}

TEST(ExportRun, SafetensorsHoldsTheEffectiveWeights) {
  const TemporaryFolder folder;
  train_run(folder / "run", {});
  ExportOptions options{.task = "2",
                        .output = folder / "two.safetensors",
                        .format = "",
                        .keep_channels = true,
                        .machine = {}};
  export_task(folder / "run", options);
  const TensorFile file = read_tensor_file(options.output);
  const OpenedRun opened = open_run(folder / "run", {});
  opened.setup->model->activate(2);
  for (const nn::NamedTensor& p : opened.setup->model->network().parameters()) {
    EXPECT_TRUE(nn::from_bytes(nn::require(file, p.name)).equal(p.tensor)) << p.name;
  }
}

}  // namespace
}  // namespace cmat::continual
