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

/// `Rows` rows and `Count` panels. A panel's rows are read in order, the rows' entries broadcast.
template <std::int64_t Rows, std::int64_t Count>
HWY_NOINLINE void multiply_block(std::int64_t depth, const float* HWY_RESTRICT a, std::int64_t lda,
                                 const Panels& b, float* HWY_RESTRICT c, std::int64_t ldc,
                                 bool add) {
  const Floats f;
  constexpr std::int64_t kColumns = Count * kVectors;
  Vector sums[Rows][kColumns];
#pragma GCC unroll 16
  for (std::int64_t r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < kColumns; ++j) {
      sums[r][j] = add ? hn::LoadU(f, c + r * ldc + j * kLanes) : hn::Zero(f);
    }
  }
  const float* first = b.data;
  const float* second = first + b.panel;  // if Count is 2
  const std::int64_t row = b.row;
#pragma GCC unroll 1
  for (std::int64_t k = 0; k < depth; ++k) {
    Vector weights[kColumns];
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < kVectors; ++j) weights[j] = hn::LoadU(f, first + j * kLanes);
    first += row;
    if constexpr (Count == 2) {
#pragma GCC unroll 4
      for (std::int64_t j = 0; j < kVectors; ++j) {
        weights[kVectors + j] = hn::LoadU(f, second + j * kLanes);
      }
      second += row;
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
  }
#pragma GCC unroll 16
  for (std::int64_t r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < kColumns; ++j) hn::StoreU(sums[r][j], f, c + r * ldc + j * kLanes);
  }
}

/// Chooses the block for `rows`, 1 to Most.
template <std::int64_t Count, std::int64_t Most>
void multiply_rows(std::int64_t rows, std::int64_t depth, const float* a, std::int64_t lda,
                   const Panels& b, float* c, std::int64_t ldc, bool add) {
  if constexpr (Most > 1) {
    if (rows < Most) return multiply_rows<Count, Most - 1>(rows, depth, a, lda, b, c, ldc, add);
  }
  multiply_block<Most, Count>(depth, a, lda, b, c, ldc, add);
}

template <std::int64_t Count>
void multiply_panels(std::int64_t rows, std::int64_t depth, const float* a, std::int64_t lda,
                     const Panels& b, float* c, std::int64_t ldc, bool add) {
  // Blocks of nearly the same size: a last one of few rows would wait for its own sums.
  std::int64_t blocks = (rows + kRows - 1) / kRows;
  for (std::int64_t row = 0; blocks > 0; --blocks) {
    const std::int64_t count = (rows - row + blocks - 1) / blocks;
    multiply_rows<Count, kRows>(count, depth, a + row * lda, lda, b, c + row * ldc, ldc, add);
    row += count;
  }
}

void Multiply(std::int64_t rows, std::int64_t depth, const float* a, std::int64_t lda,
              const Panels& b, std::int64_t panels, float* c, std::int64_t ldc, bool add) {
  std::int64_t panel = 0;
  for (; panel + kPanels <= panels; panel += kPanels) {
    multiply_panels<kPanels>(rows, depth, a, lda, b.from(panel), c + panel * kPanel, ldc, add);
  }
  for (; panel < panels; ++panel) {
    multiply_panels<1>(rows, depth, a, lda, b.from(panel), c + panel * kPanel, ldc, add);
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
              const Panels& b, std::int64_t panels, float* c, std::int64_t ldc, bool add) {
  HWY_DYNAMIC_DISPATCH(Multiply)(rows, depth, a, lda, b, panels, c, ldc, add);
}

const char* instruction_set() { return HWY_DYNAMIC_DISPATCH(InstructionSet)(); }

}  // namespace cmat::nn::frozen
#endif
