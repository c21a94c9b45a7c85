#include "cmat/core/random.h"

#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

namespace cmat {
namespace {

std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

}  // namespace

Random::Random(const Key& key) : state_(0x243f6a8885a308d3ULL) {
  // Each field is absorbed after a full mix, so that fields cannot cancel each other.
  for (std::uint64_t field : {key.seed, key.task, key.stage, key.epoch, key.sample, key.step,
                              static_cast<std::uint64_t>(key.purpose)}) {
    state_ = mix(state_ + 0x9e3779b97f4a7c15ULL + mix(field + 0x9e3779b97f4a7c15ULL));
  }
}

std::uint64_t Random::below(std::uint64_t n) {
  const std::uint64_t limit = UINT64_MAX - UINT64_MAX % n;
  std::uint64_t value = bits();
  while (value >= limit) value = bits();
  return value % n;
}

double Random::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_normal_;
  }
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  const double angle = 2.0 * std::numbers::pi * uniform();
  spare_normal_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

std::vector<std::int64_t> Random::permutation(std::int64_t n) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[below(i)]);
  return order;
}

}  // namespace cmat
