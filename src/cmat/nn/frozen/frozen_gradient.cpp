// The way back of a frozen network.
#include <ATen/Functions.h>

#include <algorithm>

#include "cmat/core/error.h"
#include "cmat/nn/frozen/chunks.h"
#include "cmat/nn/frozen/elementwise.h"
#include "cmat/nn/frozen/frozen_network.h"
#include "cmat/nn/frozen/image_layout.h"
#include "cmat/nn/frozen/parallel.h"

namespace cmat::nn::frozen {

at::Tensor FrozenNetwork::input_gradient(const at::Tensor& logits_gradient) {
  const Side& logits = value(plan_.logits).side;
  if (logits_gradient.dim() != 2 || logits_gradient.size(0) != images_ ||
      logits_gradient.size(1) != logits.channels) {
    failure("the gradient of ", images_, " x ", logits.channels, " logits has the shape ",
            logits_gradient.sizes());
  }
  const at::Tensor slope = logits_gradient.contiguous();
  at::Tensor result = at::empty_like(like_);
  if (plan_.back.empty() || plan_.back.back().kind != BackStep::Kind::image) {
    return result.zero_();  // logits that do not depend on the image
  }
  for_each_chunk([&](const Chunk& chunk) {
    float* to = chunk.worker.slot(plan_.logits_gradient);
    std::fill(to, to + chunk.count * logits.stride, 0.0f);
    const float* from = slope.const_data_ptr<float>() + chunk.first * logits.channels;
    for (std::int64_t n = 0; n < chunk.count; ++n) {
      std::copy_n(from + n * logits.channels, logits.channels, to + n * logits.stride);
    }
    for (const BackStep& move : plan_.back) {
      if (move.kind == BackStep::Kind::image) {
        to_images(move, chunk, result);
      } else {
        back(move, chunk);
      }
    }
  });
  return result;
}

void FrozenNetwork::back(const BackStep& move, const Chunk& chunk) {
  Worker& worker = chunk.worker;
  const Epilogue epilogue{.add = worker.slot(move.add),
                          .mask = move.mask < 0 ? nullptr : mask(move.mask, chunk)};
  if (move.kind == BackStep::Kind::work) return work_back(move, epilogue, chunk);
  const Side& side = value(move.value).side;
  for_each_item(chunk.count, [&](std::int64_t n, int) {
    const std::int64_t at = n * side.floats();
    finish(worker.slot(move.gradient) + at, side.pixels(), side.stride, epilogue.at(at),
           worker.slot(move.to) + at);
  });
}

void FrozenNetwork::work_back(const BackStep& move, const Epilogue& epilogue, const Chunk& chunk) {
  const Step& step = plan_.steps[static_cast<std::size_t>(move.step)];
  const StepState& state = states_[static_cast<std::size_t>(move.step)];
  const float* scale = state.scale.data();
  float* const slope = chunk.worker.slot(move.gradient);
  float* const result = chunk.worker.slot(move.to);
  if (step.kind == Step::Kind::product) {
    return state.backward->run(slope, chunk.count, scale, epilogue, result, chunk.worker.workspace);
  }
  if (step.kind == Step::Kind::flatten) return unflatten(move, epilogue, chunk);
  const Side& in = value(step.from).side;
  const Side& out = value(step.to).side;
  for_each_item(chunk.count, [&](std::int64_t n, int) {
    const float* gradient = slope + n * out.floats();
    const Epilogue here = epilogue.at(n * in.floats());
    float* to = result + n * in.floats();
    if (step.kind == Step::Kind::max_pool) {
      const Window window{step.layer.kernel, step.layer.stride, step.layer.padding};
      const float* which = state.which.data() + (chunk.first + n) * out.floats();
      max_pool_gradient(in, out, window, gradient, which, here, to);
    } else if (step.kind == Step::Kind::average_pool) {
      average_pool_gradient(in, out, gradient, here, to);
    } else {
      finish(gradient, in.pixels(), in.stride, {.scale = scale, .add = here.add, .mask = here.mask},
             to);
    }
  });
}

void FrozenNetwork::unflatten(const BackStep& move, const Epilogue& epilogue, const Chunk& chunk) {
  const Step& step = plan_.steps[static_cast<std::size_t>(move.step)];
  const Side& in = value(step.from).side;
  const Side& out = value(step.to).side;
  // The epilogue may add what lies where the result goes, so the copy has a place of its own.
  float* copies = chunk.worker.workspace.shared(chunk.count * in.floats());
  for_each_item(chunk.count, [&](std::int64_t n, int) {
    const float* from = chunk.worker.slot(move.gradient) + n * out.floats();
    float* copy = copies + n * in.floats();
    std::fill(copy, copy + in.floats(), 0.0f);
    for (std::int64_t c = 0; c < in.channels; ++c) {
      for (std::int64_t p = 0; p < in.pixels(); ++p) copy[p * in.stride + c] = *from++;
    }
    finish(copy, in.pixels(), in.stride, epilogue.at(n * in.floats()),
           chunk.worker.slot(move.to) + n * in.floats());
  });
}

void FrozenNetwork::to_images(const BackStep& move, const Chunk& chunk, at::Tensor& result) const {
  const Side& side = value(move.value).side;
  const at::IntArrayRef strides = result.strides();
  const PlaneRow row{side.width, side.channels, strides[1], strides[3]};
  const float* from = chunk.worker.slot(move.gradient);
  float* to = result.data_ptr<float>() + chunk.first * strides[0];
  for_each_item(chunk.count, [&](std::int64_t n, int) {
    for (std::int64_t i = 0; i < side.height; ++i) {
      to_planes(row, from + n * side.floats() + i * side.width * side.stride, side.stride,
                image_scale_.data(), to + n * strides[0] + i * strides[2]);
    }
  });
}

}  // namespace cmat::nn::frozen
