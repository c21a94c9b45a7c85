// The architectures. Each is one function that appends its layers to a Builder and one line in the
// table below it; channels are given at width 1.
#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cmat/core/error.h"
#include "cmat/nn/description.h"

namespace cmat::nn {
namespace {

/// Appends layers one after the other. Every function continues from `top()`, the last value made.
class Builder {
 public:
  explicit Builder(const NetworkOptions& options) : options_(options) {
    description_.options = options;
    description_.architecture = options.architecture;
    description_.width = std::max(options.width, options.grown_width);
    description_.channels = options.channels;
    description_.height = options.height;
    description_.image_width = options.image_width;
    shapes_.push_back({options.channels, options.height, options.image_width, false});
  }

  /// Channels or features at this network's width. Grown ones come in multiples of 8, as kernels
  /// like them.
  std::int64_t scaled(std::int64_t at_width_1) const {
    const auto unit = static_cast<double>(at_width_1);
    const auto first = std::max<std::int64_t>(1, std::llround(unit * options_.width));
    if (options_.grown_width <= options_.width) return first;
    const auto grown = static_cast<std::int64_t>(std::ceil(unit * options_.grown_width / 8 - 1e-9));
    return std::max(first, 8 * grown);
  }

  int top() const { return static_cast<int>(shapes_.size()) - 1; }
  std::int64_t channels_here() const { return shapes_[static_cast<std::size_t>(here())].channels; }
  /// Continues from an earlier value, for the second branch of a block.
  void rewind(int value) { from_ = value; }

  void normalize() {
    const auto channels = static_cast<std::size_t>(options_.channels);
    description_.mean = options_.mean.empty() ? std::vector<double>(channels, 0.5) : options_.mean;
    description_.std = options_.std.empty() ? std::vector<double>(channels, 0.25) : options_.std;
    append({.kind = LayerKind::normalize,
            .name = "normalize",
            .in = channels_here(),
            .out = channels_here()});
  }
  void normalize_if_asked() {
    if (!options_.mean.empty() || !options_.std.empty()) normalize();
  }
  void conv(const std::string& name, std::int64_t out, std::int64_t kernel, std::int64_t stride,
            bool bias = false) {
    append({.kind = LayerKind::conv,
            .name = name,
            .in = channels_here(),
            .out = scaled(out),
            .kernel = kernel,
            .stride = stride,
            .padding = kernel / 2,
            .bias = bias});
  }
  void batch_norm(const std::string& name) {
    append({.kind = LayerKind::batch_norm,
            .name = name,
            .in = channels_here(),
            .out = channels_here()});
  }
  void relu() { append({.kind = LayerKind::relu}); }
  void max_pool(std::int64_t kernel = 2, std::int64_t padding = 0) {
    append({.kind = LayerKind::max_pool, .kernel = kernel, .stride = 2, .padding = padding});
  }
  void global_avg_pool() { append({.kind = LayerKind::global_avg_pool}); }
  void adaptive_avg_pool(std::int64_t side) {
    append({.kind = LayerKind::adaptive_avg_pool, .kernel = side});
  }
  /// Nothing at all where the probability is 0.
  void dropout() {
    const double rate = options_.dropout.value_or(default_dropout(options_.architecture));
    if (rate > 0) append({.kind = LayerKind::dropout, .rate = rate});
  }
  void flatten() { append({.kind = LayerKind::flatten}); }
  void linear(const std::string& name, std::int64_t out) {
    append({.kind = LayerKind::linear,
            .name = name,
            .in = channels_here(),
            .out = scaled(out),
            .bias = true});
  }
  void add(int a, int b) { append({.kind = LayerKind::add, .inputs = {a, b}}); }
  void head(const std::string& name = "head") {
    append({.kind = LayerKind::linear,
            .name = name,
            .in = channels_here(),
            .out = options_.classes,
            .bias = true});
  }
  void conv_bn_relu(const std::string& conv_name, const std::string& norm_name, std::int64_t out,
                    std::int64_t stride = 1, std::int64_t kernel = 3, bool bias = false) {
    conv(conv_name, out, kernel, stride, bias);
    batch_norm(norm_name);
    relu();
  }

  Description finish() { return std::move(description_); }

 private:
  int here() const { return from_ < 0 ? top() : from_; }

  void append(Layer layer) {
    if (layer.inputs.empty()) layer.inputs = {here()};
    std::vector<ValueShape> inputs;
    for (int value : layer.inputs) inputs.push_back(shapes_[static_cast<std::size_t>(value)]);
    shapes_.push_back(output_shape(layer, inputs));
    description_.layers.push_back(std::move(layer));
    from_ = -1;
  }

  const NetworkOptions& options_;
  Description description_;
  std::vector<ValueShape> shapes_;
  int from_ = -1;  ///< the value that the next layer reads, or -1 for the last one made
};

/// Ends a residual block: what was made last, plus the block's input, by a 1x1 convolution if
/// `project`.
void add_shortcut(Builder& b, const std::string& name, int input, bool project, std::int64_t out,
                  std::int64_t stride) {
  const int main = b.top();
  int shortcut = input;
  if (project) {
    b.rewind(input);
    b.conv(name + ".downsample.0", out, 1, stride);
    b.batch_norm(name + ".downsample.1");
    shortcut = b.top();
  }
  b.add(main, shortcut);
  b.relu();
}

/// Two 3x3 convolutions with a shortcut (He et al., 2016); names as in torchvision.
void residual_block(Builder& b, const std::string& name, std::int64_t out, std::int64_t stride) {
  const int input = b.top();
  const bool project = stride != 1 || b.channels_here() != b.scaled(out);
  b.conv_bn_relu(name + ".conv1", name + ".bn1", out, stride);
  b.conv(name + ".conv2", out, 3, 1);
  b.batch_norm(name + ".bn2");
  add_shortcut(b, name, input, project, out, stride);
}

/// Convolutions of 1x1, 3x3 and 1x1 with a shortcut (He et al., 2016), the stride in the 3x3 as
/// torchvision has it ("version 1.5"); names as there.
void bottleneck_block(Builder& b, const std::string& name, std::int64_t planes,
                      std::int64_t stride) {
  const int input = b.top();
  const std::int64_t out = 4 * planes;
  const bool project = stride != 1 || b.channels_here() != b.scaled(out);
  b.conv_bn_relu(name + ".conv1", name + ".bn1", planes, 1, 1);
  b.conv_bn_relu(name + ".conv2", name + ".bn2", planes, stride);
  b.conv(name + ".conv3", out, 1, 1);
  b.batch_norm(name + ".bn3");
  add_shortcut(b, name, input, project, out, stride);
}

/// A small residual network for 32x32 images; the stem halves the image, which makes it cheap on a
/// CPU.
void resnet8(Builder& b) {
  b.normalize();
  b.conv_bn_relu("conv1", "bn1", 16, 2);
  residual_block(b, "layer1.0", 16, 1);
  residual_block(b, "layer2.0", 32, 2);
  residual_block(b, "layer3.0", 64, 2);
  b.global_avg_pool();
  b.head();
}

/// The four groups of blocks of the residual networks of He et al. (2016), and the head.
void residual_groups(Builder& b, const std::vector<int>& blocks,
                     void (*block)(Builder&, const std::string&, std::int64_t, std::int64_t)) {
  std::int64_t planes = 64;
  for (std::size_t group = 0; group < blocks.size(); ++group, planes *= 2) {
    for (int i = 0; i < blocks[group]; ++i) {
      const std::int64_t stride = group > 0 && i == 0 ? 2 : 1;
      block(b, text("layer", group + 1, ".", i), planes, stride);
    }
  }
  b.global_avg_pool();
  b.head("fc");
}

void imagenet_stem(Builder& b) {
  b.normalize();
  b.conv_bn_relu("conv1", "bn1", 64, 2, 7);
  b.max_pool(3, 1);
}

/// ResNet-18 as it is used for 32x32 images: a 3x3 stem that keeps the image's size, no pooling.
void resnet18(Builder& b) {
  b.normalize();
  b.conv_bn_relu("conv1", "bn1", 64);
  residual_groups(b, {2, 2, 2, 2}, residual_block);
}

void resnet18_imagenet(Builder& b) {
  imagenet_stem(b);
  residual_groups(b, {2, 2, 2, 2}, residual_block);
}

void resnet50_imagenet(Builder& b) {
  imagenet_stem(b);
  residual_groups(b, {3, 4, 6, 3}, bottleneck_block);
}

/// The convolutions of VGG16 with batch norm (Simonyan and Zisserman, 2015).
void vgg16_features(Builder& b, bool bias) {
  const std::vector<std::vector<std::int64_t>> stages = {
      {64, 64}, {128, 128}, {256, 256, 256}, {512, 512, 512}, {512, 512, 512}};
  b.normalize();
  int index =
      0;  // counts as torchvision's nn.Sequential does: conv, norm, ReLU and pool are modules
  for (const auto& stage : stages) {
    for (std::int64_t out : stage) {
      b.conv_bn_relu(text("features.", index), text("features.", index + 1), out, 1, 3, bias);
      index += 3;
    }
    b.max_pool();
    ++index;
  }
}

/// For images of 32x32 and more; no dropout unless it is asked for.
void vgg16_bn(Builder& b) {
  vgg16_features(b, false);
  b.flatten();
  for (const char* name : {"classifier.0", "classifier.2"}) {
    b.linear(name, 4096);
    b.relu();
    b.dropout();
  }
  b.head();
}

/// For images of any size from 32x32 on; biases and names as torchvision has them.
void vgg16_bn_imagenet(Builder& b) {
  vgg16_features(b, true);
  b.adaptive_avg_pool(7);
  b.flatten();
  for (const char* name : {"classifier.0", "classifier.3"}) {
    b.linear(name, 4096);
    b.relu();
    b.dropout();
  }
  b.head("classifier.6");
}

/// For 28x28 grey images: 60,336 parameters and the head, 1.9 million multiplications an image.
void small_cnn(Builder& b) {
  b.normalize();
  b.conv_bn_relu("conv1", "bn1", 16, 2);
  b.conv_bn_relu("conv2", "bn2", 32);
  b.conv_bn_relu("conv3", "bn3", 64, 2);
  b.max_pool();
  b.flatten();
  b.linear("fc1", 64);
  b.relu();
  b.head();
}

/// One linear layer: the floor that every report compares with.
void linear(Builder& b) {
  b.normalize();
  b.flatten();
  b.head();
}

/// The networks of the golden numbers (tests/golden/README.md), small enough for float64.
void tiny_network(Builder& b, bool norm) {
  b.normalize_if_asked();
  b.conv("conv1", 6, 3, 1, true);
  if (norm) b.batch_norm("bn1");
  b.relu();
  b.max_pool();
  b.conv("conv2", 12, 3, 1, true);
  if (norm) b.batch_norm("bn2");
  b.relu();
  b.global_avg_pool();
  b.head("fc");
}

void tiny(Builder& b) { tiny_network(b, false); }
void tinybn(Builder& b) { tiny_network(b, true); }

struct Architecture {
  std::string name;
  void (*build)(Builder&);
  std::optional<double> dropout{};  ///< its usual probability; absent: it has no such layers
};

const std::vector<Architecture>& architectures() {
  static const std::vector<Architecture> table = {
      {"resnet8", resnet8},
      {"resnet18", resnet18},
      {"resnet18_imagenet", resnet18_imagenet},
      {"resnet50_imagenet", resnet50_imagenet},
      {"vgg16_bn", vgg16_bn, 0.0},
      {"vgg16_bn_imagenet", vgg16_bn_imagenet, 0.5},
      {"small_cnn", small_cnn},
      {"linear", linear},
      {"tiny", tiny},
      {"tinybn", tinybn},
  };
  return table;
}

const Architecture& find_architecture(const std::string& name) {
  for (const Architecture& architecture : architectures()) {
    if (architecture.name == name) return architecture;
  }
  const std::string guess = nearest(name, architecture_names());
  usage_error("unknown architecture \"", name, "\"",
              guess.empty() ? "" : text(", did you mean \"", guess, "\"?"));
}

void check_dropout(const NetworkOptions& options) {
  const double rate = options.dropout.value_or(0);
  if (!(rate >= 0 && rate < 1)) {
    usage_error("network.dropout must be at least 0 and less than 1, but is ", rate);
  }
  if (rate > 0 && !find_architecture(options.architecture).dropout) {
    usage_error("network.dropout is ", rate, ", but ", options.architecture,
                " has no dropout layers: set it to 0");
  }
}

void check_statistics(const std::vector<double>& values, std::int64_t channels, const char* key) {
  if (!values.empty() && values.size() != static_cast<std::size_t>(channels)) {
    usage_error(key, " has ", values.size(), values.size() == 1 ? " value" : " values",
                ", but the images have ", channels, channels == 1 ? " channel" : " channels");
  }
}

void check_options(const NetworkOptions& options) {
  if (options.channels < 1 || options.height < 1 || options.image_width < 1) {
    usage_error("a network needs images of at least one pixel and one channel");
  }
  if (options.classes < 1) usage_error("a network needs at least one class");
  if (!(options.width > 0) || !std::isfinite(options.width)) {
    usage_error("network.width must be greater than 0, but is ", options.width);
  }
  if (options.grown_width < 0 || !std::isfinite(options.grown_width)) {
    usage_error("a network cannot grow to the width ", options.grown_width);
  }
  check_statistics(options.mean, options.channels, "network.mean");
  check_statistics(options.std, options.channels, "network.std");
  for (double value : options.std) {
    if (!(value > 0)) usage_error("network.std must be greater than 0, but holds ", value);
  }
  check_dropout(options);
}

}  // namespace

const std::vector<std::string>& architecture_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> result;
    for (const Architecture& architecture : architectures()) result.push_back(architecture.name);
    return result;
  }();
  return names;
}

double default_dropout(const std::string& architecture) {
  return find_architecture(architecture).dropout.value_or(0);
}

Description describe(const NetworkOptions& options) {
  check_options(options);
  Builder builder(options);
  find_architecture(options.architecture).build(builder);
  return builder.finish();
}

Description at_width(const Description& description, double width) {
  if (width == description.width) return description;
  NetworkOptions options = description.options;
  options.classes = description.head().out;
  if (!(width >= options.width && width <= kMaxWidth)) {
    failure("a network of width ", options.width, " has no form of width ", width);
  }
  options.grown_width = width > options.width ? width : 0;
  Description grown = describe(options);
  if (grown.layers.size() != description.layers.size()) {
    failure("the network ", description.architecture, " has other layers at the width ", width);
  }
  return grown;
}

}  // namespace cmat::nn
