// cmat inspect: what is inside a run's network.
#include <ATen/Functions.h>

#include "cmat/continual/run.h"
#include "cmat/continual/setup.h"
#include "cmat/core/error.h"
#include "cmat/nn/effective.h"

namespace cmat::continual {
namespace {

using nlohmann::json;
using train::Sharing;

/// How many entries each owner has: 0 is free, then the tasks.
std::vector<std::int64_t> count_owners(const nn::WeightBank::Layer& layer) {
  const at::Tensor counts =
      at::bincount(layer.state.owners.to(at::kCPU).flatten(), {}, nn::kMaxTasks + 1);
  const auto* c = counts.const_data_ptr<std::int64_t>();
  return {c, c + counts.numel()};
}

/// Of each shared layer: its shape, and how much of it is whose.
json layer_rows(const Setup& setup) {
  train::Model& model = *setup.model;
  const bool separate = model.options().sharing == Sharing::separate;
  json rows = json::array();
  if (model.committed() == 0) return rows;
  for (std::size_t i = 0; i < model.bank_of(1).layers().size(); ++i) {
    const nn::WeightBank::Layer& first = model.bank_of(1).layers()[i];
    const std::vector<std::int64_t> counts = count_owners(first);
    std::vector<std::int64_t> own;
    for (std::int64_t task = 1; task <= model.committed(); ++task) {
      const nn::WeightBank::Layer& layer = model.bank_of(task).layers()[i];
      own.push_back((separate ? count_owners(layer) : counts)[static_cast<std::size_t>(task)]);
    }
    json row = {{"name", first.name},
                {"shape", first.state.values.sizes().vec()},
                {"weights", first.state.values.numel()},
                {"own", own}};
    row["free"] = separate ? json() : json(counts[0]);
    rows.push_back(row);
  }
  return rows;
}

/// Row k - 1: of each task before k, how many weights it owns and how many of them task k uses.
json pick_rows(const Setup& setup) {
  train::Model& model = *setup.model;
  json rows = json::array();
  for (std::int64_t task = 1; task <= model.committed(); ++task) {
    json row = json::array();
    if (model.options().sharing == Sharing::owned) {
      model.activate(task);
      const nn::PickCount count = model.bank_of(task).count_picks(
          static_cast<int>(task), model.parts()[static_cast<std::size_t>(task - 1)].picks,
          nn::shared_parameters(model.network(), model.shared_names()));
      for (std::size_t i = 0; i < count.owned.size(); ++i) {
        row.push_back({{"owned", count.owned[i]}, {"picked", count.picked[i]}});
      }
    }
    rows.push_back(row);
  }
  return rows;
}

/// Stored weights that would not be there without this task.
std::int64_t own_values(train::Model& model, const json& layers, std::int64_t task) {
  switch (model.options().sharing) {
    case Sharing::separate:
      return model.bank_of(task).weights();
    case Sharing::overwritten:
      return 0;  // every task uses, and overwrites, the same ones
    case Sharing::owned:
      break;
  }
  std::int64_t own = 0;
  for (const json& layer : layers) {
    own += layer.at("own")[static_cast<std::size_t>(task - 1)].get<std::int64_t>();
  }
  return own;
}

/// The task's network as it computes: sizes, and what of it cannot influence a logit.
json network_row(const Setup& setup, std::int64_t task) {
  setup.model->activate(task);
  nn::EffectiveNetwork network =
      nn::effective_network(setup.model->network(), setup.model->description());
  const std::int64_t channels = network.channels(), weights = network.weights();
  const nn::Removal removed = nn::remove_zero_channels(network);
  return {{"width", network.description.width},
          {"channels", channels},
          {"weights", weights},
          {"zero_channels", removed.channels},
          {"weights_of_zero_channels", removed.weights}};
}

json task_row(const Setup& setup, const json& layers, const json& picks, std::int64_t task) {
  train::Model& model = *setup.model;
  const nn::TaskPart& part = model.parts()[static_cast<std::size_t>(task - 1)];
  const std::int64_t own = own_values(model, layers, task);
  const auto values = own * static_cast<std::int64_t>(at::elementSize(model.options().dtype));
  std::int64_t older = 0, picked = 0;
  for (const json& from : picks[static_cast<std::size_t>(task - 1)]) {
    older += from.at("owned").get<std::int64_t>();
    picked += from.at("picked").get<std::int64_t>();
  }
  return {{"task", task},
          {"name", setup.task(task).name},
          {"classes", part.classes},
          {"own", own},
          {"older", older},
          {"picked", picked},
          {"bytes",
           {{"values", values},
            {"part", part.tensor_bytes()},
            {"picks", part.pick_bytes()},
            {"marginal", values + part.tensor_bytes() + part.pick_bytes()}}}};
}

json byte_totals(const train::Model& model) {
  std::int64_t total = model.value_bytes() + model.owner_bytes();
  for (const nn::TaskPart& part : model.parts()) total += part.tensor_bytes() + part.pick_bytes();
  json bytes = {{"values", model.value_bytes()}, {"owners", model.owner_bytes()}, {"total", total}};
  const auto tasks = static_cast<double>(std::max<std::int64_t>(1, model.committed()));
  bytes["amortised"] = static_cast<double>(total) / tasks;
  return bytes;
}

}  // namespace

json inspect(const std::filesystem::path& folder, const MachineOptions& machine) {
  const OpenedRun run = open_run(folder, machine);
  const Setup& setup = *run.setup;
  train::Model& model = *setup.model;
  const std::int64_t committed = model.committed();
  if (committed == 0) {
    failure("the run ", folder.string(),
            " has not finished a task yet, so there is nothing to look into");
  }
  json result = {{"run", folder.string()},
                 {"method", setup.method->label()},
                 {"architecture", setup.description.architecture},
                 {"width", model.width()},
                 {"tasks_in_stream", setup.stream.tasks.size()},
                 {"layers", layer_rows(setup)},
                 {"picks", pick_rows(setup)},
                 {"bytes", byte_totals(model)}};
  json tasks = json::array();
  // Fine-tuning has one network: while a task is learned, it is none of the finished ones.
  const bool computable = model.options().sharing != Sharing::overwritten ||
                          run.state.phase != train::RunState::Phase::stages;
  for (std::int64_t task = 1; task <= committed; ++task) {
    json row = task_row(setup, result["layers"], result["picks"], task);
    row["network"] = computable ? network_row(setup, task) : json();
    tasks.push_back(row);
  }
  result["tasks"] = tasks;
  return result;
}

}  // namespace cmat::continual
