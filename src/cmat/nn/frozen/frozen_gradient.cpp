// The way back of a frozen network.
#include <ATen/Functions.h>

#include <algorithm>

#include "cmat/core/error.h"
#include "cmat/nn/frozen/elementwise.h"
#include "cmat/nn/frozen/frozen_network.h"
#include "cmat/nn/frozen/parallel.h"

namespace cmat::nn::frozen {

at::Tensor FrozenNetwork::input_gradient(const at::Tensor& logits_gradient) {
  const Side& logits = value(plan_.logits).side;
  if (logits_gradient.dim() != 2 || logits_gradient.size(0) != images_ ||
      logits_gradient.size(1) != logits.channels) {
    failure("the gradient of ", images_, " x ", logits.channels, " logits has the shape ",
            logits_gradient.sizes());
  }
  slots_.resize(plan_.slots.size());
  for (std::size_t s = 0; s < slots_.size(); ++s) slots_[s].reserve(images_ * plan_.slots[s]);
  float* to = slot(plan_.logits_gradient);
  std::fill(to, to + images_ * logits.stride, 0.0f);
  at::from_blob(to, {images_, logits.channels}, {logits.stride, 1}, at::kFloat)
      .copy_(logits_gradient);
  for (const BackStep& move : plan_.back) {
    if (move.kind == BackStep::Kind::image) return to_images(move);
    back(move);
  }
  return at::zeros_like(like_);  // logits that do not depend on the image
}

void FrozenNetwork::back(const BackStep& move) {
  const Epilogue epilogue{.add = slot(move.add), .mask = move.mask < 0 ? nullptr : data(move.mask)};
  if (move.kind == BackStep::Kind::work) return work_back(move, epilogue);
  const Side& side = value(move.value).side;
  for_each_item(images_, [&](std::int64_t n, int) {
    const std::int64_t at = n * side.floats();
    finish(slot(move.gradient) + at, side.pixels(), side.stride, epilogue.at(at),
           slot(move.to) + at);
  });
}

void FrozenNetwork::work_back(const BackStep& move, const Epilogue& epilogue) {
  const Step& step = plan_.steps[static_cast<std::size_t>(move.step)];
  const StepState& state = states_[static_cast<std::size_t>(move.step)];
  const float* scale = state.scale.data();
  if (step.kind == Step::Kind::product) {
    return state.backward->run(slot(move.gradient), images_, scale, epilogue, slot(move.to),
                               workspace_);
  }
  if (step.kind == Step::Kind::flatten) return unflatten(move, epilogue);
  const Side& in = value(step.from).side;
  const Side& out = value(step.to).side;
  for_each_item(images_, [&](std::int64_t n, int) {
    const float* gradient = slot(move.gradient) + n * out.floats();
    const Epilogue here = epilogue.at(n * in.floats());
    float* to = slot(move.to) + n * in.floats();
    if (step.kind == Step::Kind::max_pool) {
      const Window window{step.layer.kernel, step.layer.stride, step.layer.padding};
      max_pool_gradient(in, out, window, gradient, state.which.data() + n * out.floats(), here, to);
    } else if (step.kind == Step::Kind::average_pool) {
      average_pool_gradient(in, out, gradient, here, to);
    } else {
      finish(gradient, in.pixels(), in.stride, {scale, nullptr, here.add, here.mask, false}, to);
    }
  });
}

void FrozenNetwork::unflatten(const BackStep& move, const Epilogue& epilogue) {
  const Step& step = plan_.steps[static_cast<std::size_t>(move.step)];
  const Side& in = value(step.from).side;
  const Side& out = value(step.to).side;
  // The epilogue may add what lies where the result goes, so the copy has a place of its own.
  float* copies = workspace_.shared(images_ * in.floats());
  for_each_item(images_, [&](std::int64_t n, int) {
    const float* from = slot(move.gradient) + n * out.floats();
    float* copy = copies + n * in.floats();
    std::fill(copy, copy + in.floats(), 0.0f);
    for (std::int64_t c = 0; c < in.channels; ++c) {
      for (std::int64_t p = 0; p < in.pixels(); ++p) copy[p * in.stride + c] = *from++;
    }
    finish(copy, in.pixels(), in.stride, epilogue.at(n * in.floats()),
           slot(move.to) + n * in.floats());
  });
}

at::Tensor FrozenNetwork::to_images(const BackStep& move) const {
  const Step& step = plan_.steps[static_cast<std::size_t>(move.step)];
  const Side& side = value(move.value).side;
  const float* from = slots_[static_cast<std::size_t>(move.gradient)].data();
  at::Tensor result = at::empty_like(like_);
  float* to = result.data_ptr<float>();
  const std::vector<std::int64_t> strides = result.strides().vec();
  for_each_item(images_, [&](std::int64_t n, int) {
    for (std::int64_t c = 0; c < side.channels; ++c) {
      const float scale = step.normalizes ? image_scale_[static_cast<std::size_t>(c)] : 1.0f;
      float* channel = to + n * strides[0] + c * strides[1];
      for (std::int64_t i = 0; i < side.height; ++i) {
        const float* gradient = from + n * side.floats() + i * side.width * side.stride + c;
        float* row = channel + i * strides[2];
        for (std::int64_t j = 0; j < side.width; ++j) {
          row[j * strides[3]] = gradient[j * side.stride] * scale;
        }
      }
    }
  });
  return result;
}

std::vector<FrozenNetwork::ProductInfo> FrozenNetwork::products() const {
  std::vector<ProductInfo> result;
  for (std::size_t s = 0; s < states_.size(); ++s) {
    const Step& step = plan_.steps[s];
    if (!states_[s].forward) continue;
    ConvolutionShape shape{value(step.from).side, value(step.to).side};
    shape.kernel = step.layer.kind == LayerKind::conv ? step.layer.kernel : 1;
    shape.stride = step.layer.stride;
    shape.padding = step.layer.padding;
    result.push_back(
        {step.layer.name, states_[s].forward->method(), states_[s].backward->method(), shape});
  }
  return result;
}

std::int64_t FrozenNetwork::weight_bytes() const {
  std::int64_t bytes = 0;
  for (const StepState& state : states_) {
    if (state.forward) bytes += state.forward->bytes() + state.backward->bytes();
  }
  return bytes;
}

}  // namespace cmat::nn::frozen
