#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/version.h>

#include <chrono>
#include <cmath>
#include <ctime>

#include "cmat/continual/certificate.h"
#include "cmat/continual/estimate.h"
#include "cmat/continual/results.h"
#include "cmat/continual/run.h"
#include "cmat/continual/setup.h"
#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/progress.h"
#include "cmat/core/version.h"
#include "cmat/nn/tensors.h"
#include "cmat/train/stage_runner.h"

namespace cmat::continual {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using train::RunFolder;
using train::RunState;
using Clock = std::chrono::steady_clock;

/// Thrown out of an evaluation, whose phase is simply begun again by the next process.
struct Interrupted {};

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  char buffer[32];
  std::strftime(buffer, sizeof buffer, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return buffer;
}

std::string percent(double share) {
  return text(std::round(share * 1000) / 10, "%");
}

/// Runs the phases of a run in order; everything between two phases, and between two optimiser steps,
/// is a place where it can stop and go on.
class Driver {
 public:
  Driver(Setup& setup, RunFolder& folder, RunState state, json run, const MachineOptions& machine)
      : setup_(setup),
        folder_(folder),
        state_(std::move(state)),
        run_(std::move(run)),
        machine_(machine),
        seconds_before_(state_.seconds),
        start_(Clock::now()),
        last_checkpoint_(Clock::now()),
        planned_(static_cast<double>(planned_steps(setup, 1))),
        progress_("steps", planned_, static_cast<double>(state_.steps_done)),
        runner_(setup.settings, setup.stream, *setup.objective, *setup.model, state_,
                {.after_step = [this] { return after_step(); },
                 .on_event = [this](const json& e) { on_stage_event(e); }}) {}

  RunStatus run() {
    try {
      while (state_.phase != RunState::Phase::finished) {
        if (interrupt_requested()) return interrupted(/*checkpoint=*/true);
        if (state_.phase == RunState::Phase::begin_task) begin_task();
        else if (state_.phase == RunState::Phase::evaluate) evaluate();
        else if (!stages()) return interrupted(/*checkpoint=*/true);
        checkpoint();
      }
    } catch (const Interrupted&) {
      return interrupted(/*checkpoint=*/false);  // the phase's beginning is on disk
    }
    finish();
    return RunStatus::finished;
  }

 private:
  const data::Task& task() const { return setup_.stream.tasks[static_cast<std::size_t>(state_.task - 1)]; }

  void event(json e) {
    e["time"] = utc_now();
    state_.events_bytes = folder_.append_event(e);
  }

  void checkpoint() {
    state_.seconds = seconds_before_ + std::chrono::duration<double>(Clock::now() - start_).count();
    folder_.write_checkpoint(*setup_.model, state_);
    last_checkpoint_ = Clock::now();
  }

  RunStatus interrupted(bool write) {
    if (write) checkpoint();
    set_status("interrupted");
    return RunStatus::interrupted;
  }

  void set_status(const std::string& status) {
    run_["status"] = status;
    run_["seconds"] = seconds_before_ + std::chrono::duration<double>(Clock::now() - start_).count();
    folder_.write_run(run_);
  }

  void begin_task() {
    const bool fresh = setup_.model->begin_task(static_cast<std::int64_t>(task().classes.size()));
    if (fresh) runner_.warm_up_norms();
    state_.history.clear();
    state_.retries = 0;
    state_.stage.reset();
    state_.accepted = setup_.model->snapshot();
    state_.phase = RunState::Phase::stages;
    event({{"event", "begin_task"}, {"task", state_.task}, {"name", task().name},
           {"free_weights", setup_.model->bank().count().own}});
  }

  /// Returns false when a signal stopped a stage.
  bool stages() {
    if (!state_.stage) {
      const auto next = setup_.method->next(state_);
      if (!next) {
        commit();
        return true;
      }
      state_.retries = 0;
      runner_.start(*next);
      event({{"event", "begin_stage"}, {"task", state_.task}, {"stage", train::to_json(*next)}});
    }
    train::StageOutcome outcome;
    if (runner_.run(outcome) == train::StageRunner::Result::stopped) return false;
    setup_.method->judge(state_, outcome);
    if (outcome.accepted) state_.accepted = setup_.model->snapshot();
    else setup_.model->restore(state_.accepted);
    json e = {{"event", "stage"},           {"task", state_.task},
              {"stage", train::to_json(outcome.stage)}, {"accepted", outcome.accepted},
              {"reason", outcome.reason},   {"validation_images", outcome.losses.size()}};
    if (!outcome.losses.empty()) {
      e["validation"] = {{"clean_accuracy", outcome.clean_accuracy},
                         {"robust_accuracy", outcome.robust_accuracy},
                         {"robust_loss", outcome.loss}};
    }
    event(e);
    state_.history.push_back(std::move(outcome));
    return true;
  }

  void commit() {
    const nn::OwnershipCount c = setup_.model->bank().count();
    state_.weights.push_back({{"task", state_.task}, {"own", c.own}, {"picked", c.picked},
                              {"older", c.older}, {"free", c.free}, {"total", c.total}});
    setup_.model->commit();
    setup_.model->activate(state_.task);
    state_.certificates.push_back(make_certificate(setup_, state_.task, machine_));
    state_.accepted = {};
    state_.history.clear();
    state_.phase = RunState::Phase::evaluate;
    json e = train::to_json(state_.certificates.back());
    e.erase("probe");
    e["event"] = "commit";
    e["task"] = state_.task;
    e["own"] = c.own;
    e["picked"] = c.picked;
    e["free"] = c.free;
    event(e);
  }

  void evaluate() {
    const std::string lines = evaluate_tasks(setup_, state_, [this](const std::string& label) {
      if (interrupt_requested()) throw Interrupted{};
      progress_.update(static_cast<double>(state_.steps_done), label);
    });
    state_.verdicts_bytes = folder_.append_verdicts(lines);
    folder_.write_results(results_json(setup_, state_));
    say_accuracies();
    const bool last = state_.task == static_cast<std::int64_t>(setup_.stream.tasks.size());
    event({{"event", "evaluated"}, {"after", state_.task}});
    if (last) {
      state_.phase = RunState::Phase::finished;
    } else {
      ++state_.task;
      state_.phase = RunState::Phase::begin_task;
    }
  }

  void say_accuracies() {
    std::string line = text("task ", state_.task, "/", setup_.stream.tasks.size(), " ", task().name, ":");
    for (const json& row : state_.evaluations) {
      if (row.at("after") == state_.task && row.at("task") == state_.task) {
        line += text("  ", row.at("attack").get<std::string>(), " ",
                     percent(row.at("correct").get<double>() / row.at("total").get<double>()));
      }
    }
    progress_.line(line);
  }

  void finish() {
    if (run_.value("status", "") == "finished" && fs::exists(folder_.model_file())) return;
    TensorFile file;
    setup_.model->save(file, "model/", /*training=*/false);
    for (std::int64_t t = 1; t <= setup_.model->committed(); ++t) {
      setup_.model->activate(t);
      const auto& certificate = state_.certificates[static_cast<std::size_t>(t - 1)];
      file.tensors[text("certificate/task", t, "/logits")] =
          nn::to_bytes(probe_logits(setup_, t, certificate.probe));
    }
    // The model file opens like a checkpoint, but holds nothing that depends on clocks or logs.
    RunState lasting;
    lasting.phase = RunState::Phase::finished;
    lasting.task = state_.task;
    lasting.certificates = state_.certificates;
    lasting.evaluations = state_.evaluations;
    lasting.scores = state_.scores;
    lasting.weights = state_.weights;
    file.metadata["state"] = train::to_json(lasting).dump();
    file.metadata["config"] = setup_.resolved;
    write_tensor_file(folder_.model_file(), file);
    folder_.write_results(results_json(setup_, state_));
    event({{"event", "finished"}});
    checkpoint();
    set_status("finished");
  }

  bool after_step() {
    const auto& every = setup_.settings.checkpoint;
    const double since = std::chrono::duration<double>(Clock::now() - last_checkpoint_).count();
    if (since >= every.every_seconds ||
        (every.every_steps > 0 && state_.steps_done % every.every_steps == 0)) {
      checkpoint();
    }
    if (state_.stage) {
      const auto done = std::max<std::int64_t>(state_.step, 1);
      progress_.update(static_cast<double>(state_.steps_done),
                       text("task ", state_.task, "/", setup_.stream.tasks.size(), " ", task().name, "  ",
                            state_.stage->kind, " ", std::min(state_.epoch + 1, state_.stage->epochs), "/",
                            state_.stage->epochs),
                       state_.seen == 0 ? last_detail_
                                        : text("loss ", std::round(state_.loss_sum / static_cast<double>(done) * 1000) / 1000,
                                               "  accuracy ", percent(static_cast<double>(state_.correct) /
                                                                      static_cast<double>(state_.seen))));
    }
    return interrupt_requested();
  }

  void on_stage_event(const json& e) {
    if (e.at("event") == "epoch") {
      last_detail_ = text("loss ", std::round(e.at("loss").get<double>() * 1000) / 1000, "  accuracy ",
                          percent(e.at("train_accuracy").get<double>()));
    }
    event(e);
  }

  Setup& setup_;
  RunFolder& folder_;
  RunState state_;
  json run_;
  MachineOptions machine_;
  double seconds_before_;
  Clock::time_point start_, last_checkpoint_;
  double planned_;
  Progress progress_;
  std::string last_detail_;
  train::StageRunner runner_;
};

Config load_config(const TrainOptions& options) {
  const bool is_run = fs::is_directory(options.config);
  Config config = Config::load(is_run ? options.config / "config.toml" : options.config);
  for (const std::string& assignment : options.overrides) config.set(assignment);
  return config;
}

json new_run_record(const Setup& setup, int threads, const MachineOptions& machine) {
  return {{"format", train::kRunFormat},
          {"program", text("cmat ", kVersion)},
          {"libtorch", TORCH_VERSION},
          {"threads", threads},
          {"device", machine.device},
          {"instruction_set", at::get_cpu_capability()},
          {"seed", setup.settings.seed},
          {"status", "running"},
          {"config_sha256", sha256_hex(setup.resolved)},
          {"started", utc_now()},
          {"seconds", 0.0}};
}

void say_estimate(Setup& setup) {
  const Estimate e = estimate(setup);
  Progress out("steps", static_cast<double>(e.steps));
  out.line(text(setup.method->name(), " with ", setup.objective->name(), ", ", setup.stream.tasks.size(),
                " tasks of ", setup.stream.source.name, ", network ", setup.description.architecture, ": ",
                e.steps, " steps, about ", format_duration(e.seconds), ", ", format_bytes(e.memory_bytes),
                " of memory, ", format_bytes(e.disk_bytes), " of disk"));
}

/// A state whose first tasks come from another run.
RunState branch(Setup& setup, const std::string& from, const MachineOptions& machine) {
  const auto at = from.rfind('@');
  std::int64_t after = 0;
  try {
    if (at == std::string::npos) throw std::invalid_argument("no @");
    after = std::stoll(from.substr(at + 1));
  } catch (const std::exception&) {
    usage_error("--from wants RUN@TASK, the run and the task to continue after, say runs/a@3, not \"", from,
                "\"");
  }
  const fs::path source = from.substr(0, at);
  OpenedRun old = open_run(source, machine);
  const auto& tasks = setup.stream.tasks;
  if (old.setup->description.architecture != setup.description.architecture ||
      old.setup->description.width != setup.description.width) {
    usage_error("--from ", from, ": that run's network is ", old.setup->description.architecture, " at width ",
                old.setup->description.width, ", this config's is ", setup.description.architecture,
                " at width ", setup.description.width);
  }
  if (old.setup->method->sharing() != setup.method->sharing()) {
    usage_error("--from ", from, ": that run's method (", old.setup->method->name(),
                ") shares weights in another way than ", setup.method->name());
  }
  old.setup->model->rewind(after);
  for (std::size_t i = 0; i < static_cast<std::size_t>(after); ++i) {
    if (i >= tasks.size() || tasks[i].classes != old.setup->stream.tasks[i].classes) {
      usage_error("--from ", from, ": task ", i + 1, " of this config is not the ",
                  old.setup->stream.tasks[i].name, " that the run learned");
    }
  }
  if (static_cast<std::size_t>(after) == tasks.size()) {
    usage_error("--from ", from, ": the config's stream ends there, so nothing is left to learn");
  }
  TensorFile file;
  old.setup->model->save(file, "", false);
  setup.model->load(file, "");
  RunState state;
  state.task = after + 1;
  state.certificates = old.state.certificates;
  state.certificates.resize(static_cast<std::size_t>(after));
  for (const json& row : old.state.evaluations) {
    if (row.at("after").get<std::int64_t>() <= after) state.evaluations.push_back(row);
  }
  for (const json& row : old.state.weights) {
    if (row.at("task").get<std::int64_t>() <= after) state.weights.push_back(row);
  }
  for (const json& row : old.state.scores) {
    if (row.at("task").get<std::int64_t>() <= after) state.scores.push_back(row);
  }
  state.steps_done = planned_steps(setup, 1) - planned_steps(setup, after + 1);
  return state;
}

/// Checks that a folder's run can be continued with this setup, and reads where it stands.
RunState resume(Setup& setup, RunFolder& folder, const TrainOptions& options, int threads, json& run) {
  run = folder.run();
  if (sha256_hex(folder.config()) != run.value("config_sha256", "")) {
    usage_error("the config of the run ", folder.path().string(), " was edited after the run began: restore ",
                "config.toml, or start a new run with --out");
  }
  if (setup.resolved != folder.config()) {
    usage_error("the run ", folder.path().string(), " was made with another config than ",
                options.config.string(), ": continue it with `cmat train ", folder.path().string(),
                " --resume`, or choose another --out");
  }
  if (run.value("threads", 0) != threads && run.value("status", "") != "finished" &&
      !options.allow_thread_change) {
    usage_error("the run ", folder.path().string(), " was made with ", run.value("threads", 0),
                " threads, and with ", threads, " its results would not be bit-identical: use --threads ",
                run.value("threads", 0), ", or --allow-thread-change");
  }
  run["threads"] = threads;
  RunState state;
  if (folder.has_checkpoint()) {
    std::string warning;
    state = folder.read_checkpoint(*setup.model, warning);
    if (!warning.empty()) Progress("", 0).line("warning: " + warning);
  } else if (!options.from.empty()) {
    state = branch(setup, options.from, options.machine);
  }
  folder.truncate_logs(state);
  return state;
}

}  // namespace

fs::path run_folder_of(const TrainOptions& options) {
  if (!options.out.empty()) return options.out;
  if (fs::is_directory(options.config)) return options.config;
  return fs::path("runs") / options.config.stem();
}

RunStatus train(const TrainOptions& options) {
  const int threads = prepare_machine(options.machine);
  const fs::path path = run_folder_of(options);
  const bool exists = fs::exists(path / "run.json");
  if (exists && !options.resume) {
    usage_error("there is a run in ", path.string(), " already: continue it with --resume, or choose another --out");
  }
  auto setup = make_setup(load_config(options), options.machine);
  RunFolder folder(path);
  RunState state;
  json run;
  if (exists) {
    state = resume(*setup, folder, options, threads, run);
    if (run.value("status", "") == "finished" && fs::exists(folder.model_file())) return RunStatus::finished;
  } else {
    if (!options.from.empty()) state = branch(*setup, options.from, options.machine);
    say_estimate(*setup);
    folder.write_config(setup->resolved);
    run = new_run_record(*setup, threads, options.machine);
    state.events_bytes = folder.append_event({{"event", "start"}, {"time", utc_now()}, {"from", options.from}});
  }
  run["status"] = "running";
  folder.write_run(run);
  return Driver(*setup, folder, std::move(state), run, options.machine).run();
}

}  // namespace cmat::continual
