#include "cmat/eval/robust_eval.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>

#include "cmat/attack/losses.h"
#include "cmat/core/error.h"
#include "cmat/defense/batch.h"

namespace cmat::eval {
namespace {

/// The indices of one batch, filled up to the fixed size by repeating the first.
std::vector<std::int64_t> padded(std::span<const std::int64_t> indices, std::int64_t begin,
                                 std::int64_t batch) {
  const std::int64_t end =
      std::min<std::int64_t>(begin + batch, static_cast<std::int64_t>(indices.size()));
  std::vector<std::int64_t> chosen(indices.begin() + begin, indices.begin() + end);
  chosen.resize(static_cast<std::size_t>(batch), chosen.front());
  return chosen;
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
  for (std::int64_t begin = 0; begin < total; begin += options.batch) {
    const std::vector<std::int64_t> chosen = padded(indices, begin, options.batch);
    const defense::Batch batch = defense::make_batch(images, task, chosen, {}, key, options.device);
    at::Tensor shown = batch.images;
    if (attack != nullptr) {
      shown = attack->run(*model, batch.images, batch.labels, batch.sample_ids, key).adversarial;
    }
    const at::Tensor logits = model->verdict_logits(shown);
    const at::Tensor predicted = logits.argmax(1).to(at::kCPU);
    const at::Tensor loss =
        attack::cross_entropy(logits, batch.labels).to(at::kCPU, at::kDouble).contiguous();
    const at::Tensor labels = batch.labels.to(at::kCPU);
    const std::int64_t count = std::min(options.batch, total - begin);
    for (std::int64_t i = 0; i < count; ++i) {
      verdicts.samples.push_back(chosen[static_cast<std::size_t>(i)]);
      verdicts.labels.push_back(labels.const_data_ptr<std::int64_t>()[i]);
      verdicts.predictions.push_back(predicted.const_data_ptr<std::int64_t>()[i]);
      verdicts.losses.push_back(loss.const_data_ptr<double>()[i]);
    }
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
    const std::vector<std::int64_t> chosen = padded(indices, begin, options.batch);
    const defense::Batch batch = defense::make_batch(images, task, chosen, {}, {}, options.device);
    rows.push_back(model.logits(batch.images)
                       .narrow(0, 0, std::min(options.batch, total - begin))
                       .to(at::kCPU));
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
