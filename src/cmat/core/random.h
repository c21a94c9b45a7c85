// Random numbers drawn by key. Nothing in the project draws from a shared stream: each use names
// what it is for (seed, task, stage, epoch, sample, purpose) and gets its own independent sequence.
// So neither resuming, nor the batch size, nor the number of threads changes any random choice.
#pragma once

#include <cstdint>
#include <vector>

namespace cmat {

/// What a random number is for. On-disk results depend on these values: append, never renumber.
enum class Purpose : std::uint64_t {
  initial_weights = 1,
  validation_split = 2,
  subset = 3,
  task_order = 4,
  shuffle = 5,
  augment = 6,
  attack_start = 7,
  synthetic_prototype = 8,
  synthetic_image = 9,
  evaluation = 10,
  torch_generator = 11,
  dropout = 12,
  growth = 13,
  bootstrap = 14,
  channel_mask = 15,
};

/// Names one sequence of random numbers. `sample` is an image's index in its source.
struct Key {
  std::uint64_t seed = 0;
  std::uint64_t task = 0;
  std::uint64_t stage = 0;
  std::uint64_t epoch = 0;
  std::uint64_t sample = 0;
  std::uint64_t step = 0;  ///< restart, layer or whatever else tells two uses apart
  Purpose purpose = Purpose::initial_weights;

  Key for_purpose(Purpose p) const {
    Key k = *this;
    k.purpose = p;
    return k;
  }
  Key for_sample(std::uint64_t s) const {
    Key k = *this;
    k.sample = s;
    return k;
  }
  Key for_step(std::uint64_t s) const {
    Key k = *this;
    k.step = s;
    return k;
  }
};

/// The sequence that a key names: SplitMix64 (Steele et al., 2014) from a hash of the key.
/// Cheap to make, so make one where it is needed.
class Random {
 public:
  explicit Random(const Key& key);

  std::uint64_t bits() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  /// Uniform in [0, 1), a multiple of 2^-53.
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// Uniform in {0, ..., n-1} without bias. REQUIRES n > 0.
  std::uint64_t below(std::uint64_t n);
  /// Standard normal (Box and Muller).
  double normal();
  /// 0..n-1 in random order (Fisher and Yates).
  std::vector<std::int64_t> permutation(std::int64_t n);

 private:
  std::uint64_t state_;
  double spare_normal_ = 0;
  bool has_spare_ = false;
};

}  // namespace cmat
