// Memory that values use one after the other.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <vector>

namespace cmat::nn::frozen {

/// Who uses which of the slots `sizes`, floats an image, which grow as they are taken.
class SlotPool {
 public:
  explicit SlotPool(std::vector<std::int64_t>& sizes) : sizes_(sizes), users_(sizes.size(), 0) {}

  /// The free slot that fits best, or a new one.
  int take(std::int64_t floats) {
    int best = -1;
    const auto misfit = [&](int slot) {
      return std::abs(sizes_[static_cast<std::size_t>(slot)] - floats);
    };
    for (int slot = 0; slot < static_cast<int>(sizes_.size()); ++slot) {
      if (users_[static_cast<std::size_t>(slot)] > 0) continue;
      if (best < 0 || misfit(slot) < misfit(best)) best = slot;
    }
    if (best < 0) {
      best = static_cast<int>(sizes_.size());
      users_.push_back(0);
      sizes_.push_back(0);
    }
    std::int64_t& size = sizes_[static_cast<std::size_t>(best)];
    if (size < floats) size = floats;
    share(best);
    return best;
  }
  void share(int slot) { ++users_[static_cast<std::size_t>(slot)]; }
  void leave(int slot) { --users_[static_cast<std::size_t>(slot)]; }

 private:
  std::vector<std::int64_t>& sizes_;
  std::vector<int> users_;  ///< of each slot
};

}  // namespace cmat::nn::frozen
