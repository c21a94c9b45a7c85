#include "cmat/nn/frozen/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cmat/nn/frozen/elementwise.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h

#include <hwy/highway.h>

#include "cmat/nn/frozen/epilogue-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cmat::nn::frozen::HWY_NAMESPACE {

void Finish(const float* x, std::int64_t pixels, std::int64_t stride, const Epilogue& epilogue,
            float* y) {
  const Floats f;
  for (std::int64_t pixel = 0; pixel < pixels * stride; pixel += stride) {
    for (std::int64_t c = 0; c < stride; c += kLanes) {
      const Finisher finisher(epilogue, c);
      hn::Store(finisher(hn::Load(f, x + pixel + c), pixel + c), f, y + pixel + c);
    }
  }
}

void MaxPool(const Side& in, const Side& out, const Window& window, const float* x, float* y,
             float* which) {
  const Floats f;
  for (std::int64_t pixel = 0; pixel < out.pixels(); ++pixel) {
    const std::int64_t top = pixel / out.width * window.stride - window.padding;
    const std::int64_t left = pixel % out.width * window.stride - window.padding;
    for (std::int64_t c = 0; c < out.stride; c += kLanes) {
      Vector best = hn::Zero(f), index = hn::Set(f, -1.0f);
      for (std::int64_t k = 0; k < window.kernel * window.kernel; ++k) {
        const std::int64_t row = top + k / window.kernel, column = left + k % window.kernel;
        if (row < 0 || row >= in.height || column < 0 || column >= in.width) continue;
        const Vector value = hn::Load(f, x + (row * in.width + column) * in.stride + c);
        // A NaN beats all, as in torch, so that a broken network is seen to be one.
        const auto better =
            hn::Or(hn::Or(hn::Lt(index, hn::Zero(f)), hn::Gt(value, best)), hn::Ne(value, value));
        best = hn::IfThenElse(better, value, best);
        index = hn::IfThenElse(better, hn::Set(f, static_cast<float>(k)), index);
      }
      hn::Store(best, f, y + pixel * out.stride + c);
      hn::Store(index, f, which + pixel * out.stride + c);
    }
  }
}

void MaxPoolGradient(const Side& in, const Side& out, const Window& window, const float* gradient,
                     const float* which, const Epilogue& epilogue, float* to) {
  const Floats f;
  for (std::int64_t pixel = 0; pixel < in.pixels(); ++pixel) {
    const std::int64_t y = pixel / in.width + window.padding;
    const std::int64_t x = pixel % in.width + window.padding;
    // The windows that hold this pixel: those that begin at most kernel - 1 before it.
    const std::int64_t first_row = HWY_MAX(0, (y - window.kernel + window.stride) / window.stride);
    const std::int64_t first_column =
        HWY_MAX(0, (x - window.kernel + window.stride) / window.stride);
    const std::int64_t last_row = HWY_MIN(out.height - 1, y / window.stride);
    const std::int64_t last_column = HWY_MIN(out.width - 1, x / window.stride);
    for (std::int64_t c = 0; c < in.stride; c += kLanes) {
      Vector sum = hn::Zero(f);
      for (std::int64_t row = first_row; row <= last_row; ++row) {
        for (std::int64_t column = first_column; column <= last_column; ++column) {
          const std::int64_t k =
              (y - row * window.stride) * window.kernel + x - column * window.stride;
          const std::int64_t from = (row * out.width + column) * out.stride + c;
          const auto chosen = hn::Eq(hn::Load(f, which + from), hn::Set(f, static_cast<float>(k)));
          sum = hn::Add(sum, hn::IfThenElseZero(chosen, hn::Load(f, gradient + from)));
        }
      }
      const std::int64_t at = pixel * in.stride + c;
      hn::Store(Finisher(epilogue, c)(sum, at), f, to + at);
    }
  }
}

/// The inputs that output `i` of `out` averages along one side.
struct Range {
  Range(std::int64_t i, std::int64_t in, std::int64_t out)
      : begin(i * in / out), end(((i + 1) * in + out - 1) / out) {}
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};

void AveragePool(const Side& in, const Side& out, const float* x, float* y) {
  const Floats f;
  for (std::int64_t pixel = 0; pixel < out.pixels(); ++pixel) {
    const Range rows(pixel / out.width, in.height, out.height);
    const Range columns(pixel % out.width, in.width, out.width);
    const Vector share = hn::Set(f, 1.0f / static_cast<float>(rows.size() * columns.size()));
    for (std::int64_t c = 0; c < out.stride; c += kLanes) {
      Vector sum = hn::Zero(f);
      for (std::int64_t row = rows.begin; row < rows.end; ++row) {
        for (std::int64_t column = columns.begin; column < columns.end; ++column) {
          sum = hn::Add(sum, hn::Load(f, x + (row * in.width + column) * in.stride + c));
        }
      }
      hn::Store(hn::Mul(sum, share), f, y + pixel * out.stride + c);
    }
  }
}

void AveragePoolGradient(const Side& in, const Side& out, const float* gradient,
                         const Epilogue& epilogue, float* to) {
  const Floats f;
  for (std::int64_t pixel = 0; pixel < in.pixels(); ++pixel) {
    const std::int64_t y = pixel / in.width, x = pixel % in.width;
    for (std::int64_t c = 0; c < in.stride; c += kLanes) {
      Vector sum = hn::Zero(f);
      // The first range that ends behind this pixel, and on for as long as they begin before it.
      for (std::int64_t i = y * out.height / in.height; i < out.height; ++i) {
        const Range rows(i, in.height, out.height);
        if (rows.begin > y) break;
        for (std::int64_t j = x * out.width / in.width; j < out.width; ++j) {
          const Range columns(j, in.width, out.width);
          if (columns.begin > x) break;
          const float share = 1.0f / static_cast<float>(rows.size() * columns.size());
          sum = hn::MulAdd(hn::Set(f, share),
                           hn::Load(f, gradient + (i * out.width + j) * out.stride + c), sum);
        }
      }
      const std::int64_t at = pixel * in.stride + c;
      hn::Store(Finisher(epilogue, c)(sum, at), f, to + at);
    }
  }
}

}  // namespace cmat::nn::frozen::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cmat::nn::frozen {

HWY_EXPORT(Finish);
HWY_EXPORT(MaxPool);
HWY_EXPORT(MaxPoolGradient);
HWY_EXPORT(AveragePool);
HWY_EXPORT(AveragePoolGradient);

void finish(const float* x, std::int64_t pixels, std::int64_t stride, const Epilogue& epilogue,
            float* y) {
  HWY_DYNAMIC_DISPATCH(Finish)(x, pixels, stride, epilogue, y);
}

void max_pool(const Side& in, const Side& out, const Window& window, const float* x, float* y,
              float* which) {
  HWY_DYNAMIC_DISPATCH(MaxPool)(in, out, window, x, y, which);
}

void max_pool_gradient(const Side& in, const Side& out, const Window& window, const float* gradient,
                       const float* which, const Epilogue& epilogue, float* to) {
  HWY_DYNAMIC_DISPATCH(MaxPoolGradient)(in, out, window, gradient, which, epilogue, to);
}

void average_pool(const Side& in, const Side& out, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(AveragePool)(in, out, x, y);
}

void average_pool_gradient(const Side& in, const Side& out, const float* gradient,
                           const Epilogue& epilogue, float* to) {
  HWY_DYNAMIC_DISPATCH(AveragePoolGradient)(in, out, gradient, epilogue, to);
}

}  // namespace cmat::nn::frozen
#endif
