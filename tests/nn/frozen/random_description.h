// Random networks, whatever makes sense of layers in a row and around each other.
#pragma once

#include <random>

#include "cmat/core/error.h"
#include "cmat/nn/description.h"

namespace cmat::test {

class RandomDescription {
 public:
  explicit RandomDescription(unsigned seed) : generator_(seed) {}

  nn::Description make() {
    d_ = {};
    shapes_.clear();
    d_.architecture = "random";
    d_.channels = pick({1, 2, 3, 3, 5, 16, 19});
    d_.height = number(1, 13);
    d_.image_width = number(1, 13);
    shape_ = {d_.channels, d_.height, d_.image_width, false};
    if (chance(0.7)) {
      for (std::int64_t c = 0; c < d_.channels; ++c) {
        d_.mean.push_back(0.1 + 0.05 * static_cast<double>(c));
        d_.std.push_back(0.2 + 0.03 * static_cast<double>(c));
      }
      append({.kind = nn::LayerKind::normalize, .name = "normalize"});
    }
    for (int blocks = number(1, 5); blocks > 0; --blocks) block();
    if (chance(0.5)) {
      append({.kind = nn::LayerKind::global_avg_pool});
    } else {
      if (chance(0.5)) append({.kind = nn::LayerKind::adaptive_avg_pool, .kernel = number(1, 4)});
      append({.kind = nn::LayerKind::flatten});
    }
    if (chance(0.4)) {
      linear(number(1, 40));
      if (chance(0.8)) append({.kind = nn::LayerKind::relu});
      if (chance(0.5)) append({.kind = nn::LayerKind::dropout, .rate = 0.5});
    }
    linear(number(1, 7));
    return d_;
  }

 private:
  int number(int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(generator_);
  }
  int pick(const std::vector<int>& of) {
    return of[static_cast<std::size_t>(number(0, static_cast<int>(of.size()) - 1))];
  }
  bool chance(double p) { return std::uniform_real_distribution<double>()(generator_) < p; }
  int top() const { return static_cast<int>(d_.layers.size()); }
  std::string name(const char* kind) { return text(kind, d_.layers.size()); }

  void append(nn::Layer layer, int from = -1) {
    if (layer.inputs.empty()) layer.inputs = {from < 0 ? top() : from};
    std::vector<nn::ValueShape> inputs;
    for (int v : layer.inputs) inputs.push_back(shapes_at(v));
    shape_ = nn::output_shape(layer, inputs);
    shapes_.push_back(shape_);
    d_.layers.push_back(std::move(layer));
  }
  nn::ValueShape shapes_at(int v) const {
    if (v == 0) return {d_.channels, d_.height, d_.image_width, false};
    return shapes_[static_cast<std::size_t>(v) - 1];
  }

  void linear(int out) {
    append({.kind = nn::LayerKind::linear,
            .name = name("fc"),
            .in = shape_.channels,
            .out = out,
            .bias = true});
  }
  void conv(std::int64_t out, int kernel, int stride, int padding, int from = -1) {
    const nn::ValueShape in = from < 0 ? shape_ : shapes_at(from);
    append({.kind = nn::LayerKind::conv,
            .name = name("conv"),
            .in = in.channels,
            .out = out,
            .kernel = kernel,
            .stride = stride,
            .padding = padding,
            .bias = chance(0.3)},
           from);
  }
  void norm() {
    append({.kind = nn::LayerKind::batch_norm,
            .name = name("bn"),
            .in = shape_.channels,
            .out = shape_.channels});
  }
  void maybe_norm_relu() {
    if (chance(0.7)) norm();
    if (chance(0.7)) append({.kind = nn::LayerKind::relu});
  }

  void block() {
    const int kind = number(0, 4), input = top();
    const int out = pick({1, 3, 6, 8, 12, 16, 24, 32, 40});
    if (kind == 0) {  // any convolution that fits
      const int kernel = pick({1, 2, 3, 3, 5}), stride = number(1, 3),
                padding = number(0, kernel / 2);
      const auto least = std::min(shape_.height, shape_.width);
      if (least + 2 * padding >= kernel) conv(out, kernel, stride, padding);
    } else if (kind == 1) {
      conv(out, 3, 1, 1);
    } else if (kind == 2) {  // around its input
      const auto channels = shape_.channels;
      conv(channels, 3, 1, 1);
      if (chance(0.7)) norm();
      if (chance(0.5)) append({.kind = nn::LayerKind::relu});
      const int a = top();
      append({.kind = nn::LayerKind::add,
              .inputs = chance(0.5) ? std::vector<int>{a, input} : std::vector<int>{input, a}});
    } else if (kind == 3) {  // a projection, and sometimes a third branch
      conv(out, 3, 1, 1);
      maybe_norm_relu();
      const int a = top();
      conv(out, 1, 1, 0, input);
      if (chance(0.7)) norm();
      const int b = top();
      append({.kind = nn::LayerKind::add, .inputs = {a, b}});
      if (chance(0.3)) append({.kind = nn::LayerKind::add, .inputs = {top(), a}});
      if (chance(0.2)) append({.kind = nn::LayerKind::add, .inputs = {top(), top()}});
    } else if (shape_.height > 1 && shape_.width > 1) {
      const int kernel = number(2, 3), padding = number(0, 1);
      if (std::min(shape_.height, shape_.width) + 2 * padding >= kernel) {
        append({.kind = nn::LayerKind::max_pool,
                .kernel = kernel,
                .stride = number(1, 3),
                .padding = padding});
      }
    }
    maybe_norm_relu();
  }

  std::mt19937 generator_;
  nn::Description d_;
  nn::ValueShape shape_;
  std::vector<nn::ValueShape> shapes_;
};

}  // namespace cmat::test
