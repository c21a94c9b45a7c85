#include "cmat/nn/frozen/image_layout.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cmat/nn/frozen/image_layout.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h

#include <hwy/highway.h>

#include "cmat/nn/frozen/epilogue-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cmat::nn::frozen::HWY_NAMESPACE {

/// Pixels that vectors take: all but the last few, of three channels side by side.
HWY_INLINE std::int64_t whole_vectors(const PlaneRow& row, std::int64_t stride) {
  const bool together = row.channels == 3 && stride == 3 && row.across == 1;
  return together ? row.width / kLanes * kLanes : 0;
}

void ToPixels(const PlaneRow& row, const float* planes, const float* scale, const float* shift,
              std::int64_t stride, float* pixels) {
  const Floats f;
  const std::int64_t whole = whole_vectors(row, stride);
  for (std::int64_t j = 0; j < whole; j += kLanes) {
    const auto channel = [&](std::int64_t c) HWY_ATTR {
      const Vector x = hn::LoadU(f, planes + c * row.plane + j);
      return hn::Add(hn::Mul(x, hn::Set(f, scale[c])), hn::Set(f, shift[c]));
    };
    hn::StoreInterleaved3(channel(0), channel(1), channel(2), f, pixels + j * 3);
  }
  for (std::int64_t c = 0; c < row.channels; ++c) {
    for (std::int64_t j = whole; j < row.width; ++j) {
      pixels[j * stride + c] = planes[c * row.plane + j * row.across] * scale[c] + shift[c];
    }
  }
}

void ToPlanes(const PlaneRow& row, const float* pixels, std::int64_t stride, const float* scale,
              float* planes) {
  const Floats f;
  const std::int64_t whole = whole_vectors(row, stride);
  for (std::int64_t j = 0; j < whole; j += kLanes) {
    Vector x[3];
    hn::LoadInterleaved3(f, pixels + j * 3, x[0], x[1], x[2]);
    for (std::int64_t c = 0; c < 3; ++c) {
      hn::StoreU(hn::Mul(x[c], hn::Set(f, scale[c])), f, planes + c * row.plane + j);
    }
  }
  for (std::int64_t c = 0; c < row.channels; ++c) {
    for (std::int64_t j = whole; j < row.width; ++j) {
      planes[c * row.plane + j * row.across] = pixels[j * stride + c] * scale[c];
    }
  }
}

}  // namespace cmat::nn::frozen::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cmat::nn::frozen {

HWY_EXPORT(ToPixels);
HWY_EXPORT(ToPlanes);

void to_pixels(const PlaneRow& row, const float* planes, const float* scale, const float* shift,
               std::int64_t stride, float* pixels) {
  HWY_DYNAMIC_DISPATCH(ToPixels)(row, planes, scale, shift, stride, pixels);
}

void to_planes(const PlaneRow& row, const float* pixels, std::int64_t stride, const float* scale,
               float* planes) {
  HWY_DYNAMIC_DISPATCH(ToPlanes)(row, pixels, stride, scale, planes);
}

}  // namespace cmat::nn::frozen
#endif
