// cmat attack: any TorchScript classifier under attack.
#include <iostream>
#include <memory>

#include "cmat/continual/attack_model.h"
#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/fraction.h"
#include "commands.h"
#include "evaluation_output.h"
#include "options.h"

namespace cmat::app {
namespace {

struct AttackArguments {
  std::string model, images, attacks = "clean,apgd-ce,apgd-t", eps, mean, std, grid, save,
                             save_adversarial;
  bool as_json = false, no_checks = false;
  continual::AttackModelOptions options;
};

/// "0.5,0.5,0.5", of which each may be a fraction.
std::vector<double> parse_numbers(const std::string& list, const char* what) {
  std::vector<double> numbers;
  for (const std::string& part : split(list)) numbers.push_back(parse_fraction(part, what));
  if (numbers.empty() && !list.empty()) usage_error(what, " names no number");
  return numbers;
}

void run_attack(AttackArguments& a) {
  continual::AttackModelOptions& o = a.options;
  o.model = a.model;
  o.images = a.images;
  o.attacks = parse_attacks(a.attacks);
  o.eps = parse_radii(a.eps);
  o.mean = parse_numbers(a.mean, "--mean");
  o.std = parse_numbers(a.std, "--std");
  o.save_adversarial = a.save_adversarial;
  o.checks = !a.no_checks;
  o.examples = !a.grid.empty();
  const continual::Evaluation evaluation = continual::attack_model(o);
  const std::string record =
      evaluation.results.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (a.as_json)
    std::cout << record;
  else
    print_evaluation(evaluation.results);
  if (!a.save.empty()) write_file_atomic(a.save, record);
  if (!a.grid.empty()) draw_examples(evaluation, a.grid);
}

}  // namespace

void add_attack_command(CLI::App& app) {
  auto a = std::make_shared<AttackArguments>();
  CLI::App* command = app.add_subcommand(
      "attack", "Attack a TorchScript classifier of one's own, and check the outcome");
  command
      ->add_option("model", a->model,
                   "TorchScript file: images [n,c,h,w] in [0,1] to logits [n,classes]")
      ->required();
  command
      ->add_option("--images", a->images,
                   "A safetensors file with images and labels, a picture, or a folder of pictures "
                   "or of one folder a class")
      ->required();
  command->add_option("--labels", a->options.labels,
                      "A file with a number a line, or NAME NUMBER; or one number for all images");
  command->add_option(
      "--targets", a->options.targets,
      "Send the attacks to chosen classes: a file like that of --labels, one number for all images "
      "(its own are left out), or \"next\", the class after the label's");
  command->add_option("--logits", a->options.logits,
                      "Only these outputs of the network, say 5:10 for 5 to 9");
  command->add_option("--mean", a->mean,
                      "Comma-separated, by channel: the network takes (image - mean) / std");
  command->add_option("--std", a->std, "See --mean");
  command
      ->add_option("--attack", a->attacks,
                   "Comma-separated: " + attack_list() + "; pgd20x2 has 20 steps and 2 runs")
      ->capture_default_str();
  command->add_option("--eps", a->eps,
                      "Comma-separated radii in pixels of [0,1] images (default in linf: 8/255)");
  command->add_option("--norm", a->options.norm, "linf, l2 or l1 (default: linf)");
  command->add_option("--curve", a->options.curve,
                      "Spread the attacks over eps, steps or step-size");
  command->add_option("--limit", a->options.limit, "At most this many images, balanced over labels")
      ->check(CLI::Range(1, 1000000000));
  command->add_option("--size", a->options.size, "Cut pictures to this many pixels a side")
      ->check(CLI::Range(1, 4096));
  command->add_flag("--grey", a->options.grey, "Read pictures with one channel");
  command->add_option("--batch", a->options.batch, "Images a pass")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->add_option("--seed", a->options.seed, "Of random starts")->capture_default_str();
  command->add_option("--grid", a->grid,
                      "Also draw what the last attack makes of images into this SVG or PNG file");
  command->add_option("--save", a->save, "Also write the record, as JSON, into this file");
  command->add_option("--save-adversarial", a->save_adversarial,
                      "Also write the adversarial images into this safetensors file");
  command->add_flag("--no-checks", a->no_checks,
                    "Do not look for signs that the attacks are too weak to be believed");
  command->add_flag("--json", a->as_json, "Print JSON");
  command->add_option("--threads", a->options.machine.threads, "Threads (default: one a core)")
      ->check(CLI::Range(1, 4096));
  command->add_option("--device", a->options.machine.device, "cpu or cuda (default: cpu)");
  command->callback([a] { run_attack(*a); });
}

}  // namespace cmat::app
