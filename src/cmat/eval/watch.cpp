#include "cmat/eval/watch.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>

#include "cmat/attack/projection.h"

namespace cmat::eval {
namespace {

constexpr std::int64_t kLatePasses = 10;
/// A margin counts from here on, as a share of the largest logit: below, rounding decides, which
/// differs between the kernels that attack and those that judge.
constexpr double kMarginShare = 1e-4;

}  // namespace

template <typename Pass>
auto WatchedClassifier::timed(const Pass& pass) {
  const auto start = std::chrono::steady_clock::now();
  auto result = pass();
  seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (on_pass_) on_pass_();
  return result;
}

void WatchedClassifier::observe(const at::Tensor& images, const attack::Goal& goal,
                                const attack::ThreatModel& threat) {
  images_ = images;
  goal_ = goal;
  threat_ = threat;
  seen_fooled_ = at::zeros_like(goal.labels, at::kBool);
  first_ = best_ = at::Tensor();
  recent_.clear();
  passes_ = 0;
}

void WatchedClassifier::look(const at::Tensor& images, const at::Tensor& logits,
                             bool with_gradient) {
  if (!images_.defined() || images.sizes() != images_.sizes()) return;
  const at::NoGradGuard no_grad;
  const at::Tensor margins = goal_.margin(logits.detach());
  const at::Tensor large = margins > kMarginShare * std::get<0>(logits.detach().abs().max(1));
  const at::Tensor fresh = large.logical_and(seen_fooled_.logical_not()).nonzero().squeeze(1);
  if (fresh.size(0) > 0) {
    const at::Tensor far = attack::distance(images_.index_select(0, fresh),
                                            images.index_select(0, fresh), threat_.norm);
    const at::Tensor inside = (far <= threat_.eps_pixels * (1 + 1e-6) + 1e-6).nonzero().squeeze(1);
    seen_fooled_.index_fill_(0, fresh.index_select(0, inside), true);
  }
  if (!with_gradient) return;
  ++passes_;
  if (!first_.defined()) {
    first_ = best_ = margins;
    return;
  }
  recent_.push_back(best_);
  if (static_cast<std::int64_t>(recent_.size()) > kLatePasses) recent_.pop_front();
  best_ = at::maximum(best_, margins);
}

Observed WatchedClassifier::end(const at::Tensor& fooled, std::int64_t count) {
  Observed observed{.passes = passes_};
  at::Tensor left = fooled.logical_not();
  left.narrow(0, count, left.size(0) - count).fill_(false);
  observed.silent_successes = seen_fooled_.logical_and(left).sum().item<std::int64_t>();
  if (best_.defined() && !recent_.empty()) {
    const auto sum = [&](const at::Tensor& margins) {
      return margins.to(at::kDouble).masked_fill(left.logical_not(), 0).sum().item<double>();
    };
    const std::int64_t late =
        std::clamp<std::int64_t>(passes_ / 10, 1, static_cast<std::int64_t>(recent_.size()));
    const double last = sum(best_);
    observed.rise = last - sum(first_);
    observed.late_rise = last - sum(recent_[recent_.size() - static_cast<std::size_t>(late)]);
  }
  images_ = at::Tensor();
  return observed;
}

at::Tensor WatchedClassifier::do_logits(const at::Tensor& images) {
  at::Tensor logits = timed([&] { return inner_.logits(images); });
  look(images, logits, /*with_gradient=*/false);
  return logits;
}

at::Tensor WatchedClassifier::do_verdict_logits(const at::Tensor& images) {
  return timed([&] { return inner_.verdict_logits(images); });
}

attack::Gradient WatchedClassifier::do_gradient(const at::Tensor& images,
                                                const attack::LossFunction& loss) {
  attack::Gradient gradient = timed([&] { return inner_.gradient(images, loss); });
  look(images, gradient.logits, /*with_gradient=*/true);
  return gradient;
}

at::Tensor WatchedClassifier::do_jacobian(const at::Tensor& images) {
  return timed([&] { return inner_.jacobian(images); });
}

at::Tensor WatchedClassifier::do_features(const at::Tensor& images) {
  return timed([&] { return inner_.features(images); });
}

}  // namespace cmat::eval
