#include "cmat/eval/robust_eval.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>

#include "cmat/attack/losses.h"
#include "cmat/core/error.h"
#include "cmat/defense/batch.h"

namespace cmat::eval {
namespace {

/// `count` indices from `begin` on, filled up to a batch by repeating the first.
std::vector<std::int64_t> padded(std::span<const std::int64_t> indices, std::int64_t begin,
                                 std::int64_t count, std::int64_t batch) {
  std::vector<std::int64_t> chosen(indices.begin() + begin, indices.begin() + begin + count);
  chosen.resize(static_cast<std::size_t>(std::max(count, batch)), chosen.front());
  return chosen;
}

/// `size` rows from `first` on, filled up by repeating row 0.
at::Tensor rows_from(const at::Tensor& rows, std::int64_t first, std::int64_t size) {
  if (first + size <= rows.size(0)) return rows.narrow(0, first, size);
  const at::Tensor index = at::arange(first, first + size, rows.options().dtype(at::kLong));
  return rows.index_select(0, index.masked_fill(index >= rows.size(0), 0));
}

/// What the network says of the first `count` images, batch by batch.
void append_predictions(Verdicts& verdicts, attack::Classifier& model, const at::Tensor& images,
                        const at::Tensor& labels, std::int64_t count, std::int64_t batch) {
  const at::Tensor on_cpu = labels.to(at::kCPU);
  for (std::int64_t first = 0; first < count; first += batch) {
    const at::Tensor logits = model.verdict_logits(rows_from(images, first, batch));
    const at::Tensor predicted = logits.argmax(1).to(at::kCPU);
    const at::Tensor loss = attack::cross_entropy(logits, rows_from(labels, first, batch))
                                .to(at::kCPU, at::kDouble)
                                .contiguous();
    for (std::int64_t i = 0; i < std::min(batch, count - first); ++i) {
      verdicts.labels.push_back(on_cpu.const_data_ptr<std::int64_t>()[first + i]);
      verdicts.predictions.push_back(predicted.const_data_ptr<std::int64_t>()[i]);
      verdicts.losses.push_back(loss.const_data_ptr<double>()[i]);
    }
  }
}

/// What each part of an attack did to the first `count` images.
void add_parts(Verdicts& verdicts, const attack::AttackResult& result, std::int64_t count) {
  if (result.parts.empty()) return;
  if (verdicts.parts.empty()) {
    for (const attack::AttackPart& part : result.parts)
      verdicts.parts.push_back({.name = part.name, .recipe = part.recipe});
  }
  const at::Tensor broken_by = result.broken_by.to(at::kCPU), fooled = result.fooled.to(at::kCPU);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t by = broken_by.const_data_ptr<std::int64_t>()[i];
    const bool survived = by < 0 && !fooled.const_data_ptr<bool>()[i];
    verdicts.broken_by.push_back(by);
    for (std::size_t p = 0; p < verdicts.parts.size(); ++p) {
      const auto part = static_cast<std::int64_t>(p);
      verdicts.parts[p].attacked += survived || by >= part;
      verdicts.parts[p].broken += by == part;
    }
  }
  for (std::size_t p = 0; p < verdicts.parts.size(); ++p) {
    verdicts.parts[p].forwards += result.parts[p].forwards;
    verdicts.parts[p].backwards += result.parts[p].backwards;
  }
}

void add_observed(Verdicts& verdicts, const Observed& more) {
  if (!verdicts.observed) verdicts.observed.emplace();
  verdicts.observed->silent_successes += more.silent_successes;
  verdicts.observed->rise += more.rise;
  verdicts.observed->late_rise += more.late_rise;
  verdicts.observed->passes = std::max(verdicts.observed->passes, more.passes);
}

}  // namespace

std::int64_t Verdicts::correct() const {
  std::int64_t n = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) n += labels[i] == predictions[i];
  return n;
}

bool Verdicts::reached(std::size_t row) const {
  return targets.empty() ? predictions[row] != labels[row] : predictions[row] == targets[row];
}

std::int64_t Verdicts::reached() const {
  std::int64_t n = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) n += reached(i);
  return n;
}

double Verdicts::mean_loss() const {
  double sum = 0;
  for (double loss : losses) sum += loss;
  return losses.empty() ? 0 : sum / static_cast<double>(losses.size());
}

Verdicts evaluate(attack::Classifier& judge, attack::Classifier* attacked, attack::Attack* attack,
                  const BatchMaker& batches, std::span<const std::int64_t> indices,
                  const EvalOptions& options, const Key& key, const EvalHooks& hooks) {
  Verdicts verdicts = hooks.begun;
  const auto total = static_cast<std::int64_t>(indices.size());
  const std::int64_t group = attack ? options.batch * options.batches_at_once : options.batch;
  auto begin = static_cast<std::int64_t>(verdicts.labels.size());
  verdicts.samples.assign(indices.begin(), indices.end());
  if (attack == nullptr) verdicts.forwards = 1;
  std::int64_t count = 0, passes_before = 0, size = 1;
  std::unique_ptr<WatchedClassifier> watched;
  if (attack != nullptr) {
    watched = std::make_unique<WatchedClassifier>(*attacked, [&] {
      if (!hooks.within || !(hooks.most_passes > 0)) return;
      const std::int64_t passes = watched->forwards() + watched->backwards() - passes_before;
      const double share =
          static_cast<double>(passes) /
          (hooks.most_passes * static_cast<double>(std::max<std::int64_t>(size, 1)));
      hooks.within(static_cast<double>(begin) + std::min(share, 1.0) * static_cast<double>(count));
    });
  }
  for (; begin < total; begin += group) {
    count = std::min(group, total - begin);
    const defense::Batch batch = batches(padded(indices, begin, count, options.batch));
    at::Tensor shown = batch.images;
    const at::Tensor targets = hooks.targets ? hooks.targets(batch) : at::Tensor();
    if (attack != nullptr) {
      size = shown.size(0);
      passes_before = watched->forwards() + watched->backwards();
      const at::Tensor labels =
          hooks.attack_labels ? hooks.attack_labels(batch.images, batch.labels) : batch.labels;
      if (hooks.threat) watched->observe(batch.images, {labels, targets}, *hooks.threat);
      const attack::AttackResult result =
          targets.defined()
              ? attack->run_targeted(*watched, batch.images, labels, targets, batch.sample_ids, key)
              : attack->run(*watched, batch.images, labels, batch.sample_ids, key);
      shown = result.adversarial;
      add_parts(verdicts, result, count);
      if (hooks.threat) add_observed(verdicts, watched->end(result.fooled, count));
      const double weight = static_cast<double>(count) / static_cast<double>(total * size);
      verdicts.forwards += weight * static_cast<double>(result.forwards);
      verdicts.backwards += weight * static_cast<double>(result.backwards);
      if (hooks.keep)
        hooks.keep(
            indices.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)),
            shown.narrow(0, 0, count));
    }
    append_predictions(verdicts, judge, shown, batch.labels, count, options.batch);
    if (targets.defined()) {
      const at::Tensor wanted = targets.narrow(0, 0, count).to(at::kCPU).contiguous();
      const auto* first = wanted.const_data_ptr<std::int64_t>();
      verdicts.targets.insert(verdicts.targets.end(), first, first + count);
    }
    if (hooks.group_done) hooks.group_done(verdicts);
    if (hooks.progress) hooks.progress(begin + count);
  }
  return verdicts;
}

Verdicts evaluate(nn::Network& network, const data::ImageSet& images, const data::Task& task,
                  std::span<const std::int64_t> indices, attack::Attack* attack,
                  const EvalOptions& options, const Key& key, const EvalProgress& progress) {
  // Clean images need no more than the verdicts, which are libtorch's.
  const std::unique_ptr<attack::Classifier> model =
      attack ? attack::make_classifier(network)
             : std::make_unique<attack::NetworkClassifier>(network);
  EvalHooks hooks;
  hooks.progress = progress;
  return evaluate(
      *model, model.get(), attack,
      [&](std::span<const std::int64_t> chosen) {
        return defense::make_batch(images, task, chosen, {}, key, options.device);
      },
      indices, options, key, hooks);
}

at::Tensor clean_logits(nn::Network& network, const data::ImageSet& images, const data::Task& task,
                        std::span<const std::int64_t> indices, const EvalOptions& options) {
  attack::NetworkClassifier model(network);
  std::vector<at::Tensor> rows;
  const auto total = static_cast<std::int64_t>(indices.size());
  for (std::int64_t begin = 0; begin < total; begin += options.batch) {
    const std::int64_t count = std::min(options.batch, total - begin);
    const std::vector<std::int64_t> chosen = padded(indices, begin, count, options.batch);
    const defense::Batch batch = defense::make_batch(images, task, chosen, {}, {}, options.device);
    rows.push_back(model.logits(batch.images).narrow(0, 0, count).to(at::kCPU));
  }
  if (rows.empty()) failure("task ", task.name, " has no images to compute logits for");
  return at::cat(rows).contiguous();
}

PairedDifference paired_difference(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size() || a.empty())
    failure("a paired difference needs two equally long, non-empty lists");
  const auto n = static_cast<double>(a.size());
  double mean = 0;
  for (std::size_t i = 0; i < a.size(); ++i) mean += (a[i] - b[i]) / n;
  double squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) squares += (a[i] - b[i] - mean) * (a[i] - b[i] - mean);
  return {mean, a.size() > 1 ? std::sqrt(squares / (n - 1) / n) : 0};
}

}  // namespace cmat::eval
