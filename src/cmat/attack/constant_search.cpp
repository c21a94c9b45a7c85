#include "cmat/attack/constant_search.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

namespace cmat::attack {
namespace {

constexpr double kUnknown = 1e10;  ///< stands for a constant that has not succeeded yet
constexpr int kManySearches = 10;

}  // namespace

ConstantSearch::ConstantSearch(double first, int searches, const at::Tensor& images)
    : left_(searches),
      ends_high_(searches >= kManySearches),
      constant_(at::full({images.size(0)}, first, images.options())),
      low_(at::zeros_like(constant_)),
      high_(at::full_like(constant_, kUnknown)) {}

void ConstantSearch::learn(const at::Tensor& fooled) {
  high_ = at::where(fooled, at::minimum(high_, constant_), high_);
  low_ = at::where(fooled, low_, at::maximum(low_, constant_));
  constant_ = at::where(high_ < kUnknown, (low_ + high_) / 2, constant_ * 10);
  if (--left_ == 1 && ends_high_) constant_ = high_;
}

void FallingLoss::look(const at::Tensor& loss) {
  if (before_.defined()) going_ = going_.logical_and(loss <= 0.9999 * before_);
  before_ = loss;
}

}  // namespace cmat::attack
