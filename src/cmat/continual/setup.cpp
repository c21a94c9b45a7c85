#include "cmat/continual/setup.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/version.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "cmat/continual/budget.h"
#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/progress.h"
#include "cmat/data/joint.h"
#include "cmat/nn/initial_weights.h"

namespace cmat::continual {
namespace {

at::Device device_of(const MachineOptions& machine) {
  return machine.device == "cuda" ? at::Device(at::kCUDA) : at::Device(at::kCPU);
}

/// Only what carries weights counts: what lies between may have any height and width.
bool same_weights(const nn::Description& a, const nn::Description& b) {
  return std::equal(a.layers.begin(), a.layers.end(), b.layers.begin(), b.layers.end(),
                    [](const nn::Layer& x, const nn::Layer& y) {
                      return x.kind == y.kind && x.in == y.in && x.out == y.out;
                    });
}

/// Refuses images whose size asks for weights of other shapes than the first task's.
void check_image_sizes(const data::Stream& stream, nn::NetworkOptions network,
                       const nn::Description& first) {
  for (std::size_t i = 1; i < stream.tasks.size(); ++i) {
    const data::ImageSet& images = stream.tasks[i].source->train;
    if (images.height == network.height && images.width == network.image_width) continue;
    network.height = images.height;
    network.image_width = images.width;
    if (same_weights(nn::describe(network), first)) continue;
    usage_error("the images of task ", i + 1, " (", stream.tasks[i].name, ") have ", images.height,
                "x", images.width, " pixels, those of task 1 ", first.height, "x",
                first.image_width, ", and the weights of ", network.architecture,
                " depend on the size: give all tasks images of one size (data.size for pictures), "
                "or choose a network that pools globally, such as resnet8");
  }
}

}  // namespace

MachineOptions prepare_machine(MachineOptions machine, const std::filesystem::path& run) {
  if (!run.empty()) {
    const nlohmann::json record = train::read_run_record(run);
    if (machine.threads == 0) machine.threads = record.at("threads").get<int>();
    if (machine.device.empty()) machine.device = record.value("device", "cpu");
  }
  if (machine.device.empty()) machine.device = "cpu";
  if (machine.device != "cpu" && machine.device != "cuda") {
    usage_error("--device must be cpu or cuda, not \"", machine.device, "\"");
  }
  if (machine.device == "cuda" && !at::globalContext().hasCUDA()) {
    usage_error(
        "--device cuda was asked for, but this libtorch finds no CUDA device: build with a CUDA ",
        "libtorch (LIBTORCH=DIR) on a machine that has one, or use --device cpu");
  }
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  if (machine.threads <= 0) machine.threads = cores;
  at::set_num_threads(machine.threads);
  if (machine.device == "cuda") {
    // Bit-identical results need kernels that add in a fixed order; TF32 would drop 13 bits of each
    // factor. cuBLAS reads its setting when it is first used.
    setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
    at::globalContext().setDeterministicCuDNN(true);
    at::globalContext().setBenchmarkCuDNN(false);
    at::globalContext().setAllowTF32CuDNN(false);
    at::globalContext().setAllowTF32CuBLAS(false);
  }
  return machine;
}

std::string logits_key(const train::Settings& settings, const MachineOptions& machine) {
  return text("threads=", at::get_num_threads(), " batch=", settings.evaluation.batch,
              " device=", machine.device, " isa=", at::get_cpu_capability(),
              " libtorch=", TORCH_VERSION);
}

namespace {

std::unique_ptr<train::Model> make_model(const nn::Description& description,
                                         const train::Settings& settings, const Method& method,
                                         const MachineOptions& machine) {
  train::ModelOptions options;
  options.sharing = method.sharing();
  options.picks = method.picks();
  options.single_owner = method.single_owner();
  options.fixed_start = method.name() == "piggyback" && settings.method.backbone == "file";
  options.pick = settings.picks;
  options.private_below = settings.private_below;
  options.seed = settings.seed;
  options.device = device_of(machine);
  options.frozen = settings.frozen;
  return std::make_unique<train::Model>(description, options);
}

void check_growth(const train::GrowthSettings& growth, double width, std::size_t tasks) {
  if (growth.max_width > 0 && growth.max_width < width) {
    usage_error("growth.max_width (", growth.max_width, ") is less than network.width (", width,
                "), which the network begins with");
  }
  if (growth.goals.size() > 1 && growth.goals.size() != tasks) {
    usage_error("growth.goals has ", growth.goals.size(), " values for ", tasks,
                " tasks: give one for all of them or one each");
  }
}

/// Networks of a given number of bytes are as wide as that allows.
void fit_to_budget(const train::MethodSettings& method, const std::vector<std::int64_t>& classes,
                   nn::NetworkOptions& network) {
  if (method.name == "small") network.width = width_within(method.budget, network, classes);
}

/// A run that is called pre-trained has to say by what.
void check_pretrained(const defense::Objective& objective, const nn::InitialWeightsSource& source) {
  if (!objective.name().starts_with("pretrained-at") || !source.empty()) return;
  usage_error(
      "objective.name = \"pretrained-at\" needs weights to begin with: set network.init = "
      "\"run\" and network.run to a finished run, or \"file\" and network.file");
}

void check_norms(const defense::Objective& objective, const nn::Network& network,
                 const std::string& architecture) {
  if (!objective.name().starts_with("anp-vs") || !network.scalable_norms().empty()) return;
  usage_error("objective.name = \"anp-vs\" masks the channels of batch norms that a ReLU follows, ",
              "and the network ", architecture, " has none: choose another network.architecture, ",
              "such as small_cnn or resnet8");
}

void check_backbone(const train::MethodSettings& method, const nn::InitialWeightsSource& source) {
  if (method.name != "piggyback" || method.backbone != "file" || !source.empty()) return;
  usage_error("method.backbone = \"file\" needs the weights that stay fixed: set ",
              "network.init = \"file\" and network.file, or \"run\" and network.run");
}

}  // namespace

std::unique_ptr<Setup> make_setup(Config config, const MachineOptions& machine) {
  auto setup = std::make_unique<Setup>();
  setup->settings = train::read_settings(config);
  setup->objective = defense::make_objective(config, setup->settings.threat);
  const train::MethodSettings& method = setup->settings.method;
  if (method.name == "joint" && method.joint_head == "tasks" &&
      config.number("objective.distillation", 0, 0, 1) > 0) {
    usage_error(
        "objective.distillation compares logits over all classes, which joint training with a head "
        "a task does not have: set it to 0, or method.joint_head to \"one\"");
  }
  // The network's options depend on the images, so every key has to be asked for before finish()
  // can tell an unknown one, and the data, which may take a while, is loaded only once the config
  // is sound.
  nn::NetworkOptions network = nn::read_network_options(config, 3, 32, 32);
  setup->initial_weights = nn::read_initial_weights_source(config);
  config.finish();
  check_backbone(setup->settings.method, setup->initial_weights);
  check_pretrained(*setup->objective, setup->initial_weights);
  setup->stream = data::make_stream(setup->settings.stream);
  const data::ImageSet& images = setup->stream.tasks.front().source->train;
  network.channels = images.channels;
  network.height = images.height;
  network.image_width = images.width;
  network.classes = static_cast<std::int64_t>(setup->stream.tasks.front().classes.size());
  std::vector<std::int64_t> classes;
  for (const data::Task& task : setup->stream.tasks) classes.push_back(std::ssize(task.classes));
  fit_to_budget(setup->settings.method, classes, network);
  setup->description = nn::describe(network);
  check_image_sizes(setup->stream, network, setup->description);
  check_growth(setup->settings.growth, network.width, setup->stream.tasks.size());
  setup->method = make_method(setup->settings,
                              {.tasks = static_cast<std::int64_t>(setup->stream.tasks.size())});
  if (setup->stream.tasks.size() > static_cast<std::size_t>(nn::kMaxTasks)) {
    usage_error("the stream has ", setup->stream.tasks.size(), " tasks, and a network holds ",
                nn::kMaxTasks, " at most");
  }
  if (setup->method->joint()) setup->joined.tasks = {data::join(setup->stream)};
  setup->model = make_model(setup->description, setup->settings, *setup->method, machine);
  check_norms(*setup->objective, setup->model->network(), network.architecture);
  setup->resolved = config.resolved();
  return setup;
}

void require_run(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder / "run.json")) return;
  usage_error(folder.string(), " is not a run folder of CMAT (it has no run.json)");
}

void require_unedited_config(const std::filesystem::path& folder, const nlohmann::json& run) {
  if (sha256_hex(read_file(folder / "config.toml")) == run.at("config_sha256")) return;
  usage_error("the config of the run ", folder.string(),
              " was edited after the run began: restore config.toml, or train a new run from it");
}

OpenedModel open_model(const std::filesystem::path& folder, const MachineOptions& asked) {
  require_run(folder);
  require_unedited_config(folder, train::read_run_record(folder));
  const std::filesystem::path file = folder / "model.safetensors";
  if (!std::filesystem::exists(file)) {
    usage_error("the run ", folder.string(), " is not finished, so it has no model yet: continue ",
                "it with `cmat train ", folder.string(), " --resume`");
  }
  OpenedModel run;
  run.machine = prepare_machine(asked, folder);
  run.results = train::read_results(folder);
  Config config = Config::load(folder / "config.toml");
  run.settings = train::read_settings(config);
  const nlohmann::json& tasks = run.results.at("tasks");
  const auto image = tasks.at(0).at("image").get<std::vector<std::int64_t>>();
  nn::NetworkOptions network =
      nn::read_network_options(config, image.at(0), image.at(1), image.at(2));
  network.classes = static_cast<std::int64_t>(tasks.at(0).at("classes").size());
  std::vector<std::int64_t> classes;
  for (const nlohmann::json& task : tasks) classes.push_back(std::ssize(task.at("classes")));
  fit_to_budget(run.settings.method, classes, network);
  const auto method = make_method(run.settings, {.tasks = static_cast<std::int64_t>(tasks.size())});
  run.model = make_model(nn::describe(network), run.settings, *method, run.machine);
  train::load_checkpoint(read_tensor_file(file), file, *run.model);
  return run;
}

OpenedRun open_run(const std::filesystem::path& folder, const MachineOptions& asked) {
  namespace fs = std::filesystem;
  require_run(folder);
  require_unedited_config(folder, train::read_run_record(folder));
  OpenedRun run;
  run.machine = prepare_machine(asked, folder);
  run.setup = make_setup(Config::load(folder / "config.toml"), run.machine);
  if (fs::exists(folder / "model.safetensors")) {
    const TensorFile file = read_tensor_file(folder / "model.safetensors");
    run.state = train::load_checkpoint(file, folder / "model.safetensors", *run.setup->model);
    run.certificate = train::extract(file, "certificate/");
    return run;
  }
  std::string warning;
  run.state = train::load_newest_checkpoint(folder, *run.setup->model, warning);
  if (!warning.empty()) Progress("", 0).line("warning: " + warning);
  return run;
}

}  // namespace cmat::continual
