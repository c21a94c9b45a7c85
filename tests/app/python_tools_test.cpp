// tools/cmat_torch.py opens what CMAT made, tools/convert_pth.py makes what CMAT opens.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <map>

#include "app/python.h"
#include "app/tiny_run.h"
#include "cmat/core/config.h"
#include "cmat/core/tensor_file.h"
#include "cmat/data/stream.h"

namespace cmat::test {
namespace {

std::string tools() { return environment("CMAT_SOURCE_DIR") + "/tools"; }

/// The images whose logits a finished run keeps, as bytes, into RUN/probes.safetensors.
void write_probes(const fs::path& run) {
  Config config = Config::load(run / "config.toml");
  const auto seed = static_cast<std::uint64_t>(config.integer("seed", 1, 0, INT64_MAX));
  const data::Stream stream = data::make_stream(data::read_stream_options(config, seed));
  const data::ImageSet& test = stream.tasks.front().source->test;
  const json state = json::parse(read_tensor_file(run / "model.safetensors").metadata.at("state"));
  TensorFile file;
  int task = 0;
  for (const json& certificate : state.at("certificates")) {
    TensorBytes images;
    images.dtype = Dtype::u8;
    images.shape = {static_cast<std::int64_t>(certificate.at("probe").size()), test.channels,
                    test.height, test.width};
    for (const json& index : certificate.at("probe")) {
      const auto begin = index.get<std::int64_t>() * test.bytes_per_image();
      images.bytes.append(reinterpret_cast<const char*>(test.pixels.data()) + begin,
                          static_cast<std::size_t>(test.bytes_per_image()));
    }
    file.tensors["task" + std::to_string(++task)] = std::move(images);
  }
  write_tensor_file(run / "probes.safetensors", file);
}

TEST(PythonTools, PyTorchComputesTheSameLogits) {
  if (!python_has_torch()) GTEST_SKIP() << "no Python with torch at " << python();
  const std::map<std::string, Arguments> runs = {
      {"cmat", {}},
      {"picks", {"repick.epochs=2", "repick.pick_lr=0.01", "compact.pick_lr=0.01"}},
      {"packnet", {"method.name=packnet"}},
      {"individual", {"method.name=individual"}},
      {"finetune", {"method.name=finetune", "bank.private_below=100"}},
      {"joint", {"method.name=joint"}},
      {"private", {"bank.private_below=100", "network.width=2"}},
      {"resnet18", {"network.architecture=resnet18", "network.width=0.0625"}},
      {"vgg",
       {"network.architecture=vgg16_bn_imagenet", "network.width=0.015625",
        "data.synthetic.height=32", "data.synthetic.width=40"}}};
  TemporaryFolder folder;
  std::vector<std::string> script = {
      environment("CMAT_SOURCE_DIR") + "/tests/app/check_torch_loader.py", tools(),
      folder.path().string()};
  for (const auto& [name, assignments] : runs) {
    SCOPED_TRACE(name);
    train_to_end(folder / name, assignments);
    write_probes(folder / name);
    script.push_back((folder / name).string());
  }
  const Outcome outcome = run_python(script);
  EXPECT_EQ(outcome.status, 0) << outcome.out;
}

template <typename T>
std::vector<T> values(const TensorBytes& tensor) {
  std::vector<T> result(tensor.bytes.size() / sizeof(T));
  std::memcpy(result.data(), tensor.bytes.data(), tensor.bytes.size());
  return result;
}

/// Runs convert_pth.py on what `expression` of torch says.
Outcome convert(const TemporaryFolder& folder, const std::string& expression) {
  const fs::path script = folder / "save.py", pth = folder / "in.pth";
  std::ofstream(script) << "import torch\ntorch.save(" << expression << ", \"" << pth.string()
                        << "\")\n";
  const Outcome saved = run_python({script.string()});
  if (saved.status != 0) return saved;
  return run_python({tools() + "/convert_pth.py", pth.string(), (folder / "out.st").string()});
}

TEST(PythonTools, AStateDictBecomesATensorFile) {
  if (!python_has_torch()) GTEST_SKIP() << "no Python with torch at " << python();
  TemporaryFolder folder;
  const Outcome outcome =
      convert(folder,
              "{\"epoch\": 3, \"state_dict\": {"
              "\"module.conv1.weight\": torch.arange(6.).reshape(2, 3).t(), "
              "\"module.bn1.bias\": torch.tensor([0.5, -2.0], dtype=torch.float16), "
              "\"module.bn1.num_batches_tracked\": torch.tensor(7)}}");
  ASSERT_EQ(outcome.status, 0) << outcome.out;
  const TensorFile file = read_tensor_file(folder / "out.st", /*require_digest=*/false);
  ASSERT_EQ(file.tensors.size(), 3U);
  const TensorBytes& weight = file.tensors.at("conv1.weight");
  EXPECT_EQ(weight.shape, (std::vector<std::int64_t>{3, 2}));
  EXPECT_EQ(values<float>(weight), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  const TensorBytes& bias = file.tensors.at("bn1.bias");
  EXPECT_EQ(bias.dtype, Dtype::f32);
  EXPECT_EQ(values<float>(bias), (std::vector<float>{0.5, -2}));
  const TensorBytes& counter = file.tensors.at("bn1.num_batches_tracked");
  EXPECT_EQ(counter.dtype, Dtype::i64);
  EXPECT_TRUE(counter.shape.empty());
  EXPECT_EQ(values<std::int64_t>(counter), std::vector<std::int64_t>{7});
}

TEST(PythonTools, WhatIsNoStateDictIsRefused) {
  if (!python_has_torch()) GTEST_SKIP() << "no Python with torch at " << python();
  TemporaryFolder folder;
  const Outcome outcome = convert(folder, "{\"weights\": [1, 2]}");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.out.find("holds no state_dict"), std::string::npos) << outcome.out;
  EXPECT_FALSE(fs::exists(folder / "out.st"));
}

}  // namespace
}  // namespace cmat::test
