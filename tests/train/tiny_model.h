// A tiny model that trains on random images: enough to move every tensor of its state.
#pragma once

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <string>
#include <vector>

#include "cmat/core/random.h"
#include "cmat/nn/tensors.h"
#include "cmat/train/model.h"

namespace cmat::test {

inline nn::Description tiny_description(const std::string& architecture = "tinybn") {
  nn::NetworkOptions options;
  options.architecture = architecture;
  options.height = options.image_width = 8;
  options.mean = options.std = {0.4, 0.5, 0.6};
  return nn::describe(options);
}

struct Images {
  at::Tensor x, y;
};

inline Images random_images(std::int64_t classes, at::ScalarType dtype, std::uint64_t seed) {
  Random random({.seed = seed});
  at::Tensor x = at::empty({12, 3, 8, 8}, at::TensorOptions(at::kDouble));
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data_ptr<double>()[i] = random.uniform();
  return {x.to(dtype), at::arange(12, at::kLong).remainder(classes)};
}

/// One step of plain cross-entropy with the averages moved, as the stage runner does it.
inline void train_step(train::Model& model, std::uint64_t seed) {
  const nn::Names& names = model.shared_names();
  std::vector<at::Tensor> leaves;
  for (const auto& p : nn::shared_parameters(model.network(), names)) leaves.push_back(p.tensor);
  const auto shared = static_cast<std::ptrdiff_t>(leaves.size());
  for (const auto& p : nn::private_parameters(model.network(), names)) leaves.push_back(p.tensor);
  const std::int64_t classes = leaves.back().size(0);  // the head's bias comes last
  const Images images = random_images(classes, model.options().dtype, seed);
  model.network().set_training(true);
  const at::Tensor loss = at::cross_entropy_loss(model.network().forward(images.x), images.y);
  const auto g = torch::autograd::grad({loss}, leaves);
  const at::NoGradGuard no_grad;
  nn::UpdateOptions options;
  options.adam.lr = 2e-3;
  options.average_decay = 0.7;
  model.bank().update({g.begin(), g.begin() + shared}, options);
  model.part_optimizer().update({g.begin() + shared, g.end()}, options.sgd);
  model.part_optimizer().average(options.average_decay);
}

inline void train_stage(train::Model& model, std::uint64_t seed, double ratio) {
  model.begin_stage(/*average=*/true);
  for (std::uint64_t step = 0; step < 3; ++step) train_step(model, seed * 100 + step);
  model.bank().prune(ratio);
  train_step(model, seed * 100 + 50);
}

inline void learn(train::Model& model, std::int64_t classes, std::uint64_t seed) {
  model.begin_task(classes);
  train_stage(model, seed, 0.5);
  model.adopt_averages();
  model.commit();
}

inline std::string saved(const train::Model& model, bool training) {
  TensorFile file;
  model.save(file, "m/", training);
  return serialize_tensor_file(file);
}

inline void load(train::Model& model, const std::string& bytes) {
  model.load(parse_tensor_file(bytes, "test"), "m/");
}

inline at::Tensor logits(train::Model& model) {
  const at::NoGradGuard no_grad;
  model.network().set_training(false);
  return model.network().forward(random_images(2, model.options().dtype, 77).x);
}

}  // namespace cmat::test
