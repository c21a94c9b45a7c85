// cmat add: one more task for a finished run. It is a branch of that run, in a folder of its own,
// whose stream is one task longer: so the finished run stays what it was, whatever happens.
#include "cmat/continual/percent.h"
#include "cmat/continual/run.h"
#include "cmat/continual/setup.h"
#include "cmat/core/error.h"

namespace cmat::continual {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void require_proof(const fs::path& run, const json& proof, const std::string& when) {
  if (proof.at("identical").get<bool>()) return;
  failure("the tasks of ", run.string(), " are not what they were when they were committed, ", when,
          ": `cmat verify ", run.string(), "` shows which");
}

/// Refuses a run that cannot be continued, before anything is loaded.
json require_finished(const fs::path& run) {
  require_run(run);
  const json record = train::read_run_record(run);
  if (record.at("status") != "finished") {
    usage_error("the run ", run.string(), " is not finished: continue it first, with `cmat train ",
                run.string(), " --resume`");
  }
  return train::read_results(run);
}

/// Throws what is wrong with the file that describes the task, in words of that file.
void check_task_file(const AddOptions& options, const train::Settings& settings) {
  Config task = Config::load(options.task);
  data::read_task_options(task, "", settings.stream);
  try {
    task.finish();
  } catch (const Error& unknown) {
    usage_error(unknown.what(),
                " (a task file holds the keys of one [[task]], not a whole config)");
  }
}

/// Overrides that make room for the task where there is too little; a usage Error where that is not
/// allowed.
std::vector<std::string> room(const AddOptions& options, const train::Settings& settings,
                              train::Model& model) {
  if (model.options().sharing != train::Sharing::owned) return {};
  if (model.options().single_owner) return {};  // a task takes none
  const nn::WeightBank& bank = model.bank();
  const auto weights = static_cast<double>(bank.weights());
  const auto free = static_cast<double>(bank.free_weights());
  if (free / weights >= options.min_free) return {};
  const double cap = settings.growth.max_width;
  if (cap > model.width()) return {text("growth.min_free=", options.min_free)};
  const auto wide = static_cast<double>(model.shared_weights(1.25 * model.width()));
  const std::string shortage =
      text("the run ", options.run.string(), " has ", bank.free_weights(), " of ", bank.weights(),
           " weights free (", percent(free / weights), "), and a task needs ",
           percent(options.min_free));
  const std::string wider = text(percent((free + wide - weights) / wide),
                                 " would be free at width ", 1.25 * model.width());
  if (options.max_width > 0) {
    usage_error(shortage, ": --max-width ", cap, " is too small, since the network ", "has width ",
                model.width(), " already (", wider, ")");
  }
  usage_error(shortage, ": let the network grow with --max-width (", wider,
              "), or accept it with --min-free 0");
}

}  // namespace

fs::path added_run_folder(const AddOptions& options) {
  if (!options.out.empty()) return options.out;
  const auto tasks = train::read_results(options.run).at("tasks").size();
  fs::path run = options.run;
  if (run.filename().empty()) run = run.parent_path();  // "runs/a/"
  return run.string() + text("-", tasks + 1);
}

RunStatus add_task(const AddOptions& options, json& proof) {
  const json results = require_finished(options.run);
  TrainOptions train_options;
  train_options.config = options.run;
  train_options.task = options.task;
  train_options.out = added_run_folder(options);
  train_options.from = text(options.run.string(), "@", results.at("tasks").size());
  if (options.max_width > 0) {
    train_options.overrides = {text("growth.max_width=", options.max_width),
                               text("growth.min_free=", options.min_free)};
  }
  train_options.overrides.insert(train_options.overrides.end(), options.overrides.begin(),
                                 options.overrides.end());
  train_options.resume = true;
  train_options.machine = options.machine;
  {
    OpenedModel old = open_model(options.run, options.machine);
    if (old.model->options().sharing == train::Sharing::overwritten) {
      usage_error(
          "the run ", options.run.string(), " was made with finetune, which overwrites ",
          "every task with the next: train it with cmat, packnet or individual to add tasks");
    }
    if (old.settings.method.name == "joint") {
      usage_error("the run ", options.run.string(), " was made with joint, which learns all tasks ",
                  "at once: train it anew on the longer stream");
    }
    if (old.settings.method.name == "small") {
      usage_error("the run ", options.run.string(), " was made with small, which divides its bytes ",
                  "among its tasks: train it anew on the longer stream");
    }
    train_options.machine = old.machine;
    check_task_file(options, old.settings);
    Config config = Config::load(options.run / "config.toml");
    for (const std::string& assignment : train_options.overrides) config.set(assignment);
    for (std::string& more : room(options, train::read_settings(config), *old.model)) {
      train_options.overrides.push_back(std::move(more));
    }
  }
  require_proof(options.run, verify(options.run, options.machine), "before anything was added");
  const RunStatus status = train(train_options);
  if (status == RunStatus::interrupted) return status;
  proof = verify(train_options.out, options.machine);
  require_proof(train_options.out, proof, "after the new one was learned");
  return status;
}

}  // namespace cmat::continual
