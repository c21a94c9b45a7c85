#include "cmat/continual/certificate.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <map>

#include "cmat/continual/out_of_memory.h"
#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/json_lines.h"
#include "cmat/nn/tensors.h"

namespace cmat::continual {

using nlohmann::json;

std::vector<std::int64_t> probe_images(const Setup& setup, std::int64_t task) {
  const data::Task& t = setup.task(task);
  const auto count = std::min<std::size_t>(
      t.test.size(), static_cast<std::size_t>(setup.settings.evaluation.probe));
  std::vector<std::int64_t> probe;  // evenly spaced, so that every class is likely to be among them
  for (std::size_t i = 0; i < count; ++i) probe.push_back(t.test[i * t.test.size() / count]);
  return probe;
}

at::Tensor probe_logits(Setup& setup, std::int64_t task, const std::vector<std::int64_t>& probe) {
  const data::Task& t = setup.task(task);
  return eval::clean_logits(setup.model->network(), t.source->test, t, probe, setup.eval_options());
}

std::string tensor_digest(const at::Tensor& tensor) {
  std::string input;
  nn::append_for_digest(input, "logits", tensor);
  return sha256_hex(input);
}

train::Certificate make_certificate(Setup& setup, std::int64_t task,
                                    const MachineOptions& machine) {
  train::Certificate certificate;
  certificate.probe = probe_images(setup, task);
  certificate.weight_digest = setup.model->weight_digest();
  certificate.logits_digest = tensor_digest(probe_logits(setup, task, certificate.probe));
  certificate.logits_key = logits_key(setup.settings, machine);
  return certificate;
}

namespace {

constexpr double kRoundingTolerance = 1e-3;  // of the largest logit

/// The weight digests that events.jsonl recorded on the days of the commits, by task.
std::map<std::int64_t, std::string> recorded_digests(const std::filesystem::path& run) {
  std::map<std::int64_t, std::string> digests;
  read_json_lines(run / "events.jsonl", [&](const json& event, const std::string&) {
    if (event.value("event", "") != "commit") return;
    digests[event.value("task", std::int64_t{0})] = event.value("weight_digest", "");
  });
  return digests;
}

/// Logits as they were stored with the finished model, if they were.
at::Tensor stored_logits(const TensorFile& stored, std::int64_t task) {
  const auto found = stored.tensors.find(text("task", task, "/logits"));
  return found == stored.tensors.end() ? at::Tensor() : nn::from_bytes(found->second);
}

}  // namespace

json verify(const std::filesystem::path& folder, const MachineOptions& asked) try {
  OpenedRun run = open_run(folder, asked);
  Setup& setup = *run.setup;
  if (setup.model->committed() == 0) {
    failure("the run ", folder.string(),
            " has not finished a task yet, so there is nothing to prove");
  }
  const std::string here = logits_key(setup.settings, run.machine);
  const auto recorded = recorded_digests(folder);
  json result = {{"identical", true}, {"tasks", json::array()}, {"key", here}};
  for (std::int64_t task = 1; task <= setup.model->committed(); ++task) {
    const train::Certificate& c = run.state.certificates.at(static_cast<std::size_t>(task - 1));
    setup.model->activate(task);
    const auto record = recorded.find(task);
    const bool weights = setup.model->weight_digest() == c.weight_digest &&
                         (record == recorded.end() || record->second == c.weight_digest);
    const at::Tensor logits = probe_logits(setup, task, c.probe);
    json row = {{"task", task},
                {"name", setup.task(task).name},
                {"weights_identical", weights},
                {"logits_identical", json()},
                {"max_logit_difference", json()}};
    bool same = weights;
    if (const at::Tensor kept = stored_logits(run.certificate, task); kept.defined()) {
      if (kept.sizes() != logits.sizes())
        failure("the stored logits of task ", task, " have another shape");
      const double difference = kept.sub(logits).abs().max().item<double>();
      row["max_logit_difference"] = difference;
      // Elsewhere sums may be rounded otherwise, which moves logits by far less than this.
      const double scale = std::max(1.0, kept.abs().max().item<double>());
      if (!(difference <= kRoundingTolerance * scale)) same = false;
    }
    if (c.logits_key == here) {
      const bool bits = tensor_digest(logits) == c.logits_digest;
      row["logits_identical"] = bits;
      same = same && bits;
    } else {
      result["note"] =
          text("the run's logits were taken with ", c.logits_key, "; here it is ", here,
               ", where the last bits of a sum may differ: only the weights are compared ",
               "to the bit");
    }
    if (!same) result["identical"] = false;
    result["tasks"].push_back(row);
  }
  return result;
} catch (...) {
  rethrow_explained();
}

}  // namespace cmat::continual
