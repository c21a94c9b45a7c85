#include "cmat/bench/bench.h"

#include <iostream>
#include <memory>

#include "cmat/report/layout.h"
#include "cmat/report/wording.h"
#include "commands.h"

namespace cmat::app {
namespace {

struct Measurement {
  const char* name;
  const char* description;
  nlohmann::json (*measure)(const bench::Options&);
};

constexpr Measurement kMeasurements[] = {
    {"step", "A training step: attack, weight step, bank", bench::step},
    {"kernels", "The convolutions and matrix products of that step alone", bench::kernels},
    {"pass", "An attack's pass: the frozen network against libtorch's graph", bench::pass},
    {"layers", "The same, convolution by convolution", bench::layers},
    {"attack", "Attacks: passes a second, and the share of time outside the network",
     bench::attack},
    {"update", "The bank's update against a plain pass over as many bytes", bench::update},
    {"prune", "Pruning half of the weights against torch's kthvalue", bench::prune},
    {"memory", "Memory of training steps, and what a task adds to the model", bench::memory},
};

struct BenchArguments {
  bench::Options options;
  bool as_json = false;
};

/// One row a layer; times in milliseconds.
void print_layers(const nlohmann::json& layers) {
  std::vector<report::Column> columns = {{"layer", {}}, {"shape", {}},    {"forward", {}},
                                         {"ms", {}},    {"torch ms", {}}, {"backward", {}},
                                         {"ms", {}},    {"torch ms", {}}};
  const char* keys[] = {"layer",
                        "shape",
                        "forward",
                        "forward_seconds",
                        "torch_forward_seconds",
                        "backward",
                        "backward_seconds",
                        "torch_backward_seconds"};
  for (const nlohmann::json& layer : layers) {
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const nlohmann::json& value = layer.at(keys[i]);
      columns[i].cells.push_back(value.is_string() ? value.get<std::string>()
                                                   : report::fixed(1e3 * value.get<double>(), 2));
    }
  }
  std::cout << "\n" << report::format_columns(columns, 2);
}

/// One row an attack.
void print_attacks(const nlohmann::json& attacks) {
  std::vector<report::Column> columns = {
      {"attack", {}}, {"seconds", {}}, {"forwards/s", {}}, {"backwards/s", {}}, {"outside %", {}}};
  for (const nlohmann::json& a : attacks) {
    columns[0].cells.push_back(a.at("attack").get<std::string>());
    columns[1].cells.push_back(report::fixed(a.at("seconds").get<double>(), 3));
    columns[2].cells.push_back(report::fixed(a.at("forwards_per_second").get<double>(), 0));
    columns[3].cells.push_back(report::fixed(a.at("backwards_per_second").get<double>(), 0));
    columns[4].cells.push_back(report::fixed(100 * a.at("outside_share").get<double>(), 1));
  }
  std::cout << "\n" << report::format_columns(columns, 1);
}

void print(const nlohmann::json& result, bool as_json) {
  if (as_json) {
    std::cout << result.dump(1) << "\n";
    return;
  }
  std::vector<std::pair<std::string, std::string>> facts;
  for (const auto& [key, value] : result.items()) {
    if (value.is_array()) continue;  // a table of its own
    std::string words = value.is_string() ? value.get<std::string>() : value.dump();
    if (value.is_object()) {
      words.clear();
      for (const auto& [name, part] : value.items()) {
        words += (words.empty() ? "" : ", ") + name + " " + part.dump();
      }
    }
    facts.emplace_back(key, words);
  }
  std::cout << report::format_facts(facts);
  if (result.contains("layers")) print_layers(result.at("layers"));
  if (result.contains("attacks")) print_attacks(result.at("attacks"));
}

void add_measurement(CLI::App& parent, const Measurement& m) {
  auto a = std::make_shared<BenchArguments>();
  bench::Options& o = a->options;
  CLI::App* command = parent.add_subcommand(m.name, m.description);
  command->add_option("--network", o.network, "Architecture, for images of 3x32x32")
      ->capture_default_str();
  command->add_option("--width", o.width, "Multiplier of its channels")->capture_default_str();
  command->add_option("--batch", o.batch, "Images a step")
      ->check(CLI::Range(2, 65536))
      ->capture_default_str();
  command
      ->add_option("--attack-steps", o.attack_steps,
                   "Steps of an attack, of the one before a weight step, and passes in a row")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command->add_option("--task", o.task, "Task being trained; 2 and later have picks")
      ->check(CLI::Range(1, 255))
      ->capture_default_str();
  command->add_option("--classes", o.classes, "Classes of each task")
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  command->add_option("--threads", o.threads, "Threads (default: one a core)")
      ->check(CLI::Range(1, 4096));
  command->add_option("--repeats", o.repeats, "Timed repetitions, of which the median is taken")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--kernels", o.kernels, "What computes attacks, as network.kernels")
      ->check(CLI::IsMember({"auto", "torch"}))
      ->capture_default_str();
  command->add_option("--objective", o.objective, "What a step trains with, as objective.name")
      ->capture_default_str();
  command->add_option("--set", o.set, "Override a config value of the workload");
  command->add_flag("--json", a->as_json, "Print JSON");
  command->callback([a, measure = m.measure] { print(measure(a->options), a->as_json); });
}

}  // namespace

void add_bench_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("bench", "Measure this program's own speed and memory on this machine");
  command->require_subcommand(1);
  for (const Measurement& m : kMeasurements) add_measurement(*command, m);
}

}  // namespace cmat::app
