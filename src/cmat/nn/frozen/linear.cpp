// Linear layers whose weights are read where they are, [out, in] row by row: once a pass, whatever
// the batch.
#include <algorithm>

#include "cmat/core/error.h"
#include "cmat/nn/frozen/elementwise.h"
#include "cmat/nn/frozen/parallel.h"
#include "cmat/nn/frozen/product.h"

namespace cmat::nn::frozen {
namespace {

constexpr std::int64_t kRows = 48;          ///< of the weight that a thread takes at once, forward
constexpr std::int64_t kColumnPanels = 16;  ///< likewise, backward
constexpr std::int64_t kDepth = 64;         ///< rows of the weight that stay in the cache, backward

class Linear : public Product {
 public:
  Linear(const ConvolutionShape& shape, Direction direction)
      : in_(shape.in.channels),
        out_(shape.out.channels),
        backward_(direction == Direction::backward) {}

  void load(const at::Tensor& weight) override {
    weight_ = weight.detach();
    if (!weight_.is_contiguous()) failure("the weight of a linear layer is not contiguous");
  }
  void run(const float* x, std::int64_t images, const float* scale, const Epilogue& epilogue,
           float* y, Workspace& workspace) const override {
    if (scale) failure("no norm layer follows a linear one");
    if (backward_) {
      run_backward(x, images, epilogue, y, workspace);
    } else {
      run_forward(x, images, epilogue, y, workspace);
    }
  }
  std::string method() const override { return "linear"; }
  std::int64_t bytes() const override { return 0; }

 private:
  void run_forward(const float* x, std::int64_t images, const Epilogue& epilogue, float* y,
                   Workspace& workspace) const;
  void run_backward(const float* gradient, std::int64_t images, const Epilogue& epilogue, float* to,
                    Workspace& workspace) const;
  const float* weights() const { return weight_.const_data_ptr<float>(); }

  std::int64_t in_, out_;
  bool backward_;
  at::Tensor weight_;
};

/// The part of an epilogue that speaks of the channels from `first` on of an image.
Epilogue part_of(const Epilogue& e, std::int64_t first, std::int64_t offset) {
  Epilogue part = e.at(offset + first);
  if (part.scale) part.scale += first;
  if (part.bias) part.bias += first;
  return part;
}

/// y^T = W x^T: the weight's rows are the product's, the images its columns.
void Linear::run_forward(const float* x, std::int64_t images, const Epilogue& epilogue, float* y,
                         Workspace& workspace) const {
  const std::int64_t columns = padded(images), panels = columns / kPanel;
  float* transposed = workspace.shared(in_ * columns);  // panels of kPanel images
  for_each_item(panels, [&](std::int64_t panel, int) {
    float* to = transposed + panel * in_ * kPanel;
    for (std::int64_t j = 0; j < kPanel; ++j) {
      const std::int64_t image = panel * kPanel + j;
      for (std::int64_t k = 0; k < in_; ++k) {
        to[k * kPanel + j] = image < images ? x[image * in_ + k] : 0.0f;
      }
    }
  });
  workspace.reserve_own(kRows * (columns + images));
  for_each_item((out_ + kRows - 1) / kRows, [&](std::int64_t item, int thread) {
    const std::int64_t first = item * kRows, rows = std::min(kRows, out_ - first);
    float* sums = workspace.own(thread);
    float* turned = sums + kRows * columns;
    multiply(rows, in_, weights() + first * in_, in_, Panels::packed(transposed, in_), panels, sums,
             columns);
    for (std::int64_t n = 0; n < images; ++n) {
      float* row = turned + n * rows;
      for (std::int64_t r = 0; r < rows; ++r) row[r] = sums[r * columns + n];
      finish(row, 1, rows, part_of(epilogue, first, n * out_), y + n * out_ + first);
    }
  });
}

/// dx = g W: the weight's columns are the product's, a few rows at a time.
void Linear::run_backward(const float* gradient, std::int64_t images, const Epilogue& epilogue,
                          float* to, Workspace& workspace) const {
  const std::int64_t group = kColumnPanels * kPanel;
  workspace.reserve_own(images * group);
  for_each_item((in_ + group - 1) / group, [&](std::int64_t item, int thread) {
    const std::int64_t first = item * group, columns = std::min(group, in_ - first);
    float* sums = workspace.own(thread);
    for (std::int64_t k = 0; k < out_; k += kDepth) {
      const Panels part{weights() + k * in_ + first, in_, kPanel};
      multiply(images, std::min(kDepth, out_ - k), gradient + k, out_, part, columns / kPanel, sums,
               columns, /*add=*/k > 0);
    }
    for (std::int64_t n = 0; n < images; ++n) {
      finish(sums + n * columns, 1, columns, part_of(epilogue, first, n * in_),
             to + n * in_ + first);
    }
  });
}

}  // namespace

std::unique_ptr<Product> make_linear(const ConvolutionShape& shape, Direction direction) {
  return std::make_unique<Linear>(shape, direction);
}

}  // namespace cmat::nn::frozen
