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

TEST(Architectures, RunAtEveryWidthAndImage) {
  for (const std::string& architecture : architecture_names()) {
    for (const double width : {0.25, 1.5}) {
      for (const std::int64_t channels : {1, 3}) {
        const std::int64_t side = architecture == "vgg16_bn" ? 32 : 28;
        const NetworkOptions options = {.architecture = architecture,
                                        .width = architecture == "vgg16_bn" ? width / 4 : width,
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
}

}  // namespace
}  // namespace cmat::nn
