#include "cmat/nn/frozen/frozen_network.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "cmat/core/error.h"
#include "cmat/nn/frozen/chunks.h"
#include "cmat/nn/frozen/elementwise.h"
#include "cmat/nn/frozen/image_layout.h"
#include "cmat/nn/frozen/parallel.h"

namespace cmat::nn::frozen {
namespace {

constexpr double kNormEps = 1e-5;  ///< of every batch norm (LayerKind::batch_norm)

using Tensors = std::map<std::string, at::Tensor>;

Tensors tensors_of(const Network& network) {
  Tensors result;
  for (const NamedTensor& t : network.parameters()) result[t.name] = t.tensor.detach();
  for (const NamedTensor& t : network.buffers()) result[t.name] = t.tensor.detach();
  return result;
}

const at::Tensor& find(const Tensors& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) failure("the network has no tensor ", name);
  return found->second;
}

std::vector<double> doubles(const Tensors& tensors, const std::string& name) {
  const at::Tensor t = find(tensors, name).to(at::kDouble).contiguous();
  return {t.const_data_ptr<double>(), t.const_data_ptr<double>() + t.numel()};
}

/// y = x scale + bias of a batch norm, in float64, after a layer with this bias (or none).
void fold_norm(const Tensors& tensors, const std::string& norm, const std::vector<double>& before,
               float* scale, float* bias) {
  const std::vector<double> weight = doubles(tensors, norm + ".weight");
  const std::vector<double> shift = doubles(tensors, norm + ".bias");
  const std::vector<double> mean = doubles(tensors, norm + ".running_mean");
  const std::vector<double> variance = doubles(tensors, norm + ".running_var");
  for (std::size_t c = 0; c < weight.size(); ++c) {
    const double factor = weight[c] / std::sqrt(variance[c] + kNormEps);
    const double offset = before.empty() ? 0 : before[c];
    scale[c] = static_cast<float>(factor);
    bias[c] = static_cast<float>(shift[c] + (offset - mean[c]) * factor);
  }
}

/// One value a channel, and 0 in between.
float* zeros(Buffer& buffer, std::int64_t channels) {
  float* values = buffer.reserve(padded(channels));
  std::fill(values, values + padded(channels), 0.0f);
  return values;
}

ConvolutionShape shape_of(const Plan& plan, const Step& step) {
  const auto side = [&](int v) { return plan.values[static_cast<std::size_t>(v)].side; };
  ConvolutionShape shape{side(step.from), side(step.to)};
  if (step.layer.kind == LayerKind::conv) {
    shape.kernel = step.layer.kernel;
    shape.stride = step.layer.stride;
    shape.padding = step.layer.padding;
  }
  return shape;
}

}  // namespace

bool is_supported() {
  const std::string_view set = instruction_set();
  return set.starts_with("AVX") || set.starts_with("NEON");
}

FrozenNetwork::FrozenNetwork(const Description& description)
    : description_(description), plan_(make_plan(description)) {
  states_.resize(plan_.steps.size());
  data_.resize(plan_.values.size());
  masks_.resize(plan_.values.size());
  image_scale_.assign(static_cast<std::size_t>(description.channels), 1.0f);
  image_shift_.assign(static_cast<std::size_t>(description.channels), 0.0f);
  make_products();
}

void FrozenNetwork::make_products() {
  for (std::size_t s = 0; s < plan_.steps.size(); ++s) {
    const Step& step = plan_.steps[s];
    if (step.kind != Step::Kind::product) continue;
    const ConvolutionShape shape = shape_of(plan_, step);
    states_[s].forward = make_product(shape, Direction::forward);
    states_[s].backward = make_product(shape, Direction::backward);
    weight_bytes_ += states_[s].forward->bytes() + states_[s].backward->bytes();
    if (!pays_in_training(shape)) continue;
    training_products_[step.layer.name] = {states_[s].forward.get(), states_[s].backward.get(),
                                           shape, training_workspace_.get()};
  }
}

std::vector<FrozenNetwork::ProductInfo> FrozenNetwork::products() const {
  std::vector<ProductInfo> result;
  for (std::size_t s = 0; s < states_.size(); ++s) {
    const StepState& state = states_[s];
    const Step& step = plan_.steps[s];
    if (!state.forward) continue;
    result.push_back({step.layer.name, state.forward->method(), state.backward->method(),
                      shape_of(plan_, step)});
  }
  return result;
}

const LayerProducts* FrozenNetwork::training_products(const std::string& layer) const {
  const auto found = training_products_.find(layer);
  return found == training_products_.end() ? nullptr : &found->second;
}

/// A head of another size changes its own product and the shapes around it.
void FrozenNetwork::set_classes(std::int64_t classes) {
  if (description_.layers.back().out == classes) return;
  description_.layers.back().out = classes;
  *this = FrozenNetwork(description_);
}

void FrozenNetwork::load(const Network& network) {
  const Tensors tensors = tensors_of(network);
  set_classes(find(tensors, description_.head().name + ".weight").size(0));
  for (std::size_t s = 0; s < plan_.steps.size(); ++s) {
    const Step& step = plan_.steps[s];
    StepState& state = states_[s];
    std::vector<double> before;
    if (step.kind == Step::Kind::product) {
      const at::Tensor& weight = find(tensors, step.layer.name + ".weight");
      state.forward->load(weight);
      state.backward->load(weight);
      if (step.layer.bias) before = doubles(tensors, step.layer.name + ".bias");
    }
    if (step.normalizes) {
      const std::vector<double> mean = doubles(tensors, step.layer.name + ".mean");
      const std::vector<double> std = doubles(tensors, step.layer.name + ".std");
      if (step.kind == Step::Kind::image) {
        for (std::size_t c = 0; c < mean.size(); ++c) {
          image_scale_[c] = static_cast<float>(1 / std[c]);
          image_shift_[c] = static_cast<float>(-mean[c] / std[c]);
        }
        continue;
      }
      float* scale = zeros(state.scale, std::ssize(mean));
      float* bias = zeros(state.bias, std::ssize(mean));
      for (std::size_t c = 0; c < mean.size(); ++c) {
        scale[c] = static_cast<float>(1 / std[c]);
        bias[c] = static_cast<float>(-mean[c] / std[c]);
      }
    } else if (!step.norm.empty()) {
      const std::int64_t channels = value(step.to).side.channels;
      fold_norm(tensors, step.norm, before, zeros(state.scale, channels),
                zeros(state.bias, channels));
    } else if (!before.empty()) {
      float* bias = zeros(state.bias, value(step.to).side.channels);
      for (double b : before) *bias++ = static_cast<float>(b);
    }
  }
}

at::Tensor FrozenNetwork::logits(const at::Tensor& images) {
  run(images);
  return rows(plan_.logits);
}

at::Tensor FrozenNetwork::features(const at::Tensor& images) {
  run(images);
  return rows(plan_.features);
}

/// A copy of a flat value.
at::Tensor FrozenNetwork::rows(int v) const {
  const Side& side = value(v).side;
  float* memory = data_[static_cast<std::size_t>(v)].data();
  return at::from_blob(memory, {images_, side.channels}, {side.stride, 1}, at::kFloat).clone();
}

bool FrozenNetwork::takes(const at::Tensor& images) const {
  const Description& d = description_;
  return images.dim() == 4 && images.size(1) == d.channels && images.size(2) == d.height &&
         images.size(3) == d.image_width && images.scalar_type() == at::kFloat &&
         images.device().is_cpu();
}

void FrozenNetwork::run(const at::Tensor& images) {
  if (!takes(images)) {
    usage_error("this frozen network takes float32 images of the shape [n, ", description_.channels,
                ", ", description_.height, ", ", description_.image_width, "], not ",
                images.sizes());
  }
  images_ = images.size(0);
  like_ = images.detach();
  for (int v : {plan_.logits, plan_.features}) {
    data_[static_cast<std::size_t>(v)].reserve(images_ * value(v).side.floats());
  }
  for (std::size_t v = 0; v < masks_.size(); ++v) {
    const std::int64_t bytes = images_ * plan_.values[v].side.floats() / 8 + kBytesBehind;
    if (plan_.values[v].mask) masks_[v].reserve(bytes / std::int64_t{sizeof(float)} + 1);
  }
  for (std::size_t s = 0; s < states_.size(); ++s) {
    if (plan_.steps[s].kind != Step::Kind::max_pool) continue;
    states_[s].which.reserve(images_ * value(plan_.steps[s].to).side.floats());
  }
  for_each_chunk([&](const Chunk& chunk) {
    for (std::size_t s = 0; s < states_.size(); ++s) forward(plan_.steps[s], states_[s], chunk);
  });
}

void FrozenNetwork::read(const Step& step, const Chunk& chunk) {
  const Side& side = value(step.to).side;
  const at::IntArrayRef strides = like_.strides();
  const PlaneRow row{side.width, side.channels, strides[1], strides[3]};
  const float* x = like_.const_data_ptr<float>() + chunk.first * strides[0];
  float* y = data(step.to, chunk);
  for_each_item(chunk.count, [&](std::int64_t n, int) {
    float* to = y + n * side.floats();
    if (side.stride > side.channels) std::fill(to, to + side.floats(), 0.0f);
    for (std::int64_t i = 0; i < side.height; ++i) {
      to_pixels(row, x + n * strides[0] + i * strides[2], image_scale_.data(), image_shift_.data(),
                side.stride, to + i * side.width * side.stride);
    }
  });
}

void FrozenNetwork::forward(const Step& step, StepState& state, const Chunk& chunk) {
  if (step.kind == Step::Kind::image) return read(step, chunk);
  if (step.kind == Step::Kind::flatten) return flatten(step, chunk);
  const Side& in = value(step.from).side;
  const Side& out = value(step.to).side;
  const float* x = data(step.from, chunk);
  float* y = data(step.to, chunk);
  const Epilogue epilogue{.scale = state.scale.data(),
                          .bias = state.bias.data(),
                          .add = step.add < 0 ? nullptr : data(step.add, chunk),
                          .relu = step.relu,
                          .positive = value(step.to).mask ? mask(step.to, chunk) : nullptr};
  if (step.kind == Step::Kind::product) {
    return state.forward->run(x, chunk.count, nullptr, epilogue, y, chunk.worker.workspace);
  }
  for_each_item(chunk.count, [&](std::int64_t n, int) {
    const float* from = x + n * in.floats();
    float* to = y + n * out.floats();
    if (step.kind == Step::Kind::max_pool) {
      const Window window{step.layer.kernel, step.layer.stride, step.layer.padding};
      max_pool(in, out, window, from, to, state.which.data() + (chunk.first + n) * out.floats());
    } else if (step.kind == Step::Kind::average_pool) {
      average_pool(in, out, from, to);
    } else {
      finish(from, out.pixels(), out.stride, epilogue.at(n * out.floats()), to);
    }
  });
}

/// From channels last to torch's order, channel by channel.
void FrozenNetwork::flatten(const Step& step, const Chunk& chunk) {
  const Side& in = value(step.from).side;
  const Side& out = value(step.to).side;
  for_each_item(chunk.count, [&](std::int64_t n, int) {
    const float* from = data(step.from, chunk) + n * in.floats();
    float* to = data(step.to, chunk) + n * out.floats();
    std::fill(to + out.channels, to + out.stride, 0.0f);
    for (std::int64_t c = 0; c < in.channels; ++c) {
      for (std::int64_t p = 0; p < in.pixels(); ++p) *to++ = from[p * in.stride + c];
    }
  });
}

}  // namespace cmat::nn::frozen
