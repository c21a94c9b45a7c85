// The weight bank's two passes over all weights, each against its yardstick.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "cmat/bench/workload.h"
#include "cmat/core/error.h"

namespace cmat::bench {
namespace {

using nn::WeightBank;

constexpr std::int64_t kLine = 64;  // bytes of a cache line

void require_weights(const WeightBank& bank) {
  if (bank.weights() == 0) {
    usage_error("this network shares no weights between tasks, so its bank is empty: measure ",
                "another --network");
  }
}

/// The layers' tensors of one kind, copied, to begin every repetition alike.
class Kept {
 public:
  explicit Kept(WeightBank& bank) : bank_(bank) {
    for (const auto& layer : bank.layers()) {
      kept_.push_back({layer.state.values.clone(), layer.state.owners.clone()});
    }
  }
  void bring_back() const {
    for (std::size_t i = 0; i < kept_.size(); ++i) {
      bank_.layers()[i].state.values.copy_(kept_[i].values);
      bank_.layers()[i].state.owners.copy_(kept_[i].owners);
    }
  }

 private:
  struct Pair {
    at::Tensor values, owners;
  };
  WeightBank& bank_;
  std::vector<Pair> kept_;
};

/// Bytes that an update of one tensor (float32, picks trained, averages on) moves between processor
/// and memory: whole lines, each counted once where it is read and once where it is written.
double bytes_moved(const nn::BankTensors& s, int task) {
  const auto* owners = s.owners.const_data_ptr<std::uint8_t>();
  constexpr std::int64_t kEntries = kLine / std::int64_t{sizeof(float)};
  std::int64_t lines_own = 0, lines_older = 0, lines_any = 0;
  for (std::int64_t at = 0; at < s.owners.numel(); at += kEntries) {
    bool own = false, older = false;
    for (std::int64_t i = at; i < std::min(at + kEntries, s.owners.numel()); ++i) {
      own = own || owners[i] == task;
      older = older || (owners[i] != 0 && owners[i] < task);
    }
    lines_own += own;
    lines_older += older;
    lines_any += own || older;
  }
  if (!s.scores.defined()) lines_older = 0, lines_any = lines_own;
  const std::int64_t averages = s.average_values.defined() ? 2 : 0;
  // Read: value and gradient of all. Read and written: an own entry's value, momentum and average;
  // a pick's score, two moments and average. Written only: the effective value of all.
  const std::int64_t lines =
      (2 + 1) * lines_any + (1 + 2 + averages) * lines_own + (2 + 2 + 2 + averages) * lines_older;
  return static_cast<double>(lines * kLine + s.owners.numel());
}

/// a[i] = a[i] * c + d over as many floats as read and write `bytes` together.
double pass_seconds(double bytes, int repeats) {
  const auto n = static_cast<std::int64_t>(bytes / 2 / sizeof(float));
  const at::Tensor buffer = at::ones({n}, at::TensorOptions(at::kFloat));
  auto* a = buffer.data_ptr<float>();
  return median_seconds(repeats, [&] {
    at::parallel_for(0, n, 16384, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) a[i] = a[i] * 0.999f + 0.001f;
    });
  });
}

/// Pruning as CPG's authors wrote it down: per layer, the candidates as a tensor of their own,
/// torch's selection on it, a new mask, and zeros where it is free.
std::int64_t prune_by_kthvalue(WeightBank& bank, int task, double ratio) {
  std::int64_t freed = 0;
  for (auto& layer : bank.layers()) {
    const at::Tensor &values = layer.state.values, &mask = layer.state.owners;
    const at::Tensor candidates = values.masked_select(mask.eq(task).logical_or(mask.eq(0))).abs();
    const std::int64_t k = nn::round_half_even(ratio * static_cast<double>(candidates.numel()));
    if (k <= 0) continue;
    const double cutoff = std::get<0>(candidates.kthvalue(k)).item<double>();
    const at::Tensor drop = values.abs().le(cutoff).logical_and(mask.eq(task));
    freed += drop.sum().item<std::int64_t>();
    mask.masked_fill_(drop, 0);
    values.masked_fill_(mask.eq(0), 0);
  }
  return freed;
}

/// The bank of the last task, at the start of a stage with averages.
WeightBank& bank_in_a_stage(continual::Setup& setup, const Options& options) {
  begin_last_task(setup, options);
  WeightBank& bank = setup.model->bank();
  require_weights(bank);
  setup.model->begin_stage(/*average=*/true);
  return bank;
}

}  // namespace

nlohmann::json update(const Options& options) {
  const std::unique_ptr<continual::Setup> setup = make_workload(options);
  const c10::NoGradGuard no_grad;
  WeightBank& bank = bank_in_a_stage(*setup, options);
  std::vector<at::Tensor> gradients;
  double bytes = 0;
  for (const auto& layer : bank.layers()) {
    gradients.push_back(at::randn_like(layer.state.values).mul_(1e-3));
    bytes += bytes_moved(layer.state, bank.active_task());
  }
  nn::UpdateOptions step;
  step.sgd.lr = 1e-6;
  const double seconds = median_seconds(options.repeats, [&] { bank.update(gradients, step); });
  const double pass = pass_seconds(bytes, options.repeats);
  nlohmann::json result = described(options);
  result["bench"] = "update";
  result["update_seconds"] = seconds;
  result["pass_seconds"] = pass;
  result["ratio"] = seconds / pass;
  result["weights"] = bank.weights();
  result["bytes"] = static_cast<std::int64_t>(bytes);
  return result;
}

nlohmann::json prune(const Options& options) {
  constexpr double kRatio = 0.5;
  Options first = options;
  first.task = 1;
  const std::unique_ptr<continual::Setup> setup = make_workload(first);
  const c10::NoGradGuard no_grad;
  WeightBank& bank = bank_in_a_stage(*setup, first);
  const Kept kept(bank);
  const auto bring_back = [&] { kept.bring_back(); };
  std::int64_t freed = 0, expected = 0;
  const double seconds = median_seconds(
      options.repeats, [&] { freed = bank.prune(kRatio); }, bring_back);
  const double yardstick = median_seconds(
      options.repeats, [&] { expected = prune_by_kthvalue(bank, 1, kRatio); }, bring_back);
  if (freed != expected) {
    failure("pruning freed ", freed, " weights, but torch's kthvalue ", expected);
  }
  nlohmann::json result = described(first);
  result["bench"] = "prune";
  result["prune_seconds"] = seconds;
  result["kthvalue_seconds"] = yardstick;
  result["speedup"] = yardstick / seconds;
  result["weights"] = bank.weights();
  result["freed"] = freed;
  return result;
}

}  // namespace cmat::bench
