// Every architecture as ONNX and TorchScript, read back by onnxruntime and torch.
#include <gtest/gtest.h>

#include <functional>

#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/nn/onnx.h"
#include "cmat/nn/tensors.h"
#include "cmat/nn/torch_script.h"
#include "core/expect_error.h"
#include "core/temporary_folder.h"
#include "export_check.h"
#include "nn/random_network.h"

namespace cmat::nn {
namespace {

using test::TemporaryFolder;

const std::map<std::string, std::string> metadata = {{"task", "big and \"small\" cats"},
                                                     {"classes", "[\"löwe\",\"tiger\"]"}};

std::map<std::string, TensorBytes> stored(const EffectiveNetwork& network) {
  std::map<std::string, TensorBytes> result;
  for (const auto& [name, tensor] : network.state) result[name] = to_bytes(tensor);
  return result;
}

/// Seven images, and the logits that the file called `name` has to give for them.
void write_expected(const TemporaryFolder& folder, const std::string& name,
                    const EffectiveNetwork& network) {
  const Description& d = network.description;
  const at::Tensor images = at::rand({7, d.channels, d.height, d.image_width});
  TensorFile check;
  check.metadata = metadata;
  check.tensors["images"] = to_bytes(images);
  check.tensors["logits"] = to_bytes(test::logits_of(network, images));
  write_tensor_file(folder / (name + ".check"), check);
}

using Write = std::function<void(const std::filesystem::path&, const EffectiveNetwork&)>;

/// Every architecture in files that end in `suffix`, with and without dead channels.
void write_all(const TemporaryFolder& folder, const std::string& suffix, const Write& write) {
  for (const std::string& architecture : architecture_names()) {
    const double width =
        architecture.starts_with("vgg16_bn") || architecture.ends_with("imagenet") ? 0.0625 : 0.5;
    EffectiveNetwork network = test::random_network(
        {.architecture = architecture, .width = width, .classes = 2}, at::kFloat, 4);
    for (auto& [name, tensor] : network.state) {
      if (tensor.dim() == 4) tensor[0].zero_();
    }
    for (const char* which : {"whole", "small"}) {
      if (which == std::string("small")) remove_zero_channels(network);
      const std::string name = architecture + "-" + which + suffix;
      write(folder / name, network);
      write_expected(folder, name, network);
    }
  }
}

TEST(Export, OnnxRuntimeGivesTheSameLogits) {
  const TemporaryFolder folder;
  write_all(folder, ".onnx", [](const auto& file, const EffectiveNetwork& network) {
    write_file_atomic(file, onnx_model(network.description, stored(network), metadata));
  });
  test::check_exports(test::onnx_python(), folder.path());
}

TEST(Export, TorchGivesTheSameLogits) {
  const TemporaryFolder folder;
  write_all(folder, ".pt", [](const auto& file, const EffectiveNetwork& network) {
    write_file_atomic(file, torch_script(network, metadata));
  });
  test::check_exports(test::torch_python(), folder.path());
}

TEST(Export, OnnxTakesFloat32Only) {
  const EffectiveNetwork network =
      test::random_network({.architecture = "linear", .classes = 2}, at::kDouble, 1);
  test::expect_failure({"is not float32"},
                       [&] { onnx_model(network.description, stored(network), metadata); });
}

TEST(Export, ScriptReachesNumberedModules) {
  const std::string source =
      torch_script_source(describe({.architecture = "resnet8", .classes = 2}));
  EXPECT_NE(source.find("torch.conv2d(v1, self.conv1.weight, None, [2, 2], [1, 1])"),
            std::string::npos)
      << source;
  EXPECT_NE(source.find("getattr(self.layer1, \"0\").conv1.weight"), std::string::npos) << source;
}

}  // namespace
}  // namespace cmat::nn
