// A network is a description first: a short list of layers, from which the libtorch module (and
// later the widened module, the frozen executor and the exports) are read. A new architecture is
// one more function in architectures.cpp and nothing else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cmat/core/config.h"

namespace cmat::nn {

enum class LayerKind {
  normalize,   ///< (x - mean) / std per channel; buffers name.mean, name.std
  conv,        ///< 2-d convolution
  batch_norm,  ///< eps 1e-5, momentum 0.1, affine
  relu,
  max_pool,           ///< kernel, stride, padding
  global_avg_pool,    ///< [n,c,h,w] -> [n,c]
  adaptive_avg_pool,  ///< [n,c,h,w] -> [n,c,kernel,kernel]: averages over windows that share h, w
  flatten,            ///< [n,c,h,w] -> [n,c*h*w]
  add,                ///< sum of its two inputs
  linear,
  dropout,  ///< in training mode zeroes a value with probability `rate`, else divides by 1 - rate
};

struct Layer {
  LayerKind kind = LayerKind::relu;
  std::string name{};  ///< torch's dotted name, "layer1.0.conv1"; empty where there is no state
  std::vector<int> inputs{};     ///< values used: 0 is the image, i + 1 the output of layer i
  std::int64_t in = 0, out = 0;  ///< channels or features (conv, batch_norm, linear)
  std::int64_t kernel = 0, stride = 1, padding = 0;
  bool bias = false;
  double rate = 0;  ///< dropout: probability that a value becomes 0
};

inline constexpr double kMaxWidth = 64;  ///< of a network, as a multiplier of its channels

struct NetworkOptions {
  std::string architecture = "resnet8";  ///< one of architecture_names()
  double width = 1.0;                    ///< any multiplier; channels are rounded, at least 1
  double grown_width = 0;  ///< if greater than width: channels in multiples of 8, no fewer than at
                           ///< `width`
  std::int64_t channels = 3, height = 32, image_width = 32, classes = 2;
  std::vector<double> mean{};       ///< empty: 0.5 a channel (tiny, tinybn: no normalisation)
  std::vector<double> std{};        ///< empty: 0.25 a channel (tiny, tinybn: no normalisation)
  std::optional<double> dropout{};  ///< in [0,1); absent: the architecture's own
};

/// The last layer is the head: a linear layer whose `out` is the number of classes and whose state
/// belongs to the task. Its name is the architecture's choice: `head`, or torchvision's.
struct Description {
  NetworkOptions options;  ///< what describe() made it from
  std::string architecture;
  double width = 1.0;  ///< multiplier of the channels
  std::int64_t channels = 3, height = 32, image_width = 32;
  std::vector<double> mean, std;  ///< of the normalisation layer, one a channel, in [0,1] pixels
  std::vector<Layer> layers;

  const Layer& head() const { return layers.back(); }
};

const std::vector<std::string>& architecture_names();

/// The dropout that an architecture has unless told otherwise; 0 where it has no such layers.
double default_dropout(const std::string& architecture);

/// Shape of one image's value: [channels, height, width], or [channels] after pooling or
/// flattening.
struct ValueShape {
  std::int64_t channels = 0, height = 1, width = 1;
  bool flat = false;
};

/// Shape of every value: entry 0 is the image, entry i + 1 the output of layer i. Throws a usage
/// Error when a layer does not fit its inputs, so that a description that passes can be run.
std::vector<ValueShape> infer_shapes(const Description& description);

/// Shape of what `layer` makes of inputs of these shapes. Throws like infer_shapes.
ValueShape output_shape(const Layer& layer, const std::vector<ValueShape>& inputs);

/// True when the network runs on images of one size only: it flattens a value whose size is the
/// image's to make, instead of pooling it to a fixed one.
bool needs_fixed_size(const Description& description);

/// Reads network.architecture, network.width, network.mean, network.std, network.dropout; the
/// image's geometry and the class count come from the stream.
NetworkOptions read_network_options(Config& config, std::int64_t channels, std::int64_t height,
                                    std::int64_t image_width);

/// Throws a usage Error when the architecture is unknown or an option does not fit it or the image.
Description describe(const NetworkOptions& options);

/// The same network at `width`, no less than the width it was described at first. Each of its
/// tensors holds the narrower network's as its leading corner.
Description at_width(const Description& description, double width);

}  // namespace cmat::nn
