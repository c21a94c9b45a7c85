#include "cmat/nn/description_json.h"

#include <nlohmann/json.hpp>

#include "cmat/core/error.h"

namespace cmat::nn {

using nlohmann::json;

std::string_view name_of(LayerKind kind) {
  switch (kind) {
    case LayerKind::normalize:
      return "normalize";
    case LayerKind::conv:
      return "conv";
    case LayerKind::batch_norm:
      return "batch_norm";
    case LayerKind::relu:
      return "relu";
    case LayerKind::max_pool:
      return "max_pool";
    case LayerKind::global_avg_pool:
      return "global_avg_pool";
    case LayerKind::adaptive_avg_pool:
      return "adaptive_avg_pool";
    case LayerKind::flatten:
      return "flatten";
    case LayerKind::add:
      return "add";
    case LayerKind::linear:
      return "linear";
    case LayerKind::dropout:
      return "dropout";
  }
  failure("a layer of an unknown kind");
}

namespace {

json layer_json(const Layer& layer) {
  json j = {{"kind", name_of(layer.kind)}, {"inputs", layer.inputs}};
  if (!layer.name.empty()) j["name"] = layer.name;
  const bool window = layer.kind == LayerKind::conv || layer.kind == LayerKind::max_pool;
  const bool weights = layer.kind == LayerKind::conv || layer.kind == LayerKind::linear;
  if (weights || layer.kind == LayerKind::batch_norm) {
    j["in"] = layer.in;
    j["out"] = layer.out;
  }
  if (weights) j["bias"] = layer.bias;
  if (window || layer.kind == LayerKind::adaptive_avg_pool) j["kernel"] = layer.kernel;
  if (window) {
    j["stride"] = layer.stride;
    j["padding"] = layer.padding;
  }
  if (layer.kind == LayerKind::dropout) j["rate"] = layer.rate;
  return j;
}

}  // namespace

json to_json(const Description& description) {
  json layers = json::array();
  for (const Layer& layer : description.layers) layers.push_back(layer_json(layer));
  return {{"architecture", description.architecture},
          {"width", description.width},
          {"channels", description.channels},
          {"height", description.height},
          {"image_width", description.image_width},
          {"mean", description.mean},
          {"std", description.std},
          {"layers", layers}};
}

}  // namespace cmat::nn
