#include "cmat/nn/frozen/buffer.h"

#include <sys/mman.h>

#include <new>

#include "cmat/nn/frozen/parallel.h"

namespace cmat::nn::frozen {
namespace {

constexpr std::size_t kCacheLine = 64, kHugePage = std::size_t{2} << 20;

}  // namespace

float* Buffer::reserve(std::int64_t count) {
  if (count <= capacity_) return data_.get();
  data_.reset();
  capacity_ = 0;
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
  // Transformed weights are read from end to end: with small pages that is a miss of the page table
  // every 4 KB.
  const bool huge = bytes >= 2 * kHugePage;
  const std::size_t alignment = huge ? kHugePage : kCacheLine;
  const std::size_t size = (bytes + alignment - 1) / alignment * alignment;
  data_.reset(static_cast<float*>(std::aligned_alloc(alignment, size)));
  if (!data_) throw std::bad_alloc();
  if (huge) madvise(data_.get(), size, MADV_HUGEPAGE);  // a wish, not a need
  capacity_ = count;
  return data_.get();
}

Workspace::Workspace() : own_(static_cast<std::size_t>(thread_count())) {}

void Workspace::reserve_own(std::int64_t count) {
  const auto threads = static_cast<std::size_t>(thread_count());
  if (own_.size() < threads) own_.resize(threads);
  for (std::size_t t = 0; t < threads; ++t) own_[t].reserve(count);
}

}  // namespace cmat::nn::frozen
