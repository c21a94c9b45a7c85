#include "cmat/continual/begin.h"

#include <ATen/Version.h>
#include <sys/utsname.h>
#include <torch/version.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <fstream>
#include <thread>

#include "cmat/attack/as_published.h"
#include "cmat/continual/budget.h"
#include "cmat/continual/estimate.h"
#include "cmat/continual/results.h"
#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/json_lines.h"
#include "cmat/core/progress.h"
#include "cmat/core/version.h"

namespace cmat::continual {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using train::RunFolder;
using train::RunState;

/// "x86_64, 2 cores, AMD EPYC", as far as the system tells.
std::string machine_words() {
  utsname system{};
  uname(&system);
  std::string words =
      text(system.machine, ", ", std::max(1u, std::thread::hardware_concurrency()), " cores");
  std::ifstream processors("/proc/cpuinfo");
  for (std::string line; std::getline(processors, line);) {
    if (!line.starts_with("model name")) continue;
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos) words += text(", ", line.substr(colon + 2));
    break;
  }
  return words;
}

/// What bit-identical results depend on besides the config, as run.json records it.
json present_circumstances(const MachineOptions& machine, const std::string& kernels) {
  return {{"libtorch", TORCH_VERSION},
          {"threads", machine.threads},
          {"device", machine.device},
          {"instruction_set", at::get_cpu_capability()},
          {"kernels", kernels}};
}

json new_run_record(const Setup& setup, const MachineOptions& machine) {
  json run = {{"format", train::kRunFormat}, {"program", text("cmat ", kVersion)},
              {"machine", machine_words()},  {"seed", setup.settings.seed},
              {"status", "running"},         {"config_sha256", sha256_hex(setup.resolved)},
              {"started", utc_now()},        {"seconds", 0.0}};
  run.update(present_circumstances(machine, setup.model->network().kernels()));
  return run;
}

void say_estimate(Setup& setup, std::int64_t first_task) {
  const Estimate e = estimate(setup, first_task);
  Progress out("steps", static_cast<double>(e.steps));
  out.line(text(setup.method->label(), " with ", setup.objective->name(), ", ",
                setup.stream.tasks.size(), " tasks of ", setup.stream.source_names(), ", network ",
                setup.description.architecture, ": ", e.steps, " steps, about ",
                format_duration(e.seconds), ", ", format_bytes(e.memory_bytes), " of memory, ",
                format_bytes(e.disk_bytes), " of disk"));
}

std::string network_words(const Setup& setup) {
  const nn::Description& d = setup.description;
  return text(d.architecture, " at width ", d.width, " with bank.private_below ",
              setup.settings.private_below, " for images of ", d.channels, "x", d.height, "x",
              d.image_width);
}

/// What the measurements of the old tasks depend on: a branch takes them over, so all of it must be
/// the same.
std::string measurement_words(const Setup& setup) {
  const train::Settings& s = setup.settings;
  return text("seed ", s.seed, ", ", attack::make_config_pgd(s.evaluation.attack)->recipe(),
              ", evaluation.batch ", s.evaluation.batch);
}

/// Refuses a run whose weights, tasks or measurements are not the ones that the config begins with.
void check_origin(const Setup& setup, const OpenedRun& old, const TrainOptions& options,
                  std::int64_t after) {
  const auto& tasks = setup.stream.tasks;
  const Setup& before = *old.setup;
  if (network_words(before) != network_words(setup)) {
    usage_error("--from ", options.from, ": that run's network is ", network_words(before),
                ", this config's is ", network_words(setup));
  }
  if (before.method->sharing() != setup.method->sharing()) {
    usage_error("--from ", options.from, ": that run's method (", before.method->name(),
                ") shares weights in another way than ", setup.method->name());
  }
  if (measurement_words(before) != measurement_words(setup)) {
    usage_error("--from ", options.from, ": that run was measured with ", measurement_words(before),
                ", this config says ", measurement_words(setup),
                "; a branch may change how later tasks are learned, not how tasks are measured");
  }
  if (static_cast<std::size_t>(after) >= tasks.size()) {
    usage_error("--from ", options.from, ": the config's stream has ", tasks.size(),
                " tasks, so nothing is left to learn after task ", after);
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(after); ++i) {
    if (tasks[i].classes != before.stream.tasks[i].classes ||
        tasks[i].source->name != before.stream.tasks[i].source->name) {
      usage_error("--from ", options.from, ": task ", i + 1, " of this config is ", tasks[i].name,
                  ", but the run learned ", before.stream.tasks[i].name);
    }
    if (tasks[i].train != before.stream.tasks[i].train ||
        tasks[i].test != before.stream.tasks[i].test) {
      usage_error("--from ", options.from, ": this config takes other images for task ", i + 1,
                  " (", tasks[i].name, ") than that run; keep its [data] section");
    }
  }
}

json rows_up_to(const json& rows, const char* field, std::int64_t last) {
  json kept = json::array();
  for (const json& row : rows) {
    if (row.at(field).get<std::int64_t>() <= last) kept.push_back(row);
  }
  return kept;
}

/// The lines of the other run's verdicts.jsonl that speak of the tasks taken from it.
std::string inherited_verdicts(const Origin& origin) {
  std::string kept;
  read_json_lines(origin.run / "verdicts.jsonl", [&](const json& verdict, const std::string& line) {
    if (verdict.value("after", origin.task + 1) <= origin.task) kept += line + "\n";
  });
  return kept;
}

}  // namespace

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  char buffer[32];
  std::strftime(buffer, sizeof buffer, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return buffer;
}

Origin origin_of(const TrainOptions& options) {
  const std::string& from = options.from;
  const auto at = from.rfind('@');
  Origin origin;
  bool good = at != std::string::npos && at > 0;
  if (good) {
    const char* end = from.data() + from.size();
    const auto [stop, error] = std::from_chars(from.data() + at + 1, end, origin.task);
    good = error == std::errc() && stop == end;
  }
  if (!good) {
    usage_error(
        "--from wants RUN@TASK, the run and the task to continue after, say runs/a@3, not \"", from,
        "\"");
  }
  origin.run = from.substr(0, at);
  return origin;
}

Config load_config(const TrainOptions& options) {
  const bool is_run = fs::is_directory(options.config);
  if (is_run) require_run(options.config);
  Config config = Config::load(is_run ? options.config / "config.toml" : options.config);
  if (!options.task.empty()) config.append_table("task", Config::load(options.task));
  for (const std::string& assignment : options.overrides) config.set(assignment);
  resolve_budget(config);
  return config;
}

RunState branch(Setup& setup, const TrainOptions& options) {
  const Origin origin = origin_of(options);
  const std::int64_t after = origin.task;
  OpenedRun old = open_run(origin.run, options.machine);
  if (setup.method->joint() || old.setup->method->joint()) {
    usage_error("--from ", options.from, ": joint learns all tasks at once, so there is no task ",
                "after which another run could go on: train from the start");
  }
  old.setup->model->rewind(after);
  check_origin(setup, old, options, after);
  TensorFile file;
  old.setup->model->save(file, "", false);
  setup.model->load(file, "");
  if (setup.method->single_owner() && setup.model->bank().free_weights() > 0) {
    usage_error("--from ", options.from, ": ", setup.model->bank().free_weights(),
                " weights of that run are nobody's, and the tasks of ", setup.method->name(),
                " only pick among weights that have an owner: begin with a run of ",
                setup.method->name());
  }
  RunState state;
  state.task = after + 1;
  state.certificates = old.state.certificates;
  state.certificates.resize(static_cast<std::size_t>(after));
  state.evaluations = rows_up_to(old.state.evaluations, "after", after);
  state.weights = rows_up_to(old.state.weights, "task", after);
  state.scores = rows_up_to(old.state.scores, "task", after);
  const bool measured = !state.evaluations.empty() &&
                        state.evaluations.back().at("after").get<std::int64_t>() == after;
  if (!measured) {  // the other run stopped between learning its last task and measuring it
    state.task = after;
    state.phase = RunState::Phase::evaluate;
  }
  state.steps_done = planned_steps(setup, 1) - planned_steps(setup, after + 1);
  return state;
}

json begin_run(Setup& setup, RunFolder& folder, RunState& state, const TrainOptions& options,
               const json& initial_weights) {
  folder.prepare_new(setup.resolved);
  say_estimate(setup, state.task);
  folder.write_config(setup.resolved);
  state.events_bytes =
      folder.append_event({{"event", "start"}, {"time", utc_now()}, {"from", options.from}});
  if (!options.from.empty()) {
    state.verdicts_bytes = folder.append_verdicts(inherited_verdicts(origin_of(options)));
  }
  if (!initial_weights.is_null()) {
    json event = {{"event", "initial_weights"}, {"time", utc_now()}};
    event.update(initial_weights);
    state.events_bytes = folder.append_event(event);
  }
  // Says what the run is before anything is measured.
  folder.write_results(results_json(setup, state));
  folder.write_checkpoint(*setup.model, state);
  json run = new_run_record(setup, options.machine);
  if (!initial_weights.is_null()) run["initial_weights"] = initial_weights;
  folder.write_run(run);
  return run;
}

/// One of present_circumstances() in words: what it is, as recorded and now.
struct Circumstance {
  std::string what, before, now;
};

std::vector<Circumstance> circumstances(const json& run, const MachineOptions& machine,
                                        const std::string& kernels) {
  return {
      {"--threads", std::to_string(run.at("threads").get<int>()), std::to_string(machine.threads)},
      {"--device", run.value("device", "cpu"), machine.device},
      {"libtorch", run.value("libtorch", ""), TORCH_VERSION},
      {"instruction set", run.value("instruction_set", ""), at::get_cpu_capability()},
      {"kernels", run.value("kernels", "torch"), kernels}};
}

RunState resume_run(Setup& setup, RunFolder& folder, const TrainOptions& options, json& run) {
  run = folder.run();
  const std::string name = folder.path().string();
  require_unedited_config(folder.path(), run);
  if (setup.resolved != folder.config()) {
    usage_error("the run ", name, " was made with another config than ", options.config.string(),
                ": continue it with `cmat train ", name, " --resume`, or choose another --out");
  }
  json changes = json::object();
  for (const Circumstance& c :
       circumstances(run, options.machine, setup.model->network().kernels())) {
    if (c.before == c.now || run.at("status") == "finished") continue;
    if (!options.allow_inexact_resume) {
      usage_error("the run ", name, " was made with ", c.what, " ", c.before, ", and with ", c.now,
                  " its results would not be bit-identical: continue it with the former, or with ",
                  "--allow-inexact-resume");
    }
    changes[c.what] = {c.before, c.now};
  }
  std::string warning;
  RunState state = folder.read_checkpoint(*setup.model, warning);
  if (!warning.empty()) Progress("", 0).line("warning: " + warning);
  // A finished run's log has one line more than its last checkpoint knows of.
  const bool over = run.at("status") == "finished" && folder.has_whole_model();
  if (!over) folder.truncate_logs(state);
  if (!changes.empty()) {
    state.events_bytes = folder.append_event(
        {{"event", "inexact_resume"}, {"time", utc_now()}, {"changes", changes}});
    run["exact"] = false;
    run.update(present_circumstances(options.machine, setup.model->network().kernels()));
  }
  return state;
}

}  // namespace cmat::continual
