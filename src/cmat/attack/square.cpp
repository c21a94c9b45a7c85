#include "cmat/attack/square.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>

#include "cmat/attack/projection.h"
#include "cmat/attack/rows.h"
#include "cmat/core/error.h"
#include "cmat/core/fraction.h"

namespace cmat::attack {
namespace {

constexpr double tiny = 1e-12;

/// Scaled to L2 norm 1.
void normalise(std::vector<double>& values) {
  double squares = 0;
  for (double v : values) squares += v * v;
  for (double& v : values) v /= std::sqrt(squares);
}

/// L2 norms over the dimensions, kept.
at::Tensor l2_length(const at::Tensor& values, at::IntArrayRef dims) {
  return at::linalg_vector_norm(values, 2, dims, /*keepdim=*/true);
}

/// The random choices of a batch: each image draws from its own sequence.
class Draws {
 public:
  Draws(const at::Tensor& images, const std::vector<std::int64_t>& sample_ids, const Key& key)
      : options_(images.options()), sizes_(images.sizes().vec()) {
    for (std::int64_t id : sample_ids) {
      random_.emplace_back(
          key.for_sample(static_cast<std::uint64_t>(id)).for_purpose(Purpose::attack_start));
    }
  }

  /// +1 or -1 for each image, channel and whatever follows: [n,c,rows,columns].
  at::Tensor signs(std::int64_t rows, std::int64_t columns) {
    const std::int64_t each = sizes_[1] * rows * columns;
    std::vector<float> values;
    values.reserve(random_.size() * static_cast<std::size_t>(each));
    for (Random& random : random_) {
      for (std::int64_t i = 0; i < each; ++i) values.push_back(random.bits() >> 63 ? 1.F : -1.F);
    }
    return at::tensor(values).view({sizes_[0], sizes_[1], rows, columns}).to(options_);
  }

  /// A window of that side for each image, as a corner: (top, left).
  std::vector<std::pair<std::int64_t, std::int64_t>> corners(std::int64_t side) {
    std::vector<std::pair<std::int64_t, std::int64_t>> result;
    for (Random& random : random_) {
      const auto top = random.below(static_cast<std::uint64_t>(sizes_[2] - side + 1));
      const auto left = random.below(static_cast<std::uint64_t>(sizes_[3] - side + 1));
      result.emplace_back(top, left);
    }
    return result;
  }

  bool coin(std::size_t image) { return random_[image].bits() >> 63; }

 private:
  at::TensorOptions options_;
  std::vector<std::int64_t> sizes_;
  std::vector<Random> random_;
};

using Corners = std::vector<std::pair<std::int64_t, std::int64_t>>;

/// One run of the random search on one batch.
class Walk {
 public:
  Walk(const at::Tensor& images, const std::vector<std::int64_t>& sample_ids,
       const SquareOptions& options, const Key& key)
      : images_(images),
        options_(options),
        height_(images.size(2)),
        width_(images.size(3)),
        eps_(options.threat.eps_pixels),
        draws_(images, sample_ids, key),
        project_(images, options.threat) {}

  at::Tensor start() { return linf() ? stripes() : grid_of_bumps(); }
  at::Tensor propose(const at::Tensor& best, int iteration) {
    const std::int64_t side =
        square_side(square_share(iteration, options_), height_, width_, options_.threat.norm);
    return linf() ? recolour(best, side) : move_mass(best - images_, side);
  }

 private:
  bool linf() const { return options_.threat.norm == Norm::linf; }
  at::Tensor stripes() { return project_(images_ + eps_ * draws_.signs(1, width_)); }
  at::Tensor recolour(const at::Tensor& best, std::int64_t side);
  at::Tensor grid_of_bumps();
  at::Tensor move_mass(const at::Tensor& delta, std::int64_t side);
  /// Whether a pixel lies in its image's window, [n,1,h,w].
  at::Tensor window(const Corners& corners, std::int64_t side) const;
  /// The bump in each image's window, at random on its side; zero elsewhere, [n,1,h,w].
  at::Tensor bumps(const Corners& corners, std::int64_t side);
  at::Tensor on_sphere(const at::Tensor& delta) const {
    return (images_ + delta * (eps_ / (l2_length(delta, {1, 2, 3}) + tiny))).clamp_(0, 1);
  }

  const at::Tensor& images_;
  const SquareOptions& options_;
  std::int64_t height_, width_;
  double eps_;
  Draws draws_;
  Projector project_;
};

/// Adds `by` [n,c] in each image's window, between low and high. Touches nothing else.
template <typename T>
void add_in_windows(at::Tensor& images, const Corners& corners, std::int64_t side,
                    const at::Tensor& by, const at::Tensor& low, const at::Tensor& high) {
  const std::int64_t channels = images.size(1), height = images.size(2), width = images.size(3);
  T* values = images.data_ptr<T>();
  const T *lows = low.const_data_ptr<T>(), *highs = high.const_data_ptr<T>();
  const T* added = by.const_data_ptr<T>();
  for (std::int64_t plane = 0; plane < images.size(0) * channels; ++plane) {
    const auto& [top, left] = corners[static_cast<std::size_t>(plane / channels)];
    for (std::int64_t row = 0; row < side; ++row) {
      const std::int64_t first = (plane * height + top + row) * width + left;
      for (std::int64_t i = first; i < first + side; ++i) {
        values[i] = std::min(std::max(values[i] + added[plane], lows[i]), highs[i]);
      }
    }
  }
}

/// A random colour at an edge of the ball in each image's window.
at::Tensor Walk::recolour(const at::Tensor& best, std::int64_t side) {
  const Corners corners = draws_.corners(side);
  const at::Tensor by = 2 * eps_ * draws_.signs(1, 1);
  const at::ScalarType type = best.scalar_type();
  if (!lie_alike(best, project_.low()) || (type != at::kFloat && type != at::kDouble))
    return at::where(window(corners, side), project_(best + by), best);
  at::Tensor next = best.clone();
  if (type == at::kFloat) {
    add_in_windows<float>(next, corners, side, by, project_.low(), project_.high());
  } else {
    add_in_windows<double>(next, corners, side, by, project_.low(), project_.high());
  }
  return next;
}

at::Tensor Walk::window(const Corners& corners, std::int64_t side) const {
  std::vector<std::int64_t> tops, lefts;
  for (const auto& [top, left] : corners) {
    tops.push_back(top);
    lefts.push_back(left);
  }
  const auto whole = images_.options().dtype(at::kLong);
  const auto within = [&](const std::vector<std::int64_t>& first, std::int64_t size) {
    const at::Tensor from = at::tensor(first, at::kLong).to(whole.device()).unsqueeze(1);
    const at::Tensor at_index = at::arange(size, whole);
    return (at_index >= from).logical_and(at_index < from + side);
  };
  return within(tops, height_)
      .view({-1, 1, height_, 1})
      .logical_and(within(lefts, width_).view({-1, 1, 1, width_}));
}

at::Tensor Walk::bumps(const Corners& corners, std::int64_t side) {
  const std::vector<double> bump = square_bump(side);
  at::Tensor result =
      at::zeros({images_.size(0), 1, height_, width_}, at::TensorOptions().dtype(at::kDouble));
  for (std::size_t i = 0; i < corners.size(); ++i) {
    double* out = result.data_ptr<double>() + static_cast<std::int64_t>(i) * height_ * width_;
    const bool turned = draws_.coin(i);
    for (std::int64_t r = 0; r < side; ++r) {
      for (std::int64_t c = 0; c < side; ++c) {
        const std::int64_t from = turned ? c * side + r : r * side + c;
        out[(corners[i].first + r) * width_ + corners[i].second + c] =
            bump[static_cast<std::size_t>(from)];
      }
    }
  }
  return result.to(images_.options());
}

/// Five by five bumps, as far as the image has room for them.
at::Tensor Walk::grid_of_bumps() {
  const std::int64_t side = std::max<std::int64_t>(std::min(height_, width_) / 5, 1);
  at::Tensor delta = at::zeros_like(images_);
  for (std::int64_t top = 0; top + side <= height_; top += side) {
    for (std::int64_t left = 0; left + side <= width_; left += side) {
      const Corners here(static_cast<std::size_t>(images_.size(0)), {top, left});
      delta = delta + bumps(here, side) * draws_.signs(1, 1);
    }
  }
  return on_sphere(delta);
}

/// Takes what stands in one window away and adds a bump in another, to the same length.
at::Tensor Walk::move_mass(const at::Tensor& delta, std::int64_t side) {
  const Corners to = draws_.corners(side), from = draws_.corners(side);
  const at::Tensor added = window(to, side), removed = window(from, side);
  const at::Tensor old = delta * added;
  at::Tensor fresh = bumps(to, side) * draws_.signs(1, 1) + old / (l2_length(old, {2, 3}) + tiny);
  fresh = fresh / (l2_length(fresh, {2, 3}) + tiny);
  const at::Tensor unused =
      (eps_ * eps_ - l2_length(delta, {1, 2, 3}).square()).clamp_min(0) / images_.size(1);
  const at::Tensor freed = l2_length(delta * added.logical_or(removed), {2, 3}).square();
  const at::Tensor kept = delta.masked_fill(removed, 0);
  return on_sphere(at::where(added, fresh * (unused + freed).sqrt(), kept));
}

class Square : public GoalAttack {
 public:
  explicit Square(const SquareOptions& options) : options_(options) {}
  std::string name() const override {
    std::string result = "square";
    if (options_.queries != 5000) result += text(options_.queries);
    return options_.restarts > 1 ? text(result, "x", options_.restarts) : result;
  }
  std::string recipe() const override;
  double most_passes(std::int64_t) const override {
    return 2.0 + options_.restarts * (options_.queries + 1.0);
  }

 protected:
  AttackResult pursue(Classifier& model, const at::Tensor& images, const Goal& goal,
                      const std::vector<std::int64_t>& sample_ids, const Key& key) override;

 private:
  SquareOptions options_;
};

AttackResult Square::pursue(Classifier& model, const at::Tensor& images, const Goal& goal,
                            const std::vector<std::int64_t>& sample_ids, const Key& key) {
  const std::int64_t forwards = model.forwards(), backwards = model.backwards();
  const at::Tensor clean = model.logits(images);
  goal.check(clean.size(1));
  FirstFooled found(images, goal);
  found.observe(images, clean);
  for (int r = options_.first_restart; r < options_.first_restart + options_.restarts; ++r) {
    if (found.all()) break;
    Walk walk(images, sample_ids, options_, part_key(key, r));
    at::Tensor best = walk.start();
    at::Tensor logits = model.logits(best);
    at::Tensor best_margin = goal.margin(logits);
    found.observe(best, logits);
    for (int k = 0; k < options_.queries && !found.all(); ++k) {
      const at::Tensor next = walk.propose(best, k);
      logits = model.logits(next);
      found.observe(next, logits);
      const at::Tensor next_margin = goal.margin(logits);
      const at::Tensor better = next_margin > best_margin;
      take_rows(better, next, best);
      best_margin = at::where(better, next_margin, best_margin);
    }
  }
  AttackResult result = finish(model, images, goal, found.x(), options_.threat);
  result.forwards = model.forwards() - forwards;
  result.backwards = model.backwards() - backwards;
  return result;
}

std::string Square::recipe() const {
  const SquareOptions& o = options_;
  return text("Square on the margin, ", norm_name(o.threat.norm),
              " eps = ", format_eps(o.threat.eps_pixels), ", ", o.queries, " queries, ", o.restarts,
              o.restarts == 1 ? " run" : " runs", ", first windows ", o.first_share,
              " of the image, ", o.rescale ? "rescaled" : "not rescaled", ", windows per image");
}

}  // namespace

double square_share(int iteration, const SquareOptions& options) {
  const std::int64_t at =
      options.rescale
          ? static_cast<std::int64_t>(static_cast<double>(iteration) / options.queries * 10000)
          : iteration;
  double share = options.first_share;
  for (const int limit : {10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000}) {
    if (at > limit) share /= 2;
  }
  return share;
}

std::int64_t square_side(double share, std::int64_t height, std::int64_t width, Norm norm) {
  const double area = share * static_cast<double>(height * width);
  std::int64_t side =
      std::max<std::int64_t>(std::llrint(std::sqrt(area)), norm == Norm::l2 ? 3 : 1);
  if (norm == Norm::l2 && side % 2 == 0) ++side;
  return std::min({side, height, width});
}

std::vector<double> square_rectangle(std::int64_t height, std::int64_t width) {
  const std::int64_t row = height / 2, column = width / 2, rings = std::max(row, column) + 1;
  std::vector<double> result;
  for (std::int64_t r = 0; r < height; ++r) {
    for (std::int64_t c = 0; c < width; ++c) {
      double value = 0;
      for (std::int64_t k = std::max(std::abs(r - row), std::abs(c - column)); k < rings; ++k) {
        value += 1 / static_cast<double>((k + 1) * (k + 1));
      }
      result.push_back(value);
    }
  }
  normalise(result);
  return result;
}

std::vector<double> square_bump(std::int64_t side) {
  std::vector<double> result = square_rectangle(side / 2, side);
  for (double v : square_rectangle(side - side / 2, side)) result.push_back(-v);
  normalise(result);
  return result;
}

std::unique_ptr<Attack> make_square(const SquareOptions& options) {
  const SquareOptions& o = options;
  if (o.queries < 1 || o.restarts < 1 || o.first_restart < 0) {
    usage_error("Square needs at least one query and one run, not ", o.queries, " and ",
                o.restarts);
  }
  if (!(o.first_share > 0) || o.first_share > 1) {
    usage_error("Square's first windows cover a share of the image between 0 and 1, not ",
                o.first_share);
  }
  if (o.threat.norm == Norm::l1) usage_error("Square attacks in linf and l2, not in l1");
  if (!(o.threat.eps_pixels >= 0) || !std::isfinite(o.threat.eps_pixels)) {
    usage_error("Square needs a radius that is finite and not negative, not ", o.threat.eps_pixels);
  }
  return std::make_unique<Square>(options);
}

}  // namespace cmat::attack
