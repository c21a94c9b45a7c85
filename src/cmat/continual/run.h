// What the program does with a run, without a tensor type in sight: train or continue one, evaluate
// it, prove that it forgot nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace cmat::continual {

struct MachineOptions {
  int threads = 0;     ///< 0: as the run was made with; for a new run one a core
  std::string device;  ///< cpu or cuda; empty: as the run was made with; for a new run cpu
};

struct TrainOptions {
  std::filesystem::path config;        ///< a config file, or with `resume` a run folder
  std::filesystem::path out;           ///< run folder; empty: runs/NAME of the config
  std::vector<std::string> overrides;  ///< "key=value"
  bool resume = false;                 ///< continue if there is something to continue
  bool allow_inexact_resume = false;   ///< other threads or device: not bit-identical
  std::string from;                    ///< "RUN@3": start with the first three tasks of RUN
  std::filesystem::path task;          ///< a file with one more task for the end of the stream
  MachineOptions machine;
};

enum class RunStatus { finished, interrupted };

/// Trains until the stream ends or a signal asks to stop (install_interrupt_handlers), writing
/// everything that docs/run-format.md lists. Progress goes to stderr.
RunStatus train(const TrainOptions& options);
/// The folder that train() would use.
std::filesystem::path run_folder_of(const TrainOptions& options);

/// SIGINT and SIGTERM ask for a stop after the present step; a second one ends the process at once.
void install_interrupt_handlers();
bool interrupt_requested();

/// Checks each finished task against the day it was committed. Returns
/// {"identical": bool, "tasks": [{"task", "name", "weights_identical", "logits_identical" (null
/// where this machine's results may differ in rounding), "max_logit_difference"}], "note"}.
nlohmann::json verify(const std::filesystem::path& run, const MachineOptions& machine);

struct EvaluateOptions {
  /// "clean", and names that attack/registry.h reads ("pgd20x2"). The run's own attack, by its name
  /// and at the run's radius, is exactly that one.
  std::vector<std::string> attacks = {"clean", "apgd-ce", "apgd-t"};
  std::vector<std::string> eps;     ///< radii in pixels; empty: the run's
  std::string norm;                 ///< linf, l2 or l1; empty: the run's
  std::vector<std::int64_t> tasks;  ///< 1-based; empty: all finished ones
  std::int64_t limit = 0;           ///< test images a task, spread over its classes; 0: all
  bool examples = false;            ///< also return adversarial images to look at
  /// task-aware, class-incremental or transfer (docs/attacks.md), the last with a source: another
  /// run, a file of `save_adversarial`, or "tasks".
  std::string protocol = "task-aware", source;
  /// "next" ((label + 1) mod classes) or a class: attacks are sent there, and the record says how
  /// many images got there, those of that class left out. Empty: any wrong class.
  std::string targets;
  std::string curve;   ///< eps, steps or step-size: spread the attacks over it; empty: none
  bool checks = true;  ///< look at the networks and at what attacks do on their way
  /// Clean images and the original program's attack only, in units of normalised images: another
  /// threat model, named so in the record.
  bool as_published = false;
  /// Keep the record in RUN/evaluations/NAME.json. Interrupted, the same call goes on where it was.
  bool save = false;
  std::filesystem::path save_adversarial;  ///< a safetensors file; empty: none
  MachineOptions machine;
};

/// One test image before and after the attack.
struct Example {
  std::vector<std::uint8_t> clean, adversarial;  ///< [channels, height, width]
  std::string truth, clean_prediction, adversarial_prediction;
  bool fooled = false;
};

struct Evaluation {
  /// Accuracy by attack, radius and task, the worst case over attacks, means, checks and verdicts:
  /// docs/run-format.md lists the fields.
  nlohmann::json results;
  std::string title, caption;  ///< of the examples
  std::int64_t channels = 0, height = 0, width = 0;
  std::vector<Example> examples;  ///< of each class the first image that is classified rightly
  std::filesystem::path saved;    ///< the record's file, if it was to be kept
};
std::vector<std::string> known_attacks();  ///< names for EvaluateOptions, without numbers
Evaluation evaluate(const std::filesystem::path& run, const EvaluateOptions& options);

struct PredictOptions {
  std::string task;                   ///< its number or its name
  std::vector<std::string> pictures;  ///< files, folders, or "-" for one on standard input
  MachineOptions machine;
};

/// What a finished task's network says of pictures: {"task", "name", "classes", "pictures":
/// [{"file", "label", "probabilities": [{"label", "probability"}], most likely first}],
/// "failures": [{"file", "reason"}]}. Pictures become images as the task's test images did; the
/// task's data set need not be there.
nlohmann::json predict(const std::filesystem::path& run, const PredictOptions& options);

struct AddOptions {
  std::filesystem::path run;           ///< a finished run
  std::filesystem::path task;          ///< a file with the keys of one [[task]]
  std::filesystem::path out;           ///< the new run; empty: RUN-N, N being the new task's number
  std::vector<std::string> overrides;  ///< "key=value"
  double max_width = 0;    ///< the network may grow up to this; 0: as the run's config says
  double min_free = 0.02;  ///< share of the weights that a task needs at the least
  MachineOptions machine;
};

/// Continues a finished run with one more task, in a folder of its own: RUN stays as it is. Checks
/// all old tasks against the day they were committed, before and after. A usage Error says how
/// much capacity is missing where too little is free and the run may not grow. Called again after
/// an interruption it goes on. `proof`: what verify() says of the new run.
RunStatus add_task(const AddOptions& options, nlohmann::json& proof);
std::filesystem::path added_run_folder(const AddOptions& options);

struct ExportOptions {
  std::string task;  ///< its number or its name
  std::filesystem::path output;
  std::string format;          ///< onnx, torchscript, safetensors; empty: by the extension
  bool keep_channels = false;  ///< leave channels that cannot influence the logits in place
  MachineOptions machine;
};

/// Writes a finished task's network as a file that needs no CMAT (docs/export.md). Returns {"task",
/// "name", "classes", "format", "file", "bytes", "channels", "weights", "removed_channels",
/// "removed_weights"}, the counts as they are in the file.
nlohmann::json export_task(const std::filesystem::path& run, const ExportOptions& options);

/// What is inside a run's network: its layers and who owns them, who picks from whom, bytes and
/// channels a task. docs/export.md lists the fields. Takes committed tasks only.
nlohmann::json inspect(const std::filesystem::path& run, const MachineOptions& machine);

}  // namespace cmat::continual
