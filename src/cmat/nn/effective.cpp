#include "cmat/nn/effective.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "cmat/core/error.h"

namespace cmat::nn {
namespace {

constexpr double kVaries = std::numeric_limits<double>::quiet_NaN();
constexpr double kNormEpsilon = 1e-5;

bool has_weights(const Layer& layer) {
  return layer.kind == LayerKind::conv || layer.kind == LayerKind::linear;
}

std::size_t input_of(const Layer& layer) { return static_cast<std::size_t>(layer.inputs[0]); }

const at::Tensor& tensor_of(const EffectiveNetwork& network, const Layer& layer,
                            const char* which) {
  const auto found = network.state.find(layer.name + which);
  if (found == network.state.end()) failure("the network lacks the tensor ", layer.name, which);
  return found->second;
}

/// Of each layer with weights: which of them are not zero, [out, in], whatever the window.
std::vector<at::Tensor> find_used(const EffectiveNetwork& network) {
  std::vector<at::Tensor> used;
  for (const Layer& layer : network.description.layers) {
    used.emplace_back();
    if (!has_weights(layer)) continue;
    const at::Tensor nonzero = tensor_of(network, layer, ".weight").ne(0);
    used.back() = nonzero.dim() > 2 ? nonzero.flatten(2).any(2) : nonzero;
  }
  return used;
}

at::Tensor filled(std::int64_t size, double value) {
  return at::full({size}, value, at::TensorOptions(at::kDouble));
}

/// A filter without weights for anything but zero channels gives its bias everywhere.
at::Tensor constant_of_weights(const EffectiveNetwork& network, const Layer& layer,
                               const at::Tensor& used, const at::Tensor& input) {
  const at::Tensor reads = used.logical_and(input.ne(0)).any(1);
  const at::Tensor bias =
      layer.bias ? tensor_of(network, layer, ".bias").to(at::kDouble) : filled(layer.out, 0);
  return at::where(reads, filled(layer.out, kVaries), bias);
}

at::Tensor constant_of_norm(const EffectiveNetwork& network, const Layer& layer,
                            const at::Tensor& input) {
  const auto get = [&](const char* which) {
    return tensor_of(network, layer, which).to(at::kDouble);
  };
  const at::Tensor deviation = get(".running_var").add(kNormEpsilon).sqrt();
  const at::Tensor weight = get(".weight"), bias = get(".bias");
  // Whatever it reads, a weight of 0 leaves the bias.
  return at::where(weight.eq(0), bias,
                   input.sub(get(".running_mean")).mul(weight.div(deviation)).add(bias));
}

/// Of every value and channel: what it is for every image and at every position, NaN where it
/// varies (or is not known not to), so that arithmetic keeps "varies".
std::vector<at::Tensor> find_constants(const EffectiveNetwork& network,
                                       const std::vector<at::Tensor>& used) {
  const Description& d = network.description;
  const std::vector<ValueShape> shapes = infer_shapes(d);
  std::vector<at::Tensor> constants = {filled(d.channels, kVaries)};
  for (const Layer& layer : d.layers) {
    const at::Tensor& input = constants[input_of(layer)];
    const ValueShape& shape = shapes[input_of(layer)];
    at::Tensor output;
    switch (layer.kind) {
      case LayerKind::conv:
      case LayerKind::linear:
        output = constant_of_weights(network, layer, used[constants.size() - 1], input);
        break;
      case LayerKind::batch_norm:
        output = constant_of_norm(network, layer, input);
        break;
      case LayerKind::relu:
        output = at::relu(input);
        break;
      case LayerKind::normalize:  // only ever sees the image
      case LayerKind::max_pool:   // pads with -infinity, so never with another value
      case LayerKind::global_avg_pool:
      case LayerKind::adaptive_avg_pool:
      case LayerKind::dropout:
        output = input;
        break;
      case LayerKind::flatten:
        output = input.repeat_interleave(shape.height * shape.width);
        break;
      case LayerKind::add:
        output = input.add(constants[static_cast<std::size_t>(layer.inputs[1])]);
        break;
    }
    constants.push_back(output);
  }
  return constants;
}

/// Values that must have the same channels, since layers between them work channel by channel.
class Groups {
 public:
  explicit Groups(const Description& description);

  std::size_t of(std::size_t value) const { return root_[value]; }
  /// How many entries of a value belong to one channel: more than one after flattening.
  std::int64_t entries(std::size_t value) const { return entries_[value]; }
  /// The image's channels and the classes are not ours to remove.
  bool fixed(std::size_t group) const { return group == of(0) || group == of(root_.size() - 1); }

 private:
  void join(std::size_t a, std::size_t b) {
    const std::size_t from = root_[a], to = root_[b];
    std::replace(root_.begin(), root_.end(), from, to);
  }
  std::vector<std::size_t> root_;
  std::vector<std::int64_t> entries_;
};

Groups::Groups(const Description& description) : root_(description.layers.size() + 1) {
  const std::vector<ValueShape> shapes = infer_shapes(description);
  std::iota(root_.begin(), root_.end(), std::size_t{0});
  entries_.assign(root_.size(), 1);
  for (std::size_t i = 0; i < description.layers.size(); ++i) {
    const Layer& layer = description.layers[i];
    if (has_weights(layer)) continue;
    const std::size_t input = input_of(layer);
    entries_[i + 1] = entries_[input];
    if (layer.kind == LayerKind::flatten) {
      entries_[i + 1] *= shapes[input].height * shapes[input].width;
    }
    for (int value : layer.inputs) {
      // An addition of features that came of a linear layer and of flattening: no channel of one
      // is a channel of the other. Tied to the image, both keep what they have.
      const bool odd = entries_[static_cast<std::size_t>(value)] != entries_[input];
      join(static_cast<std::size_t>(value), odd ? 0 : i + 1);
      if (odd) join(i + 1, 0);
    }
  }
}

/// Of each group's channels those that somebody needs (bool tensors, by group).
std::map<std::size_t, at::Tensor> find_needed(const EffectiveNetwork& network,
                                              const Groups& groups) {
  const Description& d = network.description;
  const std::vector<at::Tensor> used = find_used(network);
  const std::vector<at::Tensor> constants = find_constants(network, used);
  std::map<std::size_t, at::Tensor> needed;
  for (std::size_t i = 0; i < d.layers.size(); ++i) {
    if (!has_weights(d.layers[i])) continue;
    const std::size_t value = input_of(d.layers[i]);
    const at::Tensor reads = used[i].any(0).logical_and(constants[value].ne(0));
    const at::Tensor channels = reads.view({-1, groups.entries(value)}).any(1);
    at::Tensor& all = needed[groups.of(value)];
    all = all.defined() ? all.logical_or(channels) : channels;
  }
  return needed;
}

/// Dropout does nothing outside of training: whoever reads its output reads its input.
Description without_dropout(Description description) {
  std::vector<Layer> layers;
  std::vector<int> moved = {0};  // where each value is now
  for (Layer& layer : description.layers) {
    for (int& value : layer.inputs) value = moved[static_cast<std::size_t>(value)];
    if (layer.kind == LayerKind::dropout) {
      moved.push_back(layer.inputs[0]);
      continue;
    }
    layers.push_back(std::move(layer));
    moved.push_back(static_cast<int>(layers.size()));
  }
  description.layers = std::move(layers);
  return description;
}

/// Indices to keep, at least one.
at::Tensor kept(const at::Tensor& needed) {
  const at::Tensor indices = needed.nonzero().flatten();
  return indices.numel() > 0 ? indices : at::zeros({1}, at::TensorOptions(at::kLong));
}

/// Channel c becomes its entries c * n, ..., c * n + n - 1.
at::Tensor expanded(const at::Tensor& channels, std::int64_t n) {
  return channels.mul(n).unsqueeze(1).add(at::arange(n, at::TensorOptions(at::kLong))).flatten();
}

/// Keeps these channels of a value and nothing else: in the layer's output or input.
void select(EffectiveNetwork& network, const Layer& layer, const at::Tensor& indices, int dim) {
  for (auto& [name, tensor] : network.state) {
    if (!name.starts_with(layer.name + ".")) continue;
    if (name.find('.', layer.name.size() + 1) != std::string::npos) continue;
    if (tensor.dim() > dim) tensor = tensor.index_select(dim, indices).contiguous();
  }
}

/// One round: what nobody needs as the network is now. Returns whether something was taken out.
bool remove_once(EffectiveNetwork& network) {
  const Groups groups(network.description);
  std::map<std::size_t, at::Tensor> keep;
  for (const auto& [group, needed] : find_needed(network, groups)) {
    if (groups.fixed(group)) continue;
    const at::Tensor indices = kept(needed);
    if (indices.numel() < needed.numel()) keep[group] = indices;
  }
  auto& layers = network.description.layers;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    Layer& layer = layers[i];
    if (layer.name.empty()) continue;
    const auto own = keep.find(groups.of(i + 1)), read = keep.find(groups.of(input_of(layer)));
    if (own != keep.end()) {
      select(network, layer, own->second, 0);
      layer.out = own->second.numel();
      if (!has_weights(layer)) layer.in = layer.out;
    }
    if (has_weights(layer) && read != keep.end()) {
      select(network, layer, expanded(read->second, groups.entries(input_of(layer))), 1);
      layer.in = tensor_of(network, layer, ".weight").size(1);
    }
  }
  return !keep.empty();
}

}  // namespace

std::int64_t EffectiveNetwork::channels() const {
  std::int64_t sum = 0;
  for (const Layer& layer : description.layers) {
    if (has_weights(layer) && &layer != &description.head()) sum += layer.out;
  }
  return sum;
}

std::int64_t EffectiveNetwork::weights() const {
  std::int64_t sum = 0;
  for (const Layer& layer : description.layers) {
    if (layer.name.empty() || layer.kind == LayerKind::normalize) continue;
    for (const char* which : {".weight", ".bias", ".running_mean", ".running_var"}) {
      const auto found = state.find(layer.name + which);
      if (found != state.end()) sum += found->second.numel();
    }
  }
  return sum;
}

EffectiveNetwork effective_network(const Network& network, const Description& description) {
  EffectiveNetwork result{without_dropout(description), {}};
  const auto copy = [&](const NamedTensor& entry) {
    if (entry.name.ends_with("num_batches_tracked")) return;
    result.state[entry.name] =
        entry.tensor.detach().to(at::kCPU).clone(at::MemoryFormat::Contiguous);
  };
  for (const NamedTensor& parameter : network.parameters()) copy(parameter);
  for (const NamedTensor& buffer : network.buffers()) copy(buffer);
  Layer& head = result.description.layers.back();
  head.out = tensor_of(result, head, ".weight").size(0);
  for (const Layer& layer : result.description.layers) {
    if (!has_weights(layer)) continue;
    const at::Tensor& weight = tensor_of(result, layer, ".weight");
    if (weight.size(0) != layer.out || weight.size(1) != layer.in) {
      failure("the tensor ", layer.name, ".weight has another shape than its layer");
    }
  }
  return result;
}

Removal remove_zero_channels(EffectiveNetwork& network) {
  const std::int64_t channels = network.channels(), weights = network.weights();
  while (remove_once(network)) {
  }
  return {channels - network.channels(), weights - network.weights()};
}

}  // namespace cmat::nn
