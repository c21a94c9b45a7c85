// Who owns and who picks which weights, layer by layer, from model.safetensors.
#include <algorithm>

#include "cmat/core/error.h"
#include "cmat/core/tensor_file.h"
#include "cmat/report/page/parts.h"
#include "cmat/report/page/sections.h"
#include "cmat/report/wording.h"

namespace cmat::report {
namespace {

/// What each layer's weights are used for: [layer][task].
struct Ownership {
  std::vector<std::string> layers;
  std::vector<std::int64_t> weights;
  std::vector<std::vector<std::int64_t>> own, picked, older;
  std::vector<std::vector<std::int64_t>> owned_by, picked_from;  ///< [task][earlier task]
  std::size_t tasks = 0;
};

/// The leading rows and columns of a layer that are a task's, from the description of its network.
std::pair<std::int64_t, std::int64_t> corner_of(const nlohmann::json& networks, std::size_t task,
                                                const std::string& layer) {
  const Field all(networks, "networks");
  const std::vector<Field> indices = all["tasks"].items(),
                           descriptions = all["descriptions"].items();
  const auto index = task <= indices.size() ? indices[task - 1].integer() : std::nullopt;
  if (!index || *index < 0 || static_cast<std::size_t>(*index) >= descriptions.size())
    return {-1, -1};
  for (const Field& each : descriptions[static_cast<std::size_t>(*index)]["layers"].items()) {
    if (each["name"].string_or("") + ".weight" != layer) continue;
    return {each["out"].integer().value_or(-1), each["in"].integer().value_or(-1)};
  }
  return {-1, -1};
}

/// Adds what a task picks in a layer to the counts.
void count_picks(const TensorBytes& owners, const std::string* bits, std::size_t task,
                 std::pair<std::int64_t, std::int64_t> corner, std::size_t layer,
                 Ownership& result) {
  const std::int64_t inputs = owners.shape.size() > 1 ? owners.shape[1] : 1;
  std::int64_t inner = 1;
  for (std::size_t i = 2; i < owners.shape.size(); ++i) inner *= owners.shape[i];
  std::size_t bit = 0;
  for (std::size_t i = 0; i < owners.bytes.size(); ++i) {
    const auto owner = static_cast<unsigned char>(owners.bytes[i]);
    if (owner == 0 || owner >= task) continue;
    const auto place = static_cast<std::int64_t>(i) / std::max<std::int64_t>(1, inner);
    const bool inside = (corner.first < 0 || place / inputs < corner.first) &&
                        (corner.second < 0 || place % inputs < corner.second);
    if (!inside) continue;
    bool picked = true;
    if (bits != nullptr) {
      picked = bit / 8 < bits->size() &&
               (static_cast<unsigned char>((*bits)[bit / 8]) >> bit % 8 & 1) != 0;
      ++bit;
    }
    ++result.older[layer][task - 1];
    ++result.owned_by[task - 1][owner - 1U];
    if (!picked) continue;
    ++result.picked[layer][task - 1];
    ++result.picked_from[task - 1][owner - 1U];
  }
}

/// Nothing where tasks do not share one bank, or the run is not finished.
std::optional<Ownership> ownership_of(const ReportedRun& run) {
  const std::filesystem::path path = run.records.folder / "model.safetensors";
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return {};
  const TensorFile file = read_tensor_file(path);
  const auto found = file.metadata.find("networks");
  if (found == file.metadata.end()) return {};
  const nlohmann::json networks = nlohmann::json::parse(found->second, nullptr, false);
  if (!networks.is_object() || networks.value("sharing", "") != "owned") return {};
  Ownership result;
  result.tasks = networks.value("tasks", nlohmann::json::array()).size();
  if (result.tasks == 0 || result.tasks > 255) return {};
  result.owned_by.assign(result.tasks, std::vector<std::int64_t>(result.tasks));
  result.picked_from = result.owned_by;
  const std::string prefix = "model/bank0/", suffix = "/owners";
  // In the order in which images pass through them.
  std::vector<std::string> names;
  const Field all(networks, "networks");
  for (const Field& description : all["descriptions"].items()) {
    for (const Field& layer : description["layers"].items()) {
      const std::string name = layer["name"].string_or("") + ".weight";
      if (file.tensors.contains(prefix + name + suffix) &&
          std::find(names.begin(), names.end(), name) == names.end())
        names.push_back(name);
    }
  }
  for (const std::string& name : names) {
    const TensorBytes& owners = file.tensors.at(prefix + name + suffix);
    const std::size_t layer = result.layers.size();
    result.layers.push_back(name.substr(0, name.size() - 7));
    result.weights.push_back(static_cast<std::int64_t>(owners.bytes.size()));
    for (auto* counts : {&result.own, &result.picked, &result.older})
      counts->emplace_back(result.tasks);
    for (const char c : owners.bytes) {
      const auto owner = static_cast<unsigned char>(c);
      if (owner > 0 && owner <= result.tasks) ++result.own[layer][owner - 1U];
    }
    for (std::size_t task = 1; task <= result.tasks; ++task) {
      const auto bits = file.tensors.find(text("model/task", task, '/', name, "/picks"));
      count_picks(owners, bits == file.tensors.end() ? nullptr : &bits->second.bytes, task,
                  corner_of(networks, task, name), layer, result);
    }
  }
  if (result.layers.empty()) return {};
  return result;
}

std::optional<double> percent_of(std::int64_t part, std::int64_t whole) {
  if (whole <= 0) return {};
  return 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

void add_one_ownership(const ReportInputs& inputs, const ReportedRun& run, const Ownership& o,
                       Document& page) {
  const std::string command = "cmat inspect " + printable(run.records.folder.string());
  HeatMap own{"layer", "task", "owned, %", o.layers, numbers_to(o.tasks), {}, {}, 0, 100};
  HeatMap picks{
      "layer", "task", "picked of what it could, %", o.layers, numbers_to(o.tasks), {}, {}, 0, 100};
  own.columns.emplace_back("free");
  for (std::size_t l = 0; l < o.layers.size(); ++l) {
    std::vector<std::optional<double>> shares, picked;
    std::int64_t taken = 0;
    for (std::size_t t = 0; t < o.tasks; ++t) {
      shares.push_back(percent_of(o.own[l][t], o.weights[l]));
      picked.push_back(percent_of(o.picked[l][t], o.older[l][t]));
      taken += o.own[l][t];
    }
    shares.push_back(percent_of(o.weights[l] - taken, o.weights[l]));
    own.values.push_back(std::move(shares));
    picks.values.push_back(std::move(picked));
  }
  HeatMap from{"task", "owner", "picked, %", numbers_to(o.tasks), numbers_to(o.tasks), {},
               {},     0,       100};
  for (std::size_t t = 0; t < o.tasks; ++t) {
    from.values.emplace_back();
    for (std::size_t e = 0; e < o.tasks; ++e)
      from.values.back().push_back(percent_of(o.picked_from[t][e], o.owned_by[t][e]));
  }
  const std::string name = file_stem(inputs, "owners", run), of = of_run(inputs, run);
  page.table(matrix_sheet(own, name, "Who owns each shared layer" + of + ", % of its weights"));
  page.figure({.name = name,
               .title = "Who owns each shared layer" + of,
               .caption = "Percent of the layer's weights, by the task that owns them.",
               .command = command,
               .drawing = std::move(own)});
  if (o.tasks < 2) return;
  page.figures({{.name = name + "-picks",
                 .title = "How much of the older weights a task uses" + of,
                 .caption = "Percent of the weights of earlier tasks, layer by layer.",
                 .command = command,
                 .drawing = std::move(picks)},
                {.name = name + "-from",
                 .title = "Who picks whom" + of,
                 .caption = "Percent of the owner's weights that a later task uses.",
                 .command = command,
                 .drawing = std::move(from)}});
}

}  // namespace

void add_ownership(const ReportInputs& inputs, Document& page) {
  bool started = false;
  for (const ReportedRun& run : inputs.runs) {
    const std::optional<Ownership> ownership = ownership_of(run);
    if (!ownership) continue;
    if (!started) page.section("Who owns what, and who picks whom");
    started = true;
    add_one_ownership(inputs, run, *ownership, page);
  }
}

}  // namespace cmat::report
