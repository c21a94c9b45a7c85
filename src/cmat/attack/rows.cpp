#include "cmat/attack/rows.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <cstddef>
#include <cstring>
#include <limits>

#include "cmat/attack/projection.h"

namespace cmat::attack {

bool lie_alike(const at::Tensor& a, const at::Tensor& b) {
  return a.device().is_cpu() && b.device().is_cpu() && a.is_contiguous() && b.is_contiguous() &&
         a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes();
}

void take_rows(const at::Tensor& mask, const at::Tensor& from, at::Tensor& to) {
  if (!lie_alike(from, to) || from.numel() == 0) {
    to = at::where(spread(mask), from, to);
    return;
  }
  const std::size_t bytes = from.nbytes() / static_cast<std::size_t>(from.size(0));
  const at::Tensor rows = mask.contiguous();
  const bool* chosen = rows.const_data_ptr<bool>();
  const auto* source = static_cast<const std::byte*>(from.const_data_ptr());
  auto* target = static_cast<std::byte*>(to.data_ptr());
  for (std::int64_t n = 0; n < from.size(0); ++n, source += bytes, target += bytes) {
    if (chosen[n]) std::memcpy(target, source, bytes);
  }
}

namespace {

/// False where only the tensors can tell: for a tie, a NaN, or another place or type.
bool surely_none(const Goal& goal, const at::Tensor& logits, const at::Tensor& fooled) {
  const at::Tensor& classes = goal.targeted() ? goal.targets : goal.labels;
  const auto plain = [](const at::Tensor& t, at::ScalarType type) {
    return t.device().is_cpu() && t.is_contiguous() && t.scalar_type() == type;
  };
  if (!plain(logits, at::kFloat) || !plain(classes, at::kLong) || !plain(fooled, at::kBool)) {
    return false;
  }
  const std::int64_t count = logits.size(1);
  const float* row = logits.const_data_ptr<float>();
  for (std::int64_t n = 0; n < logits.size(0); ++n, row += count) {
    if (fooled.const_data_ptr<bool>()[n]) continue;
    const std::int64_t own = classes.const_data_ptr<std::int64_t>()[n];
    if (own < 0 || own >= count) return false;
    std::int64_t above = 0, below = 0;  // classes with a larger logit, and with a smaller one
    for (std::int64_t c = 0; c < count; ++c) {
      above += row[c] > row[own];
      below += row[c] < row[own];
    }
    if (goal.targeted() ? above == 0 : below < count - 1) return false;
  }
  return true;
}

}  // namespace

FirstFooled::FirstFooled(const at::Tensor& images, const Goal& goal)
    : goal_(goal),
      x_(images),
      fooled_(at::zeros_like(goal.labels, at::kBool)),
      all_(images.size(0) == 0) {}

void FirstFooled::observe(const at::Tensor& x, const at::Tensor& logits) {
  if (surely_none(goal_, logits, fooled_)) return;
  const at::Tensor now = goal_.reached(logits.argmax(1)).logical_and_(fooled_.logical_not());
  if (!now.any().item<bool>()) return;
  x_ = at::where(spread(now), x, x_);
  fooled_ = fooled_.logical_or(now);
  all_ = fooled_.all().item<bool>();
}

NearestFooled::NearestFooled(const at::Tensor& images, Norm norm)
    : images_(images),
      x_(images),
      distance_(at::full({images.size(0)}, std::numeric_limits<double>::infinity(),
                         images.options().dtype(at::kDouble))),
      norm_(norm) {}

void NearestFooled::observe(const at::Tensor& x, const at::Tensor& fooled) {
  const at::Tensor far = attack::distance(images_, x, norm_);
  const at::Tensor nearer = fooled.logical_and(far < distance_);
  x_ = at::where(spread(nearer), x, x_);
  distance_ = at::where(nearer, far, distance_);
}

AttackResult NearestFooled::finish(Classifier& model, const Goal& goal,
                                   const ThreatModel& threat) const {
  // The tolerance of the ball's check, so that a point on the sphere is not lost to rounding.
  const at::Tensor inside = distance_ <= threat.eps_pixels * (1 + 1e-6);
  AttackResult result =
      attack::finish(model, images_, goal, at::where(spread(inside), x_, images_), threat);
  result.nearest = distance_;
  return result;
}

}  // namespace cmat::attack
