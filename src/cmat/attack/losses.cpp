#include "cmat/attack/losses.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <limits>

#include "cmat/core/error.h"

namespace cmat::attack {
namespace {

// Keeps a quotient finite when its logits tie; the value of Croce and Hein (2020).
constexpr double tie_guard = 1e-12;

/// z_c of each example's own class c, [n].
at::Tensor pick(const at::Tensor& logits, const at::Tensor& classes) {
  return logits.gather(1, classes.unsqueeze(1)).squeeze(1);
}

/// The k largest logits in descending order, [n,k].
at::Tensor largest(const at::Tensor& logits, std::int64_t k, const char* loss) {
  if (logits.size(1) < k) {
    usage_error("the ", loss, " loss needs at least ", k, " classes, but the network has ",
                logits.size(1));
  }
  return std::get<0>(logits.topk(k, 1));
}

}  // namespace

at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& labels) {
  return at::cross_entropy_loss(logits, labels, {}, at::Reduction::None);
}

at::Tensor margin(const at::Tensor& logits, const at::Tensor& labels) {
  // Zero would be the wrong mask for the label's own logit: all the others may be negative.
  constexpr double lowest = -std::numeric_limits<double>::infinity();
  const at::Tensor others = logits.scatter(1, labels.unsqueeze(1), lowest);
  return std::get<0>(others.max(1)) - pick(logits, labels);
}

at::Tensor dlr(const at::Tensor& logits, const at::Tensor& labels) {
  const at::Tensor top = largest(logits, 3, "DLR");
  return margin(logits, labels) / (top.select(1, 0) - top.select(1, 2) + tie_guard);
}

at::Tensor dlr_targeted(const at::Tensor& logits, const at::Tensor& labels,
                        const at::Tensor& targets) {
  const at::Tensor top = largest(logits, 4, "targeted DLR");
  const at::Tensor scale = top.select(1, 0) - (top.select(1, 2) + top.select(1, 3)) / 2;
  return margin_targeted(logits, labels, targets) / (scale + tie_guard);
}

at::Tensor cross_entropy_targeted(const at::Tensor& logits, const at::Tensor& targets) {
  return cross_entropy(logits, targets).neg();
}

at::Tensor margin_targeted(const at::Tensor& logits, const at::Tensor& labels,
                           const at::Tensor& targets) {
  return pick(logits, targets) - pick(logits, labels);
}

std::string loss_name(Loss loss) {
  switch (loss) {
    case Loss::cross_entropy:
      return "cross-entropy";
    case Loss::margin:
      return "margin";
    case Loss::dlr:
      return "DLR";
    case Loss::cross_entropy_targeted:
      return "targeted cross-entropy";
    case Loss::margin_targeted:
      return "targeted margin";
    case Loss::dlr_targeted:
      return "targeted DLR";
  }
  return "";
}

bool is_targeted(Loss loss) {
  return loss == Loss::cross_entropy_targeted || loss == Loss::margin_targeted ||
         loss == Loss::dlr_targeted;
}

at::Tensor loss_values(Loss loss, const at::Tensor& logits, const at::Tensor& labels,
                       const at::Tensor& targets) {
  const std::int64_t classes = logits.size(1);
  switch (loss) {
    case Loss::cross_entropy:
      return cross_entropy(logits, labels);
    case Loss::margin:
      return margin(logits, labels);
    case Loss::dlr:
      return classes < 3 ? margin(logits, labels) : dlr(logits, labels);
    case Loss::cross_entropy_targeted:
      return cross_entropy_targeted(logits, targets);
    case Loss::margin_targeted:
      break;
    case Loss::dlr_targeted:
      if (classes >= 4) return dlr_targeted(logits, labels, targets);
  }
  return margin_targeted(logits, labels, targets);
}

}  // namespace cmat::attack
