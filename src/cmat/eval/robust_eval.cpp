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

}  // namespace

std::int64_t Verdicts::correct() const {
  std::int64_t n = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) n += labels[i] == predictions[i];
  return n;
}

double Verdicts::mean_loss() const {
  double sum = 0;
  for (double loss : losses) sum += loss;
  return losses.empty() ? 0 : sum / static_cast<double>(losses.size());
}

Verdicts evaluate(nn::Network& network, const data::ImageSet& images, const data::Task& task,
                  std::span<const std::int64_t> indices, attack::Attack* attack,
                  const EvalOptions& options, const Key& key, const EvalProgress& progress) {
  Verdicts verdicts;
  // Clean images need no more than the verdicts, which are libtorch's.
  const std::unique_ptr<attack::Classifier> model =
      attack ? attack::make_classifier(network)
             : std::make_unique<attack::NetworkClassifier>(network);
  const auto total = static_cast<std::int64_t>(indices.size());
  const std::int64_t group = attack ? options.batch * options.batches_at_once : options.batch;
  verdicts.samples.assign(indices.begin(), indices.end());
  if (attack == nullptr) verdicts.forwards = 1;
  for (std::int64_t begin = 0; begin < total; begin += group) {
    const std::int64_t count = std::min(group, total - begin);
    const std::vector<std::int64_t> chosen = padded(indices, begin, count, options.batch);
    const defense::Batch batch = defense::make_batch(images, task, chosen, {}, key, options.device);
    at::Tensor shown = batch.images;
    if (attack != nullptr) {
      const attack::AttackResult result =
          attack->run(*model, batch.images, batch.labels, batch.sample_ids, key);
      shown = result.adversarial;
      add_parts(verdicts, result, count);
      const double weight = static_cast<double>(count) / static_cast<double>(total * shown.size(0));
      verdicts.forwards += weight * static_cast<double>(result.forwards);
      verdicts.backwards += weight * static_cast<double>(result.backwards);
    }
    append_predictions(verdicts, *model, shown, batch.labels, count, options.batch);
    if (progress) progress(begin + count);
  }
  return verdicts;
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
