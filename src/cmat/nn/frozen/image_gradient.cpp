// The gradient with respect to an image: what each pixel of a layer's output sends back through all
// taps is one product with the layer's weights, which nothing is gathered for; then the taps are
// added where they fall.
#include <algorithm>

#include "cmat/core/error.h"
#include "cmat/nn/frozen/col2im.h"
#include "cmat/nn/frozen/parallel.h"
#include "cmat/nn/frozen/product.h"

namespace cmat::nn::frozen {
namespace {

constexpr std::int64_t kSumsInCache = (std::int64_t{128} << 10) / sizeof(float);

class ImageGradient : public Product {
 public:
  explicit ImageGradient(const ConvolutionShape& shape)
      : from_(shape.out), columns_(shape.kernel * shape.kernel * shape.in.channels) {
    taps_ = {.image = shape.in,
             .down = shape.out.height,
             .across = shape.out.width,
             .kernel = shape.kernel,
             .stride = shape.stride,
             .padding = shape.padding,
             .row = padded(columns_)};
    // As many rows of the image as those places reach whose sums stay in the cache.
    const std::int64_t places = kSumsInCache / (taps_.across * taps_.row);
    band_ =
        std::min(shape.in.height, std::max(places * shape.stride - shape.kernel + 1, shape.stride));
    if (places >= taps_.down) band_ = shape.in.height;
    most_rows_ = std::min(taps_.down, (band_ + shape.kernel - 2) / shape.stride + 1);
  }

  void load(const at::Tensor& weight) override;
  void run(const float* x, std::int64_t images, const float* scale, const Epilogue& epilogue,
           float* y, Workspace& workspace) const override;
  std::string method() const override { return "col2im"; }
  std::int64_t bytes() const override { return floats() * std::int64_t{sizeof(float)}; }

 private:
  std::int64_t floats() const { return from_.channels * taps_.row; }
  const float* scaled(const float* scale, Workspace& workspace) const;

  Side from_;             ///< of the layer's output
  std::int64_t columns_;  ///< taps of each channel of the image
  TapSums taps_{};
  std::int64_t band_ = 0, most_rows_ = 0;  ///< rows of the image made at once, of places for them
  Buffer weights_;                         ///< packed, as Panels
};

void ImageGradient::load(const at::Tensor& weight) {
  const std::int64_t depth = from_.channels, channels = taps_.image.channels;
  float* to = weights_.reserve(floats());
  std::fill(to, to + floats(), 0.0f);
  for (std::int64_t column = 0; column < columns_; ++column) {
    const std::int64_t tap = column / channels;
    const float* w = weight.const_data_ptr<float>() + column % channels * weight.stride(1) +
                     tap / taps_.kernel * weight.stride(2) + tap % taps_.kernel * weight.stride(3);
    float* panel = to + column / kPanel * depth * kPanel + column % kPanel;
    for (std::int64_t k = 0; k < depth; ++k) panel[k * kPanel] = w[k * weight.stride(0)];
  }
}

/// The weights for a gradient whose channels are scaled first. They are few.
const float* ImageGradient::scaled(const float* scale, Workspace& workspace) const {
  if (!scale) return weights_.data();
  float* to = workspace.shared(floats());
  for (std::int64_t i = 0; i < floats(); ++i) {
    to[i] = weights_.data()[i] * scale[i / kPanel % from_.channels];
  }
  return to;
}

void ImageGradient::run(const float* x, std::int64_t images, const float* scale,
                        const Epilogue& epilogue, float* y, Workspace& workspace) const {
  if (epilogue.scale || epilogue.bias || epilogue.add || epilogue.mask || epilogue.relu ||
      epilogue.positive) {
    failure("an image's gradient is nothing but the sum");
  }
  const std::int64_t bands = (taps_.image.height + band_ - 1) / band_;
  const std::int64_t sums_floats = most_rows_ * taps_.across * taps_.row + kPanel;
  const Panels weights = Panels::packed(scaled(scale, workspace), from_.channels);
  workspace.reserve_own(sums_floats + taps_.line());
  for_each_item(images * bands, [&](std::int64_t item, int thread) {
    const std::int64_t image = item / bands, first = item % bands * band_;
    const std::int64_t last = std::min(first + band_, taps_.image.height);
    const auto [begin, end] = taps_.senders(first, last);
    float* sums = workspace.own(thread);
    multiply((end - begin) * taps_.across, from_.channels,
             x + image * from_.floats() + begin * taps_.across * from_.stride, from_.stride,
             weights, taps_.row / kPanel, sums, taps_.row);
    col2im(taps_, sums, first, last, sums + sums_floats,
           y + image * taps_.image.floats() + first * taps_.image.width * taps_.image.stride);
  });
}

}  // namespace

bool pays_as_taps(const ConvolutionShape& shape) {
  const Side& image = shape.in;
  if (image.stride != image.channels || image.stride >= kPanel) return false;
  if (shape.stride * image.channels > kPanel) return false;
  // Multiplications for each place and channel of the layer's output, there and here.
  const std::int64_t columns = padded(shape.kernel * shape.kernel * image.channels);
  if (const std::int64_t tile = winograd_tile(shape, Direction::backward)) {
    return 100 * columns * tile * tile <
           winograd_price(shape.stride, tile) * padded(image.channels);
  }
  const std::int64_t classes = shape.stride * shape.stride;
  const std::int64_t taps = (shape.kernel + shape.stride - 1) / shape.stride;
  const bool together = classes * image.channels <= kPanel;  // see direct.cpp
  return columns < (together ? taps * taps * padded(classes * image.channels)
                             : shape.kernel * shape.kernel * padded(image.channels));
}

std::unique_ptr<Product> make_image_gradient(const ConvolutionShape& shape) {
  return std::make_unique<ImageGradient>(shape);
}

}  // namespace cmat::nn::frozen
