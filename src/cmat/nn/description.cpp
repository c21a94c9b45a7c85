#include "cmat/nn/description.h"

#include "cmat/core/error.h"

namespace cmat::nn {
namespace {

/// What to call a layer in a message: most layers without state have no name of their own.
std::string label(const Layer& layer) {
  if (!layer.name.empty()) return text("layer ", layer.name);
  switch (layer.kind) {
    case LayerKind::relu:
      return "a ReLU layer";
    case LayerKind::max_pool:
      return "a max-pooling layer";
    case LayerKind::global_avg_pool:
      return "the global pooling layer";
    case LayerKind::adaptive_avg_pool:
      return "the adaptive pooling layer";
    case LayerKind::dropout:
      return "a dropout layer";
    case LayerKind::flatten:
      return "the flattening layer";
    case LayerKind::add:
      return "an addition";
    default:
      return "an unnamed layer";
  }
}

std::string to_text(const ValueShape& shape) {
  return shape.flat ? text("[", shape.channels, "]")
                    : text("[", shape.channels, ", ", shape.height, ", ", shape.width, "]");
}

bool same(const ValueShape& a, const ValueShape& b) {
  return a.flat == b.flat && a.channels == b.channels && a.height == b.height && a.width == b.width;
}

void require_channels(const Layer& layer, const ValueShape& input, bool flat) {
  if (input.flat != flat || (layer.in != 0 && input.channels != layer.in)) {
    usage_error(label(layer), " takes ", layer.in, flat ? " features" : " channels",
                ", but its input has the shape ", to_text(input));
  }
}

/// Output length of a sliding window, or an error when the image has been shrunk to less than it.
std::int64_t slide(const Layer& layer, std::int64_t length, const ValueShape& input) {
  const std::int64_t room = length + 2 * layer.padding - layer.kernel;
  if (room < 0) {
    usage_error("the image is too small for this network: ", label(layer), " needs at least ",
                layer.kernel - 2 * layer.padding, " pixels a side, but its input has the shape ",
                to_text(input));
  }
  return room / layer.stride + 1;
}

ValueShape windowed(const Layer& layer, const ValueShape& input, std::int64_t channels) {
  return {channels, slide(layer, input.height, input), slide(layer, input.width, input), false};
}

}  // namespace

ValueShape output_shape(const Layer& layer, const std::vector<ValueShape>& inputs) {
  const std::size_t expected = layer.kind == LayerKind::add ? 2 : 1;
  if (inputs.size() != expected) {
    usage_error(label(layer), " has ", inputs.size(), " inputs where it needs ", expected);
  }
  const ValueShape& input = inputs.front();
  switch (layer.kind) {
    case LayerKind::relu:
    case LayerKind::dropout:
      return input;
    case LayerKind::normalize:
    case LayerKind::batch_norm:
      require_channels(layer, input, false);
      return input;
    case LayerKind::conv:
      require_channels(layer, input, false);
      return windowed(layer, input, layer.out);
    case LayerKind::max_pool:
      require_channels(layer, input, false);
      return windowed(layer, input, input.channels);
    case LayerKind::global_avg_pool:
      require_channels(layer, input, false);
      return {input.channels, 1, 1, true};
    case LayerKind::adaptive_avg_pool:
      require_channels(layer, input, false);
      return {input.channels, layer.kernel, layer.kernel, false};
    case LayerKind::flatten:
      require_channels(layer, input, false);
      return {input.channels * input.height * input.width, 1, 1, true};
    case LayerKind::add:
      if (!same(input, inputs[1])) {
        usage_error(label(layer), " has inputs of different shapes, ", to_text(input), " and ",
                    to_text(inputs[1]));
      }
      return input;
    case LayerKind::linear:
      require_channels(layer, input, true);
      return {layer.out, 1, 1, true};
  }
  failure("a layer of an unknown kind");
}

std::vector<ValueShape> infer_shapes(const Description& description) {
  std::vector<ValueShape> shapes = {
      {description.channels, description.height, description.image_width, false}};
  for (const Layer& layer : description.layers) {
    std::vector<ValueShape> inputs;
    for (int value : layer.inputs) {
      if (value < 0 || static_cast<std::size_t>(value) >= shapes.size()) {
        usage_error(label(layer), " uses value ", value, ", which no earlier layer makes");
      }
      inputs.push_back(shapes[static_cast<std::size_t>(value)]);
    }
    shapes.push_back(output_shape(layer, inputs));
  }
  if (description.layers.empty() || description.head().kind != LayerKind::linear) {
    usage_error("the last layer of a network must be its head, a linear layer");
  }
  return shapes;
}

bool needs_fixed_size(const Description& description) {
  std::vector<bool> varies = {true};  // which values have a size that follows the image's
  for (const Layer& layer : description.layers) {
    bool input_varies = false;
    for (int value : layer.inputs) {
      input_varies = input_varies || varies[static_cast<std::size_t>(value)];
    }
    if (layer.kind == LayerKind::flatten && input_varies) return true;
    const bool pooled =
        layer.kind == LayerKind::global_avg_pool || layer.kind == LayerKind::adaptive_avg_pool;
    varies.push_back(input_varies && !pooled);
  }
  return false;
}

NetworkOptions read_network_options(Config& config, std::int64_t channels, std::int64_t height,
                                    std::int64_t image_width) {
  NetworkOptions options;
  options.architecture =
      config.string("network.architecture", options.architecture, architecture_names());
  options.width = config.number("network.width", options.width, 1.0 / 64, kMaxWidth);
  options.mean = config.numbers("network.mean", {});
  options.std = config.numbers("network.std", {});
  options.dropout = config.number("network.dropout", default_dropout(options.architecture), 0, 1);
  options.channels = channels;
  options.height = height;
  options.image_width = image_width;
  return options;
}

}  // namespace cmat::nn
