// The inner loops of the frozen network, compiled once for every instruction set and chosen when
// the program starts (Google Highway). One thread each; who shares work among threads is the
// caller.
//
// Activations are float32, [n, height, width, stride] with the channels last: `stride` is the
// number of channels rounded up to a multiple of kPanel, and the channels in between are exactly 0.
// Every output value is computed by the same operations in the same order whatever else is in the
// batch, so that an image's result depends neither on its batch nor on the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cmat::nn::frozen {

/// Output channels that are multiplied at once.
inline constexpr std::int64_t kPanel = 16;

inline constexpr std::int64_t padded(std::int64_t channels) {
  return (channels + kPanel - 1) / kPanel * kPanel;
}

/// What is done to a sum before it is stored: y = sum * scale + bias + add, then 0 where y < 0
/// (`relu`), then 0 where the mask has no bit. Absent parts are null. `scale` and `bias` have one
/// value a channel (padded); `add` has the layout of the output. So have the bits of `mask`, and of
/// `positive`, which are written: those of y > 0. Bit i is bit i % 8 of byte i / 8, and behind the
/// last byte of a mask lie kBytesBehind more that may be read.
struct Epilogue {
  const float* scale = nullptr;
  const float* bias = nullptr;
  const float* add = nullptr;
  const std::uint8_t* mask = nullptr;
  bool relu = false;
  std::uint8_t* positive = nullptr;

  /// The same for an output that begins `offset` floats later, a multiple of kPanel.
  Epilogue at(std::int64_t offset) const {
    Epilogue e = *this;
    if (add) e.add += offset;
    if (mask) e.mask += offset / 8;
    if (positive) e.positive += offset / 8;
    return e;
  }
};
inline constexpr std::int64_t kBytesBehind = 8;

/// Weights as columns in panels of kPanel: entry (k, j) of panel p at data[p * panel + k * row +
/// j].
struct Panels {
  const float* data = nullptr;
  std::int64_t row = kPanel, panel = 0;  ///< floats from row to row, and from panel to panel

  /// Packed: for each panel [depth, kPanel].
  static Panels packed(const float* data, std::int64_t depth) {
    return {data, kPanel, depth * kPanel};
  }
  Panels from(std::int64_t first) const { return {data + first * panel, row, panel}; }
};

/// c[rows, panels * kPanel] = a[rows, depth] * b, or c += that; `lda` and `ldc` floats from row to
/// row. Each entry is a sum over depth in order.
void multiply(std::int64_t rows, std::int64_t depth, const float* a, std::int64_t lda,
              const Panels& b, std::int64_t panels, float* c, std::int64_t ldc, bool add = false);

/// The best instruction set of this machine, as Highway calls it: "AVX2", "AVX3", …
const char* instruction_set();

}  // namespace cmat::nn::frozen
