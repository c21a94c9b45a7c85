// Products of a few rows with packed panels of weights.
#include "cmat/nn/frozen/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cmat/nn/frozen/multiply.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h

#include <hwy/highway.h>

#include "cmat/nn/frozen/epilogue-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cmat::nn::frozen::HWY_NAMESPACE {

constexpr std::int64_t kVectors = kPanel / kLanes;  // of a panel's row

// The sums of a block of rows stay in registers. With 32 registers two panels of 12 rows fit, with
// 16 one panel of 6 rows.
constexpr std::int64_t kRows = HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86 ? 12 : kVectors > 2 ? 4 : 6;
constexpr std::int64_t kPanels = HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86 ? 2 : 1;

/// `Rows` rows and `Panels` panels. A panel's rows are read in order, the rows' entries broadcast.
template <std::int64_t Rows, std::int64_t Panels>
HWY_NOINLINE void multiply_block(std::int64_t depth, const float* HWY_RESTRICT a, std::int64_t lda,
                                 const float* HWY_RESTRICT b, float* HWY_RESTRICT c,
                                 std::int64_t ldc) {
  const Floats f;
  constexpr std::int64_t kColumns = Panels * kVectors;
  Vector sums[Rows][kColumns];
#pragma GCC unroll 16
  for (std::int64_t r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < kColumns; ++j) sums[r][j] = hn::Zero(f);
  }
  const float* second = b + depth * kPanel;  // the second panel, if any
#pragma GCC unroll 1
  for (std::int64_t k = 0; k < depth; ++k) {
    Vector weights[kColumns];
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < kVectors; ++j) weights[j] = hn::Load(f, b + j * kLanes);
    if constexpr (Panels == 2) {
#pragma GCC unroll 4
      for (std::int64_t j = 0; j < kVectors; ++j) {
        weights[kVectors + j] = hn::Load(f, second + j * kLanes);
      }
      second += kPanel;
    }
#pragma GCC unroll 16
    for (std::int64_t r = 0; r < Rows; ++r) {
      const Vector entry = hn::Set(f, a[r * lda]);
#pragma GCC unroll 4
      for (std::int64_t j = 0; j < kColumns; ++j) {
        sums[r][j] = hn::MulAdd(entry, weights[j], sums[r][j]);
      }
    }
    ++a;
    b += kPanel;
  }
#pragma GCC unroll 16
  for (std::int64_t r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < kColumns; ++j) hn::StoreU(sums[r][j], f, c + r * ldc + j * kLanes);
  }
}

/// Chooses the block for `rows`, 1 to Most.
template <std::int64_t Panels, std::int64_t Most>
void multiply_rows(std::int64_t rows, std::int64_t depth, const float* a, std::int64_t lda,
                   const float* b, float* c, std::int64_t ldc) {
  if constexpr (Most > 1) {
    if (rows < Most) return multiply_rows<Panels, Most - 1>(rows, depth, a, lda, b, c, ldc);
  }
  multiply_block<Most, Panels>(depth, a, lda, b, c, ldc);
}

template <std::int64_t Panels>
void multiply_panels(std::int64_t rows, std::int64_t depth, const float* a, std::int64_t lda,
                     const float* b, float* c, std::int64_t ldc) {
  // Blocks of nearly the same size: a last one of few rows would wait for its own sums.
  std::int64_t blocks = (rows + kRows - 1) / kRows;
  for (std::int64_t row = 0; blocks > 0; --blocks) {
    const std::int64_t count = (rows - row + blocks - 1) / blocks;
    multiply_rows<Panels, kRows>(count, depth, a + row * lda, lda, b, c + row * ldc, ldc);
    row += count;
  }
}

void Multiply(std::int64_t rows, std::int64_t depth, const float* a, std::int64_t lda,
              const float* b, std::int64_t panels, float* c, std::int64_t ldc) {
  std::int64_t panel = 0;
  for (; panel + kPanels <= panels; panel += kPanels) {
    multiply_panels<kPanels>(rows, depth, a, lda, b + panel * depth * kPanel, c + panel * kPanel,
                             ldc);
  }
  for (; panel < panels; ++panel) {
    multiply_panels<1>(rows, depth, a, lda, b + panel * depth * kPanel, c + panel * kPanel, ldc);
  }
}

const char* InstructionSet() { return hwy::TargetName(HWY_TARGET); }

}  // namespace cmat::nn::frozen::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cmat::nn::frozen {

HWY_EXPORT(Multiply);
HWY_EXPORT(InstructionSet);

void multiply(std::int64_t rows, std::int64_t depth, const float* a, std::int64_t lda,
              const float* b, std::int64_t panels, float* c, std::int64_t ldc) {
  HWY_DYNAMIC_DISPATCH(Multiply)(rows, depth, a, lda, b, panels, c, ldc);
}

const char* instruction_set() { return HWY_DYNAMIC_DISPATCH(InstructionSet)(); }

}  // namespace cmat::nn::frozen
#endif
