#include "cmat/train/task_heads.h"

#include <ATen/Functions.h>

#include <algorithm>

#include "cmat/core/error.h"
#include "cmat/data/joint.h"

namespace cmat::train {
namespace {

/// exp(kAbsent - any logit) is exactly 0 in float32, and products with it are still finite.
constexpr double kAbsent = -1e4;

}  // namespace

TaskHeads::TaskHeads(nn::Network& network, const std::vector<std::int64_t>& classes)
    : NetworkWrapper(network) {
  const auto tasks = static_cast<std::int64_t>(classes.size());
  const std::int64_t most = *std::max_element(classes.begin(), classes.end());
  columns_ = at::zeros({tasks, most}, at::kLong);
  missing_ = at::ones({tasks, most}, at::kBool);
  first_ = at::zeros({tasks}, at::kLong);
  std::vector<std::int64_t> owner;
  std::int64_t column = 0;
  for (std::int64_t task = 0; task < tasks; ++task) {
    const std::int64_t count = classes[static_cast<std::size_t>(task)];
    first_[task].fill_(column);
    columns_[task].narrow(0, 0, count).copy_(at::arange(column, column + count, at::kLong));
    missing_[task].narrow(0, 0, count).fill_(false);
    owner.insert(owner.end(), static_cast<std::size_t>(count), task);
    column += count;
  }
  task_of_ = at::tensor(owner, at::kLong);
}

at::Tensor TaskHeads::choose(const at::Tensor& labels) {
  const at::Tensor here = labels.to(at::kCPU);
  selected_ = task_of_.index_select(0, here);
  return here.sub(first_.index_select(0, selected_)).to(labels.device());
}

void TaskHeads::choose_task(std::size_t index) {
  selected_ = at::full({1}, static_cast<std::int64_t>(index), at::kLong);
}

at::Tensor TaskHeads::forward(const at::Tensor& images) {
  const at::Tensor logits = NetworkWrapper::forward(images);
  const std::int64_t n = logits.size(0), chosen = selected_.size(0);
  if (chosen != 1 && chosen != n) {
    failure("a network with a head a task was told the tasks of ", chosen, " images and got ", n,
            "; this is a defect of the program, please report it");
  }
  const auto rows = [&](const at::Tensor& table) {
    return table.index_select(0, selected_).expand({n, -1}).to(logits.device());
  };
  return logits.gather(1, rows(columns_)).masked_fill(rows(missing_), kAbsent);
}

eval::Verdicts evaluate_heads(nn::Network& network, const data::Task& joint, attack::Attack* attack,
                              const eval::EvalOptions& options, const Key& key) {
  TaskHeads heads(network, joint.joined);
  eval::Verdicts all;
  const auto append = [](auto& to, const auto& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  for (std::size_t i = 0; i < joint.joined.size(); ++i) {
    const data::Task task = data::part_of(joint, i);
    if (task.validation.empty()) continue;
    heads.choose_task(i);
    const eval::Verdicts one =
        eval::evaluate(heads, task.source->train, task, task.validation, attack, options, key);
    append(all.samples, one.samples);
    append(all.labels, one.labels);
    append(all.predictions, one.predictions);
    append(all.losses, one.losses);
  }
  return all;
}

}  // namespace cmat::train
