#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <map>

#include "cmat/core/error.h"
#include "cmat/nn/network.h"

namespace cmat::nn {
namespace {

std::int64_t parameter_count(const NetworkOptions& options) {
  const auto network = build_network(describe(options), at::kFloat, at::kCPU);
  std::int64_t count = 0;
  for (const NamedTensor& parameter : network->parameters()) count += parameter.tensor.numel();
  return count;
}

std::string usage_message(const NetworkOptions& options) {
  try {
    describe(options);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "";
}

TEST(Architectures, HaveTheParametersTheyDocument) {
  EXPECT_EQ(parameter_count({.architecture = "resnet8", .classes = 5}), 77717);
  EXPECT_EQ(parameter_count({.architecture = "small_cnn",
                             .channels = 1,
                             .height = 28,
                             .image_width = 28,
                             .classes = 10}),
            60336 + 650);
  EXPECT_EQ(parameter_count({.architecture = "linear", .classes = 5}), 3 * 32 * 32 * 5 + 5);
}

TEST(Architectures, VggHasThirteenConvolutionsAndTorchvisionsNames) {
  const Description vgg = describe({.architecture = "vgg16_bn", .classes = 5});
  std::int64_t convolutions = 0;
  for (const Layer& layer : vgg.layers) convolutions += layer.kind == LayerKind::conv;
  EXPECT_EQ(convolutions, 13);
  const auto network = build_network(vgg, at::kFloat, at::kCPU);
  EXPECT_EQ(network->parameters().front().name, "features.0.weight");
  std::map<std::string, at::Tensor> parameters;
  for (const auto& [name, tensor] : network->parameters()) parameters[name] = tensor;
  EXPECT_EQ(parameters.at("features.40.weight").sizes(),
            (std::vector<std::int64_t>{512, 512, 3, 3}));
  EXPECT_EQ(parameters.at("classifier.0.weight").sizes(), (std::vector<std::int64_t>{4096, 512}));
  EXPECT_EQ(parameters.at("classifier.2.weight").sizes(), (std::vector<std::int64_t>{4096, 4096}));
}

std::int64_t described_parameters(const std::string& architecture) {
  std::int64_t count = 0;
  const Description description =
      describe({.architecture = architecture, .height = 224, .image_width = 224, .classes = 1000});
  for (const Layer& layer : description.layers) {
    if (layer.kind == LayerKind::batch_norm) count += 2 * layer.out;
    if (layer.kind == LayerKind::conv) count += layer.in * layer.out * layer.kernel * layer.kernel;
    if (layer.kind == LayerKind::linear) count += layer.in * layer.out;
    if (layer.bias) count += layer.out;
  }
  return count;
}

TEST(Architectures, ImageNetsHaveThePublishedParameters) {
  EXPECT_EQ(described_parameters("resnet18_imagenet"), 11689512);
  EXPECT_EQ(described_parameters("resnet50_imagenet"), 25557032);
  EXPECT_EQ(described_parameters("vgg16_bn_imagenet"), 138365992);
}

TEST(Architectures, ImageNetsHaveTorchvisionsNames) {
  const auto names = [](const std::string& architecture) {
    std::map<std::string, std::vector<std::int64_t>> shapes;
    const auto network = build_network(describe({.architecture = architecture, .width = 0.125}),
                                       at::kFloat, at::kCPU);
    for (const NamedTensor& p : network->parameters()) shapes[p.name] = p.tensor.sizes().vec();
    for (const NamedTensor& b : network->buffers()) shapes[b.name] = b.tensor.sizes().vec();
    return shapes;
  };
  using Shape = std::vector<std::int64_t>;
  const auto resnet = names("resnet50_imagenet");
  EXPECT_EQ(resnet.at("conv1.weight"), (Shape{8, 3, 7, 7}));
  EXPECT_EQ(resnet.at("layer1.0.downsample.0.weight"), (Shape{32, 8, 1, 1}));
  EXPECT_EQ(resnet.at("layer4.2.conv3.weight"), (Shape{256, 64, 1, 1}));
  EXPECT_EQ(resnet.at("layer4.2.bn3.running_var"), (Shape{256}));
  EXPECT_EQ(resnet.at("fc.weight"), (Shape{2, 256}));
  EXPECT_FALSE(resnet.contains("layer1.1.downsample.0.weight"));
  const auto vgg = names("vgg16_bn_imagenet");
  EXPECT_EQ(vgg.at("features.40.bias"), (Shape{64}));
  EXPECT_EQ(vgg.at("classifier.0.weight"), (Shape{512, 64 * 49}));
  EXPECT_EQ(vgg.at("classifier.3.weight"), (Shape{512, 512}));
  EXPECT_EQ(vgg.at("classifier.6.bias"), (Shape{2}));
}

TEST(Architectures, TheStrideOfABottleneckIsInTheMiddle) {
  std::map<std::string, std::int64_t> strides;
  for (const Layer& layer : describe({.architecture = "resnet50_imagenet"}).layers) {
    if (layer.name.starts_with("layer2.0.conv")) strides[layer.name.substr(9)] = layer.stride;
  }
  EXPECT_EQ(strides,
            (std::map<std::string, std::int64_t>{{"conv1", 1}, {"conv2", 2}, {"conv3", 1}}));
}

TEST(Architectures, ThoseThatPoolTakeImagesOfAnySize) {
  const std::map<std::string, bool> fixed = {{"resnet8", false},
                                             {"resnet18", false},
                                             {"resnet18_imagenet", false},
                                             {"resnet50_imagenet", false},
                                             {"vgg16_bn", true},
                                             {"vgg16_bn_imagenet", false},
                                             {"small_cnn", true},
                                             {"linear", true},
                                             {"tiny", false},
                                             {"tinybn", false}};
  EXPECT_EQ(fixed.size(), architecture_names().size());
  for (const std::string& architecture : architecture_names()) {
    SCOPED_TRACE(architecture);
    const Description description = describe({.architecture = architecture, .width = 0.125});
    EXPECT_EQ(needs_fixed_size(description), fixed.at(architecture));
    const auto network = build_network(description, at::kFloat, at::kCPU);
    const at::NoGradGuard no_grad;
    const at::Tensor images = at::rand({2, 3, 40, 56});
    if (fixed.at(architecture)) {
      EXPECT_THROW(network->forward(images), Error);
    } else {
      EXPECT_EQ(network->forward(images).sizes(), (std::vector<std::int64_t>{2, 2}));
    }
  }
}

TEST(Architectures, AnImageThatIsTooSmallIsTold) {
  const auto network = build_network(
      describe({.architecture = "vgg16_bn_imagenet", .width = 1.0 / 64}), at::kFloat, at::kCPU);
  try {
    network->forward(at::rand({1, 3, 16, 16}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_TRUE(std::string(error.what()).starts_with("the image is too small for this network"));
  }
}

TEST(Architectures, RunAtEveryWidthAndImage) {
  for (const std::string& architecture : architecture_names()) {
    for (const double width : {0.25, 1.5}) {
      for (const std::int64_t channels : {1, 3}) {
        const bool small = architecture == "resnet8" || architecture == "small_cnn" ||
                           architecture == "linear" || architecture.starts_with("tiny");
        const std::int64_t side = small ? 28 : 32;
        const NetworkOptions options = {.architecture = architecture,
                                        .width = small ? width : width / 8,
                                        .channels = channels,
                                        .height = side,
                                        .image_width = side + 4,
                                        .classes = 7};
        SCOPED_TRACE(text(architecture, " width ", options.width, " channels ", channels));
        const Description description = describe(options);
        const auto network = build_network(description, at::kFloat, at::kCPU);
        initialize(*network, description, 1, 1);
        const at::NoGradGuard no_grad;
        const at::Tensor images = at::rand({3, channels, side, side + 4});
        EXPECT_EQ(network->forward(images).sizes(), (std::vector<std::int64_t>{3, 7}));
        EXPECT_EQ(network->features(images).sizes(),
                  (std::vector<std::int64_t>{3, description.head().in}));
        EXPECT_EQ(network->head_name(), description.head().name);
      }
    }
  }
}

TEST(Architectures, WidthScalesChannelsAndRounds) {
  const Description narrow = describe({.architecture = "resnet8", .width = 0.25, .classes = 5});
  EXPECT_EQ(narrow.head().in, 16);
  const Description wide = describe({.architecture = "resnet8", .width = 1.5, .classes = 5});
  EXPECT_EQ(wide.head().in, 96);
  const Description thin = describe({.architecture = "tiny", .width = 0.01, .classes = 5});
  EXPECT_EQ(thin.head().in, 1);
  // 6 * 0.25 = 1.5 rounds away from zero.
  EXPECT_EQ(describe({.architecture = "tiny", .width = 0.25}).layers.front().out, 2);
}

TEST(Architectures, ShapesFollowTheImage) {
  const Description description = describe({.architecture = "resnet8", .classes = 5});
  const std::vector<ValueShape> shapes = infer_shapes(description);
  ASSERT_EQ(shapes.size(), description.layers.size() + 1);
  EXPECT_EQ(shapes[2].height, 16);  // the stem halves 32
  EXPECT_TRUE(shapes.back().flat);
  EXPECT_EQ(shapes.back().channels, 5);
}

TEST(Architectures, RefuseWhatDoesNotFitInOneSentence) {
  EXPECT_EQ(
      usage_message({.architecture = "vgg16_bn", .height = 28, .image_width = 28}),
      "the image is too small for this network: a max-pooling layer needs at least 2 pixels a "
      "side, but its input has the shape [512, 1, 1]");
  EXPECT_EQ(usage_message({.architecture = "resnet9"}),
            "unknown architecture \"resnet9\", did you mean \"resnet8\"?");
  EXPECT_EQ(usage_message({.mean = {0.5}}),
            "network.mean has 1 value, but the images have 3 channels");
  EXPECT_EQ(usage_message({.std = {1, 0, 1}}), "network.std must be greater than 0, but holds 0");
  EXPECT_EQ(usage_message({.width = 0}), "network.width must be greater than 0, but is 0");
  EXPECT_EQ(usage_message({.classes = 0}), "a network needs at least one class");
  EXPECT_EQ(usage_message({.architecture = "resnet18", .dropout = 0.5}),
            "network.dropout is 0.5, but resnet18 has no dropout layers: set it to 0");
  EXPECT_EQ(usage_message({.architecture = "vgg16_bn", .dropout = 1.0}),
            "network.dropout must be at least 0 and less than 1, but is 1");
}

TEST(Architectures, ABrokenDescriptionIsRefused) {
  Description description = describe({.architecture = "resnet8"});
  description.layers[4].inputs = {99};
  EXPECT_THROW(infer_shapes(description), Error);
  description = describe({.architecture = "resnet8"});
  description.layers[1].in = 4;
  EXPECT_THROW(build_network(description, at::kFloat, at::kCPU), Error);
}

TEST(Architectures, OptionsComeFromTheConfig) {
  Config config = Config::parse(
      "[network]\narchitecture = \"small_cnn\"\nwidth = 2.0\nmean = [0.3]\nstd = [0.4]\n", "test");
  const NetworkOptions options = read_network_options(config, 1, 28, 28);
  config.finish();
  EXPECT_EQ(options.architecture, "small_cnn");
  EXPECT_EQ(options.width, 2.0);
  EXPECT_EQ(describe(options).mean, std::vector<double>{0.3});
  EXPECT_EQ(options.height, 28);
  EXPECT_EQ(options.dropout, 0.0);
}

TEST(Architectures, DropoutHasADefaultForEach) {
  const auto rates = [](const std::string& toml) {
    Config config = Config::parse("[network]\n" + toml, "test");
    const NetworkOptions options = read_network_options(config, 3, 32, 32);
    config.finish();
    std::vector<double> result;
    for (const Layer& layer : describe(options).layers) {
      if (layer.kind == LayerKind::dropout) result.push_back(layer.rate);
    }
    return result;
  };
  using Rates = std::vector<double>;
  EXPECT_EQ(rates("architecture = \"vgg16_bn\""), Rates{});
  EXPECT_EQ(rates("architecture = \"vgg16_bn\"\ndropout = 0.25"), (Rates{0.25, 0.25}));
  EXPECT_EQ(rates("architecture = \"vgg16_bn_imagenet\""), (Rates{0.5, 0.5}));
  EXPECT_EQ(rates("architecture = \"vgg16_bn_imagenet\"\ndropout = 0"), Rates{});
  EXPECT_THROW(rates("architecture = \"resnet18\"\ndropout = 0.1"), Error);
}

}  // namespace
}  // namespace cmat::nn
