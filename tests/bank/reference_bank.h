// The weight bank once more, slow and obvious: plain loops over vectors of doubles, written from
// the definitions (docs/methods.md, tests/golden/bank.json and pruning.json) and not from the fast
// code.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cmat/nn/bank_kernels.h"

namespace cmat::test {

using Numbers = std::vector<double>;

struct ReferenceLayer {
  std::int64_t filters = 1;  ///< size of dim 0
  std::vector<int> owners;
  Numbers values, momentum, effective;
  Numbers scores, score_m, score_v;
  Numbers average_values, average_scores;
  std::int64_t candidates = 0;

  std::size_t size() const { return values.size(); }
};

/// Python's round(): to the nearest integer, and from half way to the even one.
inline std::int64_t reference_round(double x) {
  const auto below = static_cast<std::int64_t>(std::floor(x));
  const double to_below = x - static_cast<double>(below);
  const double to_above = static_cast<double>(below + 1) - x;
  if (to_below < to_above) return below;
  if (to_above < to_below) return below + 1;
  return below % 2 == 0 ? below : below + 1;
}

struct ReferenceBank {
  double threshold = 0.005, initial = 0.01;
  std::vector<ReferenceLayer> layers;
  int task = 0;
  bool picks = false, averages = false;
  int adam_step = 0;

  bool own(const ReferenceLayer& l, std::size_t i) const { return l.owners[i] == task; }
  bool older(const ReferenceLayer& l, std::size_t i) const {
    return l.owners[i] != 0 && l.owners[i] < task;
  }
  bool picked(const ReferenceLayer& l, std::size_t i) const {
    return !picks || l.scores[i] > threshold;
  }

  void compose() {
    for (ReferenceLayer& l : layers) {
      for (std::size_t i = 0; i < l.size(); ++i) {
        const bool used = own(l, i) || (older(l, i) && picked(l, i));
        l.effective[i] = used ? l.values[i] : 0.0;
      }
    }
  }

  /// Without the filling of dead filters, whose draws the reference does not know.
  void begin_task(int new_task, bool with_picks) {
    task = new_task;
    picks = with_picks && task > 1;
    averages = false;
    adam_step = 0;
    for (ReferenceLayer& l : layers) {
      for (int& owner : l.owners) {
        if (owner == 0) owner = task;
      }
      l.momentum.assign(l.size(), 0.0);
      l.effective.assign(l.size(), 0.0);
      l.scores.assign(l.size(), initial);
      l.score_m.assign(l.size(), 0.0);
      l.score_v.assign(l.size(), 0.0);
    }
    compose();
  }

  bool dead(const ReferenceLayer& l, std::int64_t filter) const {
    const std::size_t n = l.size() / static_cast<std::size_t>(l.filters);
    for (std::size_t i = 0; i < n; ++i) {
      if (l.effective[static_cast<std::size_t>(filter) * n + i] != 0) return false;
    }
    return true;
  }

  void begin_stage(bool average) {
    averages = average;
    adam_step = 0;
    for (ReferenceLayer& l : layers) {
      l.momentum.assign(l.size(), 0.0);
      l.score_m.assign(l.size(), 0.0);
      l.score_v.assign(l.size(), 0.0);
      l.average_values = l.values;
      l.average_scores = l.scores;
      l.candidates = 0;
      for (std::size_t i = 0; i < l.size(); ++i) l.candidates += own(l, i) || l.owners[i] == 0;
    }
  }

  void reset_picks() {
    adam_step = 0;
    if (!picks) return;
    for (ReferenceLayer& l : layers) {
      l.scores.assign(l.size(), initial);
      l.score_m.assign(l.size(), 0.0);
      l.score_v.assign(l.size(), 0.0);
    }
    compose();
  }

  void update(const std::vector<Numbers>& gradients, const nn::UpdateOptions& o) {
    if (o.train_picks) ++adam_step;
    for (std::size_t n = 0; n < layers.size(); ++n) {
      ReferenceLayer& l = layers[n];
      for (std::size_t i = 0; i < l.size(); ++i) {
        if (own(l, i)) sgd(l, i, gradients[n][i], o);
        if (older(l, i) && picks && o.train_picks) adam(l, i, gradients[n][i] * l.values[i], o);
        if (averages) average(l, i, o.average_decay);
      }
    }
    compose();
  }

  void sgd(ReferenceLayer& l, std::size_t i, double gradient, const nn::UpdateOptions& o) const {
    const double g = gradient + o.sgd.weight_decay * l.values[i];
    l.momentum[i] = o.sgd.momentum * l.momentum[i] + g;
    const double step = o.sgd.nesterov ? g + o.sgd.momentum * l.momentum[i] : l.momentum[i];
    l.values[i] -= o.sgd.lr * step;
  }

  void adam(ReferenceLayer& l, std::size_t i, double g, const nn::UpdateOptions& o) const {
    const auto& a = o.adam;
    l.score_m[i] = a.beta1 * l.score_m[i] + (1 - a.beta1) * g;
    l.score_v[i] = a.beta2 * l.score_v[i] + (1 - a.beta2) * g * g;
    const double m = l.score_m[i] / (1 - std::pow(a.beta1, adam_step));
    const double v = l.score_v[i] / (1 - std::pow(a.beta2, adam_step));
    l.scores[i] -= a.lr * m / (std::sqrt(v) + a.eps);
  }

  void average(ReferenceLayer& l, std::size_t i, double decay) const {
    if (own(l, i)) {
      l.average_values[i] = decay * l.average_values[i] + (1 - decay) * l.values[i];
    }
    if (older(l, i) && picks) {
      l.average_scores[i] = decay * l.average_scores[i] + (1 - decay) * l.scores[i];
    }
  }

  std::int64_t prune(double ratio) {
    std::int64_t freed = 0;
    for (ReferenceLayer& l : layers) {
      const std::int64_t k = reference_round(ratio * static_cast<double>(l.candidates));
      if (k == 0) continue;
      Numbers magnitudes;
      for (std::size_t i = 0; i < l.size(); ++i) {
        if (own(l, i) || l.owners[i] == 0) magnitudes.push_back(std::fabs(l.values[i]));
      }
      std::sort(magnitudes.begin(), magnitudes.end());
      const double cutoff = magnitudes.at(static_cast<std::size_t>(k - 1));
      for (std::size_t i = 0; i < l.size(); ++i) {
        if (!own(l, i) || std::fabs(l.values[i]) > cutoff) continue;
        l.owners[i] = 0;
        l.values[i] = l.momentum[i] = l.average_values[i] = 0;
        ++freed;
      }
    }
    compose();
    return freed;
  }

  void adopt_average() {
    for (ReferenceLayer& l : layers) {
      for (std::size_t i = 0; averages && i < l.size(); ++i) {
        if (own(l, i)) l.values[i] = l.average_values[i];
        if (older(l, i) && picks) l.scores[i] = l.average_scores[i];
      }
    }
    compose();
  }
};

}  // namespace cmat::test
