#include "cmat/attack/apgd_l1.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>

#include "cmat/attack/rows.h"

namespace cmat::attack {
namespace {

constexpr double first_divisor = 1.5;    // of the support's size, for the next share
constexpr double step_divisor = 1.5;     // at each checkpoint without progress
constexpr double smallest_step = 0.1;    // of eps
constexpr double sparser_enough = 0.95;  // of the former support
constexpr double moved = 1e-12;          // less is rounding

}  // namespace

SparseAscent::SparseAscent(Classifier& model, const at::Tensor& images, const at::Tensor& start,
                           const LossFunction& loss, double eps, int steps)
    : model_(model),
      images_(images),
      loss_function_(loss),
      eps_(eps),
      steps_(steps),
      window_(std::max(static_cast<int>(0.04 * steps), 1)),
      project_(images, {Norm::l1, eps}),
      x_(start) {
  look();
  best_ = x_;
  best_loss_ = loss_;
  best_dx_ = dx_;
  step_size_ = at::full({images.size(0)}, eps, images.options().dtype(at::kDouble));
  support_at_check_ = support(x_);
  share_ = support_at_check_ / first_divisor / (images.numel() / images.size(0));
}

void SparseAscent::look() {
  seen_ = x_;
  if (done()) {  // no step follows
    logits_ = model_.logits(x_);
    loss_ = loss_function_(logits_);
    return;
  }
  const Gradient g = model_.gradient(x_, loss_function_);
  dx_ = g.dx.contiguous();
  logits_ = g.logits;
  loss_ = g.loss;
}

/// How many values differ from the image's, [n] float64.
at::Tensor SparseAscent::support(const at::Tensor& x) const {
  return ((x - images_).abs() > moved).flatten(1).sum(1).to(at::kDouble);
}

/// The signs of each image's largest gradients, of length 1 in L1.
at::Tensor SparseAscent::direction() const {
  const at::Tensor g = dx_.flatten(1), size = g.abs();
  const std::int64_t count = size.size(1);
  const at::Tensor sorted = std::get<0>(size.sort(1));
  const at::Tensor first = ((1 - share_) * static_cast<double>(count))
                               .clamp(0, static_cast<double>(count - 1))
                               .to(at::kLong)
                               .unsqueeze(1);
  const at::Tensor signs = g.sign() * (size >= sorted.gather(1, first));
  return (signs / (signs.abs().sum(1, /*keepdim=*/true) + 1e-10)).view(dx_.sizes());
}

void SparseAscent::advance() {
  x_ = project_(x_ + direction() * spread(step_size_).to(x_.scalar_type()));
  ++iteration_;
  look();
  const at::Tensor better = loss_ > best_loss_;
  best_ = at::where(spread(better), x_, best_);
  best_dx_ = at::where(spread(better), dx_, best_dx_);
  best_loss_ = at::where(better, loss_, best_loss_);
  if (iteration_ % window_ == 0) checkpoint();
}

void SparseAscent::checkpoint() {
  const at::Tensor now = support(best_);
  const at::Tensor sparser = now / support_at_check_ < sparser_enough;
  step_size_ = at::where(sparser, at::full_like(step_size_, eps_), step_size_ / step_divisor)
                   .clamp(eps_ * smallest_step, eps_);
  share_ = now / first_divisor / (images_.numel() / images_.size(0));
  support_at_check_ = now;
  x_ = at::where(spread(sparser), best_, x_);
  dx_ = at::where(spread(sparser), best_dx_, dx_);
}

std::vector<RadiusPhase> l1_phases(int steps) {
  const int part = static_cast<int>(std::ceil(0.3 * steps));
  if (steps < 3) return {{1, steps}};
  return {{3, part}, {2, part}, {1, steps - 2 * part}};
}

}  // namespace cmat::attack
