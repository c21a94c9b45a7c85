// Golden arrays as tensors, and the golden networks (nets.json) built from them in float64.
#pragma once

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cmat/nn/network.h"
#include "golden_file.h"

namespace cmat::test {

/// {"shape":..,"dtype":..,"data":..} as a tensor of that type.
inline at::Tensor golden_tensor(const nlohmann::json& array) {
  const std::string dtype = array.at("dtype").get<std::string>();
  at::Tensor flat = at::tensor(numbers(array), at::kDouble);
  if (dtype == "int64") flat = flat.to(at::kLong);
  if (dtype == "uint8") flat = flat.to(at::kByte);
  if (dtype == "bool") flat = flat.to(at::kBool);
  return flat.reshape(shape(array));
}

/// The largest absolute difference, in float64; infinite when the shapes differ or a value is NaN.
inline double max_difference(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return std::numeric_limits<double>::infinity();
  if (a.numel() == 0) return 0;
  const double d = (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
  return d >= 0 ? d : std::numeric_limits<double>::infinity();
}

struct GoldenNet {
  nn::Description description;
  std::unique_ptr<nn::Network> network;
  at::Tensor x, y;
};

/// The network NAME of nets.json with its images and labels. `mean` and `std`, if given, put a
/// normalisation layer in front.
inline GoldenNet golden_net(const std::string& name, const std::vector<double>& mean = {},
                            const std::vector<double>& std = {}) {
  static const nlohmann::json nets = golden("nets.json").at("nets");
  const nlohmann::json& net = nets.at(name);
  GoldenNet result;
  result.x = golden_tensor(net.at("x"));
  result.y = golden_tensor(net.at("y"));
  result.description = nn::describe({.architecture = net.at("batch_norm") ? "tinybn" : "tiny",
                                     .channels = result.x.size(1),
                                     .height = result.x.size(2),
                                     .image_width = result.x.size(3),
                                     .classes = net.at("classes"),
                                     .mean = mean,
                                     .std = std});
  result.network = nn::build_network(result.description, at::kDouble, at::kCPU);

  std::vector<nn::NamedTensor> state = result.network->parameters();
  for (const nn::NamedTensor& buffer : result.network->buffers()) state.push_back(buffer);
  std::size_t found = 0;
  for (nn::NamedTensor& item : state) {
    if (!net.at("params").contains(item.name)) continue;
    item.tensor.data().copy_(golden_tensor(net.at("params").at(item.name)));
    ++found;
  }
  if (found != net.at("params").size()) throw std::runtime_error(name + " has other parameters");
  return result;
}

}  // namespace cmat::test
