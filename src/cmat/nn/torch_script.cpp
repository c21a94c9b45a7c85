#include "cmat/nn/torch_script.h"

#include <torch/csrc/jit/api/module.h>

#include <algorithm>
#include <cctype>
#include <sstream>

#include "cmat/core/error.h"

namespace cmat::nn {
namespace {

using torch::jit::Module;

bool is_identifier(const std::string& part) {
  return !std::isdigit(static_cast<unsigned char>(part.front()));
}

std::vector<std::string> parts_of(const std::string& name) {
  std::vector<std::string> parts;
  std::istringstream in(name);
  for (std::string part; std::getline(in, part, '.');) parts.push_back(part);
  return parts;
}

/// "layer1.0.conv1" -> getattr(self.layer1, "0").conv1, since a number is no attribute's name.
std::string attribute(const std::string& name) {
  std::string expression = "self";
  for (const std::string& part : parts_of(name)) {
    expression = is_identifier(part) ? text(expression, ".", part)
                                     : text("getattr(", expression, ", \"", part, "\")");
  }
  return expression;
}

std::string pair(std::int64_t value) { return text("[", value, ", ", value, "]"); }

/// The right side of one layer's line.
std::string expression(const Layer& layer) {
  const auto value = [&](std::size_t i) { return text("v", layer.inputs[i]); };
  const auto own = [&](const char* which) { return attribute(layer.name + which); };
  const std::string x = value(0), bias = layer.bias ? own(".bias") : "None";
  switch (layer.kind) {
    case LayerKind::normalize:
      return text("(", x, " - ", own(".mean"), ".view([1, -1, 1, 1])) / ", own(".std"),
                  ".view([1, -1, 1, 1])");
    case LayerKind::conv:
      return text("torch.conv2d(", x, ", ", own(".weight"), ", ", bias, ", ", pair(layer.stride),
                  ", ", pair(layer.padding), ")");
    case LayerKind::batch_norm:
      return text("torch.batch_norm(", x, ", ", own(".weight"), ", ", own(".bias"), ", ",
                  own(".running_mean"), ", ", own(".running_var"), ", False, 0.1, 1e-5, False)");
    case LayerKind::relu:
      return text("torch.relu(", x, ")");
    case LayerKind::max_pool:
      return text("torch.max_pool2d(", x, ", ", pair(layer.kernel), ", ", pair(layer.stride), ", ",
                  pair(layer.padding), ")");
    case LayerKind::global_avg_pool:
      return text("torch.mean(", x, ", [2, 3])");
    case LayerKind::flatten:
      return text("torch.flatten(", x, ", 1)");
    case LayerKind::add:
      return text(x, " + ", value(1));
    case LayerKind::linear:
      return text("torch.linear(", x, ", ", own(".weight"), ", ", bias, ")");
    case LayerKind::adaptive_avg_pool:
      return text("torch.adaptive_avg_pool2d(", x, ", ", pair(layer.kernel), ")");
    case LayerKind::dropout:
      return x;
  }
  failure("a layer of an unknown kind");
}

/// The module that holds the tensor `name`, made on the way if need be.
Module holder_of(Module root, const std::string& name) {
  std::vector<std::string> parts = parts_of(name);
  parts.pop_back();
  for (const std::string& part : parts) {
    if (!root.hasattr(part)) {
      root.register_module(part, Module(c10::QualifiedName("__torch__.cmat.Part"),
                                        root._ivalue()->compilation_unit(), true));
    }
    root = root.attr(part).toModule();
  }
  return root;
}

}  // namespace

std::string torch_script_source(const Description& description) {
  std::string source = "def forward(self, images):\n  v0 = images\n";
  std::size_t value = 0;
  for (const Layer& layer : description.layers) {
    source += text("  v", ++value, " = ", expression(layer), "\n");
  }
  return source + text("  return v", value, "\n");
}

std::string torch_script(const EffectiveNetwork& network,
                         const std::map<std::string, std::string>& metadata) {
  Module root("cmat.Network");
  for (const auto& [name, tensor] : network.state) {
    const std::string leaf = parts_of(name).back();
    Module holder = holder_of(root, name);
    if (leaf == "weight" || leaf == "bias")
      holder.register_parameter(leaf, tensor.detach(), /*is_buffer=*/false);
    else
      holder.register_buffer(leaf, tensor.detach());
  }
  root.define(torch_script_source(network.description));
  root.eval();
  torch::jit::ExtraFilesMap files;
  for (const auto& [key, value] : metadata) files[key] = value;
  std::ostringstream out;
  root.save(out, files);
  return std::move(out).str();
}

}  // namespace cmat::nn
