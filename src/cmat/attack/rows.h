// What attacks keep for each row of a batch.
#pragma once

#include <ATen/core/Tensor.h>

#include "cmat/attack/attack.h"

namespace cmat::attack {

/// One value a row, [n], shaped so that it broadcasts over images [n,c,h,w].
inline at::Tensor spread(const at::Tensor& values) { return values.view({-1, 1, 1, 1}); }

/// Whether both lie on the CPU, row by row, channel by channel, without gaps, and are of one type
/// and shape: what a loop over their values asks for.
bool lie_alike(const at::Tensor& a, const at::Tensor& b);

/// Values of images, in the cache, that are worth a thread in such a loop.
inline constexpr std::int64_t kValuesAThread = 32768;

/// Copies the rows where `mask` [n] is true, of images [n,c,h,w], to the same rows of `to`, which
/// has memory of its own. Costs as much as these rows do, where at::where costs as much as all.
void take_rows(const at::Tensor& mask, const at::Tensor& from, at::Tensor& to);

/// The key of the i-th use of randomness inside an attack; may be nested three deep.
inline Key part_key(const Key& key, std::int64_t i) {
  return key.for_step((key.step << 20) + static_cast<std::uint64_t>(i) + 1);
}

/// The first misclassified point (the first that reached its goal) seen of each image, or else the
/// image itself. Taking the first lets an attack end as soon as every row is done without changing
/// any row's result.
class FirstFooled {
 public:
  FirstFooled(const at::Tensor& images, const Goal& goal);
  void observe(const at::Tensor& x, const at::Tensor& logits);
  bool all() const { return all_; }
  const at::Tensor& x() const { return x_; }
  const at::Tensor& fooled() const { return fooled_; }  ///< [n] bool

 private:
  Goal goal_;
  at::Tensor x_, fooled_;
  bool all_;
};

/// The misclassified point nearest to each image among those seen, or else the image itself.
class NearestFooled {
 public:
  NearestFooled(const at::Tensor& images, Norm norm);
  void observe(const at::Tensor& x, const at::Tensor& fooled);
  const at::Tensor& x() const { return x_; }
  const at::Tensor& distance() const { return distance_; }  ///< [n] float64, infinite: none seen

  /// The result of an attack that looks for the nearest: x' is the image itself where the nearest
  /// is beyond eps, and `nearest` says how far it was. Throws like finish().
  AttackResult finish(Classifier& model, const Goal& goal, const ThreatModel& threat) const;

 private:
  at::Tensor images_, x_, distance_;
  Norm norm_;
};

}  // namespace cmat::attack
