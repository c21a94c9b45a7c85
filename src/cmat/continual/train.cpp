#include <chrono>
#include <cmath>

#include "cmat/continual/begin.h"
#include "cmat/continual/certificate.h"
#include "cmat/continual/estimate.h"
#include "cmat/continual/finished_model.h"
#include "cmat/continual/goals.h"
#include "cmat/continual/out_of_memory.h"
#include "cmat/continual/percent.h"
#include "cmat/continual/results.h"
#include "cmat/continual/run.h"
#include "cmat/continual/setup.h"
#include "cmat/core/error.h"
#include "cmat/core/progress.h"
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

/// Runs the phases of a run in order; everything between two phases, and between two optimiser
/// steps, is a place where it can stop and go on.
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
        progress_("steps", static_cast<double>(planned_steps(setup, 1)),
                  static_cast<double>(state_.steps_done)),
        adversarial_(setup.objective->validation_attack() != nullptr),
        runner_(setup.settings, setup.learned(), *setup.objective, *setup.model, state_,
                {.after_step = [this] { return after_step(); },
                 .on_event = [this](const json& e) { on_stage_event(e); }}) {
    if (state_.stage) setup_.objective->load(state_.objective);
  }

  RunStatus run() {
    try {
      while (state_.phase != RunState::Phase::finished) {
        if (interrupt_requested()) return interrupted(/*checkpoint=*/true);
        if (state_.phase == RunState::Phase::begin_task)
          begin_task();
        else if (state_.phase == RunState::Phase::evaluate)
          evaluate();
        else if (!stages())
          return interrupted(/*checkpoint=*/true);
        checkpoint();
      }
    } catch (const Interrupted&) {
      return interrupted(/*checkpoint=*/false);  // the phase's beginning is on disk
    }
    finish();
    return RunStatus::finished;
  }

 private:
  /// What is being learned.
  const data::Task& task() const {
    return setup_.learned().tasks.at(static_cast<std::size_t>(state_.task - 1));
  }
  std::string task_words() const {
    return text("task ", state_.task, "/", setup_.learned().tasks.size(), " ", task().name);
  }

  void event(json e) {
    e["time"] = utc_now();
    state_.events_bytes = folder_.append_event(e);
  }

  /// Of all the run's processes together.
  double seconds() const {
    return seconds_before_ + std::chrono::duration<double>(Clock::now() - start_).count();
  }

  void checkpoint() {
    state_.seconds = seconds();
    state_.objective = {};
    if (state_.stage) setup_.objective->save(state_.objective);
    const Clock::time_point begin = Clock::now();
    folder_.write_checkpoint(*setup_.model, state_);
    last_checkpoint_ = Clock::now();
    checkpoint_seconds_ = std::chrono::duration<double>(last_checkpoint_ - begin).count();
  }

  RunStatus interrupted(bool write) {
    if (write) checkpoint();
    set_status("interrupted");
    return RunStatus::interrupted;
  }

  void set_status(const std::string& status) {
    run_["status"] = status;
    run_["seconds"] = seconds();
    folder_.write_run(run_);
  }

  void begin_task() {
    train::Model& model = *setup_.model;
    if (model.committed() >= state_.task) {  // learned together with the first
      state_.phase = RunState::Phase::evaluate;
      return;
    }
    state_.width = model.width();
    const std::int64_t free = model.committed() > 0 ? model.bank().free_weights() : 0;
    const double width = model.committed() == 0
                             ? state_.width
                             : setup_.method->first_width(
                                   state_, free, [&](double w) { return model.shared_weights(w); });
    say_growth(width, text(free, " weights are free"));
    const bool fresh = model.begin_task(static_cast<std::int64_t>(task().classes.size()), width);
    state_.width = width;
    setup_.objective->begin_task(model.network());
    if (fresh) runner_.warm_up_norms();
    state_.history.clear();
    state_.retries = 0;
    state_.stage.reset();
    state_.accepted = setup_.model->snapshot();
    state_.phase = RunState::Phase::stages;
    event({{"event", "begin_task"},
           {"task", state_.task},
           {"name", task().name},
           {"width", width},
           {"free_weights", setup_.model->bank().count().own}});
  }

  void say_growth(double width, const std::string& reason) {
    if (!(width > state_.width)) return;
    progress_.line(
        text(task_words(), "  grows from width ", state_.width, " to ", width, ": ", reason));
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
      say_growth(next->width, "the goal is missed");
      runner_.start(*next);
      event({{"event", "begin_stage"}, {"task", state_.task}, {"stage", train::to_json(*next)}});
    }
    train::StageOutcome outcome;
    if (runner_.run(outcome) == train::StageRunner::Result::stopped) return false;
    setup_.method->judge(state_, outcome);
    if (outcome.accepted)
      state_.accepted = setup_.model->snapshot();
    else
      setup_.model->restore(state_.accepted);
    state_.width = setup_.model->width();
    json e = {{"event", "stage"},
              {"task", state_.task},
              {"stage", train::to_json(outcome.stage)},
              {"accepted", outcome.accepted},
              {"reason", outcome.reason},
              {"validation_images", outcome.losses.size()}};
    if (!outcome.losses.empty()) {
      progress_.line(text(task_words(), "  ", outcome.stage.kind, ": validation clean ",
                          percent(outcome.clean_accuracy), ", robust ",
                          percent(outcome.robust_accuracy),
                          outcome.accepted ? ", accepted: " : ", refused: ", outcome.reason));
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
    if (!setup_.method->joint()) {
      setup_.model->commit();
      record_commit(state_.task, c);
    } else {
      std::vector<std::int64_t> classes = task().joined;
      setup_.model->commit_together(classes);
      const nn::OwnershipCount later{
          .own = 0, .picked = c.own, .older = c.own, .free = c.free, .total = c.total};
      for (std::int64_t t = 1; t <= std::ssize(classes); ++t) record_commit(t, t == 1 ? c : later);
    }
    state_.accepted = {};
    state_.history.clear();
    state_.phase = RunState::Phase::evaluate;
  }

  void record_commit(std::int64_t task, const nn::OwnershipCount& c) {
    state_.weights.push_back({{"task", task},
                              {"own", c.own},
                              {"picked", c.picked},
                              {"older", c.older},
                              {"free", c.free},
                              {"total", c.total},
                              {"width", setup_.model->width()}});
    setup_.model->activate(task);
    state_.certificates.push_back(make_certificate(setup_, task, machine_));
    json e = train::to_json(state_.certificates.back());
    e.erase("probe");
    e["event"] = "commit";
    e["task"] = task;
    e["own"] = c.own;
    e["picked"] = c.picked;
    e["free"] = c.free;
    e["width"] = state_.width;
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
    std::string line = text("task ", state_.task, "/", setup_.stream.tasks.size(), " ",
                            setup_.task(state_.task).name, ":");
    for (const json& row : state_.evaluations) {
      if (row.at("after") == state_.task && row.at("task") == state_.task) {
        line += text("  ", row.at("attack").get<std::string>(), " ",
                     percent(row.at("correct").get<double>() / row.at("total").get<double>()));
      }
    }
    progress_.line(line);
  }

  void finish() {
    write_tensor_file(folder_.model_file(), finished_model(setup_, state_));
    folder_.write_results(results_json(setup_, state_));
    // The checkpoint does not know of the last event: a run that is killed before its status says
    // so finishes once more, and the event must not be there twice.
    checkpoint();
    event({{"event", "finished"}});
    set_status("finished");
  }

  bool after_step() {
    const auto& every = setup_.settings.checkpoint;
    const double since = std::chrono::duration<double>(Clock::now() - last_checkpoint_).count();
    // Big checkpoints are written less often: at most a twentieth of the time goes into them.
    if (since >= std::max(every.every_seconds, 20 * checkpoint_seconds_) ||
        (every.every_steps > 0 && state_.steps_done % every.every_steps == 0)) {
      checkpoint();
    }
    if (state_.stage) {
      const auto done = std::max<std::int64_t>(state_.step, 1);
      progress_.update(
          static_cast<double>(state_.steps_done),
          text(task_words(), "  ", state_.stage->kind, " ",
               std::min(state_.epoch + 1, state_.stage->epochs), "/", state_.stage->epochs),
          state_.seen == 0
              ? last_detail_
              : text("loss ", std::round(state_.loss_sum / static_cast<double>(done) * 1000) / 1000,
                     accuracy_label(),
                     percent(static_cast<double>(state_.correct) /
                             static_cast<double>(state_.seen))));
    }
    return interrupt_requested();
  }

  /// Training accuracy is measured on the images that the loss was taken on.
  const char* accuracy_label() const { return adversarial_ ? "  robust accuracy " : "  accuracy "; }

  void on_stage_event(const json& e) {
    if (e.at("event") == "epoch") {
      last_detail_ = text("loss ", std::round(e.at("loss").get<double>() * 1000) / 1000,
                          accuracy_label(), percent(e.at("train_accuracy").get<double>()));
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
  double checkpoint_seconds_ = 0;
  Progress progress_;
  std::string last_detail_;
  bool adversarial_;  ///< whether training sees attacked images
  train::StageRunner runner_;
};

/// Called while an exception is handled: notes in the record why the run stopped, as far as the
/// disk still allows, and passes the exception on.
[[noreturn]] void fail_run(RunFolder& folder, json run) {
  try {
    rethrow_explained();
  } catch (const std::exception& e) {
    const std::string what = e.what();
    run["status"] = "failed";
    run["reason"] = what.substr(0, what.find('\n'));
    try {
      folder.write_run(run);
    } catch (const Error&) {
      // The first reason is the one to tell.
    }
    throw;
  }
}

}  // namespace

fs::path run_folder_of(const TrainOptions& options) {
  if (!options.out.empty()) return options.out;
  if (fs::is_directory(options.config)) return options.config;
  return fs::path("runs") / options.config.stem();
}

RunStatus train(const TrainOptions& asked) try {
  TrainOptions options = asked;
  const fs::path path = run_folder_of(options);
  const bool exists = fs::exists(path / "run.json");
  if (exists && !options.resume) {
    usage_error("there is a run in ", path.string(),
                " already: continue it with --resume, or choose another --out");
  }
  options.machine = prepare_machine(options.machine, exists ? path : fs::path());
  auto setup = make_setup(load_config(options), options.machine);
  RunState state;
  json initial_weights;
  if (!exists) {  // before the folder is made, so that a wrong --from or file leaves nothing behind
    if (!options.from.empty()) state = branch(*setup, options);
    initial_weights = load_initial_weights(*setup, options);
    const std::string& goal_run = setup->settings.growth.goal_run;
    if (!goal_run.empty()) state.goals = goals_of(goal_run, setup->stream);
  }
  RunFolder folder(path);
  if (folder.has_run() != exists) {
    failure("another process began a run in ", path.string(),
            " just now: continue it with --resume, or choose another --out");
  }
  json run;
  if (exists) {
    state = resume_run(*setup, folder, options, run);
    if (run.at("status") == "finished" && folder.has_whole_model()) return RunStatus::finished;
    run["status"] = "running";
    run.erase("reason");  // of a failure that this process may get past
    folder.write_run(run);
  } else {
    run = begin_run(*setup, folder, state, options, initial_weights);
  }
  try {
    return Driver(*setup, folder, std::move(state), run, options.machine).run();
  } catch (...) {
    fail_run(folder, run);
  }
} catch (...) {
  rethrow_explained();  // of what came before the run began
}

}  // namespace cmat::continual
