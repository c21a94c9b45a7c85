// Every architecture against the same network written in plain PyTorch
// (tools/golden/make_network_goldens.py), with weights from a formula that both sides compute.
#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "cmat/core/error.h"
#include "cmat/nn/network.h"
#include "golden_tensor.h"

namespace cmat::nn {
namespace {

using test::golden;
using test::golden_tensor;
using test::max_difference;

/// offset + scale * u, u in [-1, 1) from a hash of the name and the position; see networks.json.
at::Tensor formula(const std::string& name, at::IntArrayRef shape, double offset, double scale) {
  std::uint32_t salt = 2166136261U;
  for (const char byte : name) salt = (salt ^ static_cast<unsigned char>(byte)) * 16777619U;
  at::Tensor values = at::empty(shape, at::TensorOptions(at::kDouble));
  auto* value = values.data_ptr<double>();
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    std::uint32_t z = static_cast<std::uint32_t>(i) * 2654435761U + salt;
    z ^= z >> 16;
    for (int round = 0; round < 2; ++round) {
      z *= 73244475U;
      z ^= z >> 16;
    }
    value[i] = offset + scale * (static_cast<double>(z) / 2147483648.0 - 1.0);
  }
  return values;
}

at::Tensor filling(const std::string& name, const at::Tensor& tensor, bool norm) {
  const bool weight = name.ends_with(".weight");
  if (norm && (weight || name.ends_with(".running_var"))) {
    return formula(name, tensor.sizes(), 1, 0.25);
  }
  if (!weight || norm) return formula(name, tensor.sizes(), 0, 0.1);
  const auto fan_in = static_cast<double>(tensor.numel() / tensor.size(0));
  return formula(name, tensor.sizes(), 0, std::sqrt(6 / fan_in));
}

struct Filled {
  std::unique_ptr<Network> network;
  std::int64_t parameters = 0;
  std::size_t tensors = 0;
};

Filled fill(const Description& description, at::ScalarType dtype) {
  Filled filled{build_network(description, dtype, at::kCPU)};
  std::set<std::string> norms;
  for (const Layer& layer : description.layers) {
    if (layer.kind == LayerKind::batch_norm) norms.insert(layer.name);
  }
  std::vector<NamedTensor> state = filled.network->parameters();
  for (const NamedTensor& parameter : state) filled.parameters += parameter.tensor.numel();
  for (const NamedTensor& buffer : filled.network->buffers()) state.push_back(buffer);
  for (const auto& [name, tensor] : state) {
    const std::string owner = name.substr(0, name.rfind('.'));
    if (owner == "normalize" || name.ends_with("num_batches_tracked")) continue;
    tensor.data().copy_(filling(name, tensor, norms.contains(owner)));
    ++filled.tensors;
  }
  return filled;
}

class EachArchitecture : public testing::TestWithParam<std::size_t> {
 protected:
  /// The largest difference to the golden logits, as a share of the largest of them.
  static void expect_logits(at::ScalarType dtype, double tolerance) {
    const nlohmann::json golden_case = golden("networks.json").at("cases").at(GetParam());
    SCOPED_TRACE(golden_case.at("architecture").get<std::string>());
    const std::int64_t side = golden_case.at("side");
    const Description description = describe({.architecture = golden_case.at("architecture"),
                                              .width = golden_case.at("width"),
                                              .channels = golden_case.at("channels"),
                                              .height = side,
                                              .image_width = side,
                                              .classes = golden_case.at("classes"),
                                              .mean = golden_case.at("mean"),
                                              .std = golden_case.at("std")});
    const Filled filled = fill(description, dtype);
    EXPECT_EQ(filled.parameters, golden_case.at("parameters"));
    EXPECT_EQ(filled.tensors, golden_case.at("tensors"));
    const at::NoGradGuard no_grad;
    const at::Tensor images =
        formula("images", {golden_case.at("batch"), description.channels, side, side}, 0.5, 0.5);
    const at::Tensor expected = golden_tensor(golden_case.at("logits"));
    const double scale = expected.abs().max().item<double>();
    EXPECT_LE(max_difference(filled.network->forward(images.to(dtype)), expected),
              tolerance * scale);
  }
};

TEST_P(EachArchitecture, HasTheGoldenLogits) { expect_logits(at::kDouble, 1e-12); }
TEST_P(EachArchitecture, HasTheGoldenLogitsInFloat32) { expect_logits(at::kFloat, 1e-4); }

// The file cannot be read here, since CMake lists the tests without its place being known.
constexpr std::size_t kCases = 14;
INSTANTIATE_TEST_SUITE_P(NetworksGolden, EachArchitecture, testing::Range<std::size_t>(0, kCases));

TEST(NetworksGolden, CoverEveryArchitecture) {
  std::set<std::string> covered;
  const nlohmann::json cases = golden("networks.json").at("cases");
  EXPECT_EQ(cases.size(), kCases);
  for (const nlohmann::json& one : cases) covered.insert(one.at("architecture").get<std::string>());
  const std::vector<std::string>& all = architecture_names();
  EXPECT_EQ(covered, std::set<std::string>(all.begin(), all.end()));
}

}  // namespace
}  // namespace cmat::nn
