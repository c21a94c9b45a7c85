// The layers between the products. One thread each; layouts as in kernels.h.
#pragma once

#include <cstdint>

#include "cmat/nn/frozen/direct_kernels.h"
#include "cmat/nn/frozen/kernels.h"

namespace cmat::nn::frozen {

/// y = epilogue(x) of `pixels` pixels of `stride` floats; x counts as the sum.
void finish(const float* x, std::int64_t pixels, std::int64_t stride, const Epilogue& epilogue,
            float* y);

struct Window {
  std::int64_t kernel = 1, stride = 1, padding = 0;
};

/// Largest value of each window of one image, and which it was (the first one, counted row by row;
/// as floats, so that they lie in the lanes of the values).
void max_pool(const Side& in, const Side& out, const Window& window, const float* x, float* y,
              float* which);
/// Each value's gradient goes to the input that it came from.
void max_pool_gradient(const Side& in, const Side& out, const Window& window, const float* gradient,
                       const float* which, const Epilogue& epilogue, float* to);

/// Average pooling of one image to any size: output i of a side averages the inputs from
/// floor(i in / out) to ceil((i + 1) in / out).
void average_pool(const Side& in, const Side& out, const float* x, float* y);
void average_pool_gradient(const Side& in, const Side& out, const float* gradient,
                           const Epilogue& epilogue, float* to);

}  // namespace cmat::nn::frozen
