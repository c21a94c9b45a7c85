// A Classifier that hands everything on to another one and looks on: where the attack stands, how
// long the network took, and what became of each image on the way.
#pragma once

#include <deque>
#include <functional>
#include <vector>

#include "cmat/attack/classifier.h"
#include "cmat/attack/goal.h"
#include "cmat/attack/threat_model.h"

namespace cmat::eval {

/// What an attack did with a batch whose image i was row i of every pass.
struct Observed {
  /// Images that reached their goal inside ball and box on the way, and are not there at the end.
  std::int64_t silent_successes = 0;
  /// Over the images that were not broken: how far the best margin rose from the first gradient
  /// pass to the last, and of that in the last tenth of the passes, at the most 10.
  double rise = 0, late_rise = 0;
  std::int64_t passes = 0;  ///< with gradients
};

class WatchedClassifier : public attack::Classifier {
 public:
  /// `on_pass` is called after every pass through the network.
  explicit WatchedClassifier(attack::Classifier& inner, std::function<void()> on_pass = {})
      : inner_(inner), on_pass_(std::move(on_pass)) {}

  /// From now on row i of every pass belongs to images[i]; passes of another size are not looked
  /// at.
  void observe(const at::Tensor& images, const attack::Goal& goal,
               const attack::ThreatModel& threat);
  /// Ends that, for the first `count` images (the others pad the batch). `fooled` [n]: what the
  /// attack returned.
  Observed end(const at::Tensor& fooled, std::int64_t count);

  attack::Normalisation normalisation() const override { return inner_.normalisation(); }
  bool rows_are_independent(const at::Tensor& images) const override {
    return inner_.rows_are_independent(images);
  }
  double seconds() const { return seconds_; }  ///< inside the network

 protected:
  at::Tensor do_logits(const at::Tensor& images) override;
  at::Tensor do_verdict_logits(const at::Tensor& images) override;
  attack::Gradient do_gradient(const at::Tensor& images, const attack::LossFunction& loss) override;
  at::Tensor do_jacobian(const at::Tensor& images) override;
  at::Tensor do_features(const at::Tensor& images) override;

 private:
  template <typename Pass>
  auto timed(const Pass& pass);
  void look(const at::Tensor& images, const at::Tensor& logits, bool with_gradient);

  attack::Classifier& inner_;
  std::function<void()> on_pass_;
  double seconds_ = 0;
  at::Tensor images_, seen_fooled_, first_, best_;
  attack::Goal goal_ = at::Tensor();
  attack::ThreatModel threat_;
  std::deque<at::Tensor> recent_;  ///< the best margins before each of the last passes
  std::int64_t passes_ = 0;
};

}  // namespace cmat::eval
