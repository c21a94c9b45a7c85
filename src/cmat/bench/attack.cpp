// Attacks on the frozen network, and what of their time is not the network's.
#include <ATen/Functions.h>

#include <algorithm>
#include <numeric>

#include "cmat/attack/registry.h"
#include "cmat/bench/workload.h"
#include "cmat/core/error.h"
#include "cmat/eval/watch.h"

namespace cmat::bench {

nlohmann::json attack(const Options& options) {
  const std::unique_ptr<continual::Setup> setup = make_workload(options);
  begin_last_task(*setup, options);
  nn::Network& network = setup->model->network();
  const std::unique_ptr<attack::Classifier> model = attack::make_classifier(network);
  const at::Tensor images = at::rand({options.batch, 3, 32, 32});
  // What the network says, so that no image is broken as it is, within a radius at which hardly one
  // is: every attack then runs to its end.
  const at::Tensor labels = model->logits(images).argmax(1);
  const attack::ThreatModel threat{attack::Norm::linf, 1e-6};
  std::vector<std::int64_t> ids(static_cast<std::size_t>(options.batch));
  std::iota(ids.begin(), ids.end(), 0);
  nlohmann::json result = described(options), rows = nlohmann::json::array();
  result["bench"] = "attack";
  result["kernels"] = network.kernels();
  const std::int64_t n = options.attack_steps;
  for (const std::string& name :
       {text("pgd", n), text("apgd-ce", n), text("apgd-t", n), text("fab-t", n), text("square", n)}) {
    const auto made = attack::make_attack(name, threat, {.classes = options.classes});
    std::vector<double> whole, outside;
    double forwards = 0, backwards = 0;
    for (int i = 0; i <= options.repeats; ++i) {
      eval::WatchedClassifier watched(*model);
      const double seconds =
          seconds_of([&] { made->run(watched, images, labels, ids, {.seed = 1}); });
      if (i == 0) continue;
      whole.push_back(seconds);
      outside.push_back((seconds - watched.seconds()) / seconds);
      forwards = static_cast<double>(watched.forwards());
      backwards = static_cast<double>(watched.backwards());
    }
    const double seconds = median(whole);
    rows.push_back({{"attack", name},
                    {"seconds", seconds},
                    {"forwards_per_second", forwards / seconds},
                    {"backwards_per_second", backwards / seconds},
                    {"outside_share", median(outside)}});
  }
  result["attacks"] = rows;
  return result;
}

}  // namespace cmat::bench
