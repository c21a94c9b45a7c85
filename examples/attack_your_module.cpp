// Attacks a torch::nn module of one's own: the network below stands for yours. Prints how many of the
// images it still classifies rightly, and what looks wrong with the answer.
#include <torch/nn.h>

#include <iostream>
#include <numeric>

#include "cmat/attack/registry.h"
#include "cmat/eval/model_checks.h"

int main() {
  torch::manual_seed(1);
  torch::nn::Sequential net(torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 8, 3).padding(1)),
                            torch::nn::ReLU(), torch::nn::AdaptiveAvgPool2d(2),
                            torch::nn::Flatten(), torch::nn::Linear(32, 5));
  const at::Tensor images = torch::rand({50, 3, 16, 16});  // pixels in [0,1]
  const at::Tensor labels = net->forward(images).argmax(1);
  std::vector<std::int64_t> ids(50);  // name the images for the random draws
  std::iota(ids.begin(), ids.end(), 0);

  using namespace cmat;
  // Eval mode and no parameter gradients while it lives; your module is then as it was.
  attack::ModuleClassifier model(*net, [&](const at::Tensor& x) { return net->forward(x); });
  const attack::ThreatModel threat{attack::Norm::linf, 8.0 / 255};
  for (const char* name : {"fgsm", "pgd20x2", "apgd-ce", "apgd-t", "square500"}) {
    const auto attack = attack::make_attack(name, threat, {.classes = 5});
    const auto result = attack->run(model, images, labels, ids, {.seed = 1});
    std::cout << attack->name() << ": " << (~result.fooled).sum().item<int>() << " of 50 left\n";
  }
  for (const auto& finding : eval::check_model(model, images, labels, threat.norm)) {
    std::cout << (finding.raised ? "WARNING: " : "check: ") << finding.message << "\n";
  }
}
