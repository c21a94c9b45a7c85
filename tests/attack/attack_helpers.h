// What the tests of the attacks share: golden rows, error messages, linear models whose nearest
// boundary is known.
#pragma once

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "cmat/attack/attack.h"
#include "cmat/core/error.h"
#include "golden_tensor.h"

namespace cmat::attack {

inline constexpr double no_radius = std::numeric_limits<double>::infinity();

/// 0, 1, ..., n-1
inline std::vector<std::int64_t> ids(std::int64_t n) {
  std::vector<std::int64_t> result(static_cast<std::size_t>(n));
  std::iota(result.begin(), result.end(), 0);
  return result;
}

inline std::vector<std::int64_t> to_ids(const at::Tensor& rows) {
  return {rows.data_ptr<std::int64_t>(), rows.data_ptr<std::int64_t>() + rows.size(0)};
}

/// The rows that `mask`, a golden array, marks.
inline at::Tensor marked(const nlohmann::json& mask, const at::Tensor& values,
                         std::int64_t dim = 0) {
  return values.index_select(dim, test::golden_tensor(mask).nonzero().squeeze(1));
}

/// Whether a and b are the same in the rows that `mask` [n] marks.
inline bool marked_rows_equal(const at::Tensor& a, const at::Tensor& b, const at::Tensor& mask) {
  const at::Tensor rows = mask.nonzero().squeeze(1);
  return a.index_select(0, rows).equal(b.index_select(0, rows));
}

/// The message of the usage Error that the call throws, or "".
template <typename Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "";
}

inline Norm golden_norm(const std::string& name) {
  if (name == "L1") return Norm::l1;
  return name == "L2" ? Norm::l2 : Norm::linf;
}

/// z = W x + b, everything in float64.
class LinearModel : public Classifier {
 public:
  LinearModel(at::Tensor weights, at::Tensor biases) : w_(weights), b_(biases) {}
  const at::Tensor& weights() const { return w_; }

  /// Of each image, the smallest distance in the norm to a point of the box where another class is
  /// as probable as the label; infinite where none is. By bisection, the slow way.
  std::vector<double> exact_distances(const at::Tensor& x, const at::Tensor& y, Norm norm);

 protected:
  at::Tensor do_logits(const at::Tensor& x) override { return x.flatten(1).matmul(w_.t()) + b_; }
  Gradient do_gradient(const at::Tensor& x, const LossFunction& loss) override {
    at::Tensor z = do_logits(x).detach().requires_grad_(true);
    const at::Tensor values = loss(z);
    values.sum().backward();
    return {z.grad().matmul(w_).view(x.sizes()), z.detach(), values.detach()};
  }
  at::Tensor do_jacobian(const at::Tensor& x) override {
    return w_.view({1, w_.size(0), x.size(1), x.size(2), x.size(3)})
        .expand({x.size(0), -1, -1, -1, -1});
  }
  at::Tensor do_features(const at::Tensor& x) override { return x.flatten(1); }

 private:
  at::Tensor w_, b_;
};

/// How far the form w.x can fall from x in the box by moves that "cost" lambda.
inline double reach(const double* x, const double* w, std::int64_t size, double lambda, Norm norm) {
  double sum = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    const double want = norm == Norm::linf ? lambda : lambda * std::abs(w[i]);
    sum += std::abs(w[i]) * std::min(want, w[i] > 0 ? x[i] : 1 - x[i]);
  }
  return sum;
}

/// The smallest distance at which w.x falls by f >= 0, infinite if it cannot. Linf and L2.
inline double plane_distance(const double* x, const double* w, std::int64_t size, double f,
                             Norm norm) {
  double low = 0, high = 1e6;
  if (reach(x, w, size, high, norm) < f) return std::numeric_limits<double>::infinity();
  for (int k = 0; k < 200; ++k) {
    const double middle = (low + high) / 2;
    (reach(x, w, size, middle, norm) < f ? low : high) = middle;
  }
  double largest = 0, squares = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    const double want = norm == Norm::linf ? high : high * std::abs(w[i]);
    const double move = w[i] == 0 ? 0 : std::min(want, w[i] > 0 ? x[i] : 1 - x[i]);
    largest = std::max(largest, move);
    squares += move * move;
  }
  return norm == Norm::linf ? largest : std::sqrt(squares);
}

inline std::vector<double> LinearModel::exact_distances(const at::Tensor& x, const at::Tensor& y,
                                                        Norm norm) {
  const at::Tensor z = do_logits(x), flat = x.flatten(1).contiguous();
  std::vector<double> result;
  for (std::int64_t i = 0; i < x.size(0); ++i) {
    const auto label = y[i].item<std::int64_t>();
    double nearest = std::numeric_limits<double>::infinity();
    for (std::int64_t c = 0; c < w_.size(0); ++c) {
      if (c == label) continue;
      const at::Tensor w = (w_[label] - w_[c]).contiguous();
      const double f = (z[i][label] - z[i][c]).item<double>();
      nearest = std::min(nearest, plane_distance(flat[i].const_data_ptr<double>(),
                                                 w.const_data_ptr<double>(), w.numel(), f, norm));
    }
    result.push_back(nearest);
  }
  return result;
}

/// A linear model and images with their predicted labels. `box`: the nearest boundary needs pixels
/// that stand at 0 or 1, or run into them; otherwise all pixels have room.
struct LinearCase {
  LinearModel model;
  at::Tensor x, y;
};

inline LinearCase linear_case(std::int64_t classes, bool box, std::uint64_t seed) {
  Random random({.seed = seed, .task = static_cast<std::uint64_t>(classes)});
  const std::int64_t n = 5, size = 3 * 4 * 4;
  const auto draw = [&](std::int64_t count, const auto& value) {
    std::vector<double> values(static_cast<std::size_t>(count));
    for (double& v : values) v = value();
    return at::tensor(values, at::kDouble);
  };
  const at::Tensor w = draw(classes * size, [&] { return random.normal(); }).view({classes, size});
  at::Tensor x =
      draw(n * size, [&] {
        return box ? std::clamp(random.uniform(-0.5, 1.5), 0.0, 1.0) : random.uniform(0.45, 0.55);
      }).view({n, 3, 4, 4});
  // Biases that bring the boundaries near for the first image.
  const at::Tensor biases = draw(classes, [&] { return random.normal(); }) * (box ? 3.0 : 2.0) -
                            w.matmul(x.flatten(1)[0]);
  LinearModel model(w, biases);
  const at::Tensor y = model.logits(x).argmax(1);
  return {model, x, y};
}

/// Some of a golden network's images, in another order and in a batch of their own, fare as they do
/// among all, whose result is returned.
inline AttackResult expect_rows_stand_alone(Attack& attack, Classifier& model,
                                            const test::GoldenNet& net, const Key& key = {},
                                            double tolerance = 1e-9) {
  const at::Tensor order = at::tensor({4, 0, 3}, at::kLong);
  const AttackResult all = attack.run(model, net.x, net.y, ids(net.x.size(0)), key);
  const AttackResult some = attack.run(model, net.x.index_select(0, order),
                                       net.y.index_select(0, order), to_ids(order), key);
  EXPECT_LE(test::max_difference(some.adversarial, all.adversarial.index_select(0, order)),
            tolerance);
  EXPECT_TRUE(some.fooled.equal(all.fooled.index_select(0, order)));
  return all;
}

}  // namespace cmat::attack
