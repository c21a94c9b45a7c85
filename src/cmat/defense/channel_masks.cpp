#include "cmat/defense/channel_masks.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <map>

#include "cmat/core/error.h"
#include "cmat/nn/tensors.h"

namespace cmat::defense {
namespace {

// As published: a = 2.13 and b = 1.
constexpr double kFirstA = 2.0, kFirstB = 0.5413;

std::map<std::string, at::Tensor> live_parameters(const nn::Network& network) {
  std::map<std::string, at::Tensor> tensors;
  for (const nn::NamedTensor& p : network.parameters()) tensors[p.name] = p.tensor.detach();
  return tensors;
}

/// Its channels that were not pruned, bool.
at::Tensor is_alive(const std::map<std::string, at::Tensor>& live, const MaskedNorm& norm) {
  return live.at(norm.name + ".weight").ne(0).logical_or(live.at(norm.name + ".bias").ne(0));
}

/// Ends the tap, also when a pass throws.
class TapGuard {
 public:
  TapGuard(nn::Network& network, nn::ReluTap tap) : network_(network) {
    network_.set_tap(std::move(tap));
  }
  ~TapGuard() { network_.set_tap({}); }
  TapGuard(const TapGuard&) = delete;
  TapGuard& operator=(const TapGuard&) = delete;

 private:
  nn::Network& network_;
};

/// Neither 0 nor 1, whose logarithms would be infinite.
double open_uniform(Random& random) { return random.uniform(1e-10, 1 - 1e-10); }

at::Tensor fresh(double value, std::int64_t units) { return at::full({units}, value, at::kDouble); }

}  // namespace

std::vector<MaskedNorm> masked_norms(const nn::Network& network) {
  const std::map<std::string, at::Tensor> live = live_parameters(network);
  std::vector<MaskedNorm> norms;
  std::int64_t begin = 0;
  for (const std::string& name : network.scalable_norms()) {
    const std::int64_t channels = live.at(name + ".weight").numel();
    norms.push_back({name, begin, channels});
    begin += channels;
  }
  return norms;
}

void scale_norms(nn::Network& network, const std::vector<MaskedNorm>& norms,
                 const at::Tensor& factors) {
  const c10::NoGradGuard no_grad;
  const std::map<std::string, at::Tensor> live = live_parameters(network);
  for (const MaskedNorm& norm : norms) {
    for (const char* part : {".weight", ".bias"}) {
      const at::Tensor tensor = live.at(norm.name + part);
      // In float64, and rounded once.
      tensor.copy_(tensor.to(at::kDouble) *
                   factors.narrow(0, norm.begin, norm.channels).to(tensor.device()));
    }
  }
}

void revive_norms(nn::Network& network) {
  const c10::NoGradGuard no_grad;
  const std::map<std::string, at::Tensor> live = live_parameters(network);
  for (const MaskedNorm& norm : masked_norms(network)) {
    live.at(norm.name + ".weight").masked_fill_(is_alive(live, norm).logical_not(), 1);
  }
}

at::Tensor masked_forward(nn::Network& network, const at::Tensor& images,
                          const std::vector<MaskedNorm>& norms, const at::Tensor& factors,
                          std::vector<at::Tensor>* features) {
  const at::Tensor here = factors.to(images.options());
  std::map<std::string, at::Tensor> masks;
  for (const MaskedNorm& norm : norms) {
    masks[norm.name] = here.narrow(1, norm.begin, norm.channels).unsqueeze(2).unsqueeze(3);
  }
  const TapGuard guard(network, [&](const std::string& norm, const at::Tensor& output) {
    const auto mask = masks.find(norm);
    at::Tensor value = mask == masks.end() ? output : output * mask->second;
    if (features) features->push_back(value);
    return value;
  });
  return network.forward(images);
}

MaskNoise draw_mask_noise(std::int64_t units, std::span<const std::int64_t> sample_ids,
                          const Key& key) {
  const auto n = static_cast<std::int64_t>(sample_ids.size());
  MaskNoise noise{at::empty({units}, at::kDouble), at::empty({n, units}, at::kDouble)};
  const auto fill_row = [units](Random random, double* row) {
    for (std::int64_t i = 0; i < units; ++i) row[i] = open_uniform(random);
  };
  // Images are told apart by the sample, passes by even steps, and u from v by odd ones.
  fill_row(Random(key.for_step(2 * key.step)), noise.u.data_ptr<double>());
  for (std::int64_t i = 0; i < n; ++i) {
    const auto id = static_cast<std::uint64_t>(sample_ids[static_cast<std::size_t>(i)]);
    fill_row(Random(key.for_step(2 * key.step + 1).for_sample(id)),
             noise.v.data_ptr<double>() + i * units);
  }
  return noise;
}

void ChannelMasks::clear() { *this = ChannelMasks(); }

void ChannelMasks::bind(const nn::Network& network) {
  norms_ = masked_norms(network);
  if (norms_.empty()) {
    failure(
        "anp-vs masks channels behind batch norms that a ReLU follows, and this network has none");
  }
  const std::int64_t channels = norms_.back().begin + norms_.back().channels;
  if (!empty()) {
    if (units() == channels) return;
    failure("there are masks of anp-vs for ", units(), " channels, but the network has ", channels);
  }
  free_[0] = fresh(kFirstA, channels).requires_grad_(true);
  free_[1] = fresh(kFirstB, channels).requires_grad_(true);
  for (int i : {0, 1}) moments_[i] = fresh(0, channels);
  for (int i : {0, 1}) squares_[i] = fresh(0, channels);
  const std::map<std::string, at::Tensor> live = live_parameters(network);
  std::vector<at::Tensor> alive;
  for (const MaskedNorm& norm : norms_) alive.push_back(is_alive(live, norm));
  alive_ = at::cat(alive).to(at::kCPU);
}

at::Tensor ChannelMasks::sample(const MaskNoise& noise) const {
  const at::Tensor log_pi = log_probability(kumaraswamy(free_[0], free_[1]), noise.u);
  return concrete_sample(log_pi, noise.v, kTemperature) * alive_ / folded();
}

at::Tensor ChannelMasks::divergence() const {
  return (divergence_from_prior(kumaraswamy(free_[0], free_[1]), kAlpha) * alive_).sum();
}

at::Tensor ChannelMasks::folded() const {
  const c10::NoGradGuard no_grad;
  return mean_probability(kumaraswamy(free_[0], free_[1])).clamp_min(kPruned);
}

at::Tensor ChannelMasks::mean() const {
  const c10::NoGradGuard no_grad;
  return mean_probability(kumaraswamy(free_[0], free_[1])) * alive_;
}

at::Tensor ChannelMasks::kept() const { return mean().gt(kPruned); }

void ChannelMasks::update(const std::vector<at::Tensor>& gradients, double lr) {
  const c10::NoGradGuard no_grad;
  constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEps = 1e-8;
  ++steps_;
  const double first = 1 - std::pow(kBeta1, steps_), second = 1 - std::pow(kBeta2, steps_);
  for (std::size_t i = 0; i < 2; ++i) {
    const at::Tensor g = gradients[i].detach();
    moments_[i].mul_(kBeta1).add_(g, 1 - kBeta1);
    squares_[i].mul_(kBeta2).addcmul_(g, g, 1 - kBeta2);
    free_[i].detach().sub_(moments_[i] / first / ((squares_[i] / second).sqrt() + kEps) * lr);
  }
}

void ChannelMasks::save(TensorFile& file) const {
  if (empty()) return;
  for (std::size_t i = 0; i < 2; ++i) {
    const std::string name = i == 0 ? "masks/a" : "masks/b";
    file.tensors[name] = nn::to_bytes(free_[i].detach());
    file.tensors[name + "/moment"] = nn::to_bytes(moments_[i]);
    file.tensors[name + "/square"] = nn::to_bytes(squares_[i]);
  }
  file.tensors["masks/alive"] = nn::to_bytes(alive_.to(at::kByte));
  file.tensors["masks/steps"] = nn::to_bytes(at::scalar_tensor(steps_, at::kLong));
}

void ChannelMasks::load(const TensorFile& file) {
  clear();
  if (!file.tensors.contains("masks/a")) return;  // saved before the first step
  const auto read = [&](const std::string& name) {
    return nn::from_bytes(nn::require(file, name));
  };
  const std::int64_t channels = read("masks/a").numel();
  const auto read_units = [&](const std::string& name) {
    at::Tensor values = fresh(0, channels);
    nn::load_into(values, nn::require(file, name), name);
    return values;
  };
  for (std::size_t i = 0; i < 2; ++i) {
    const std::string name = i == 0 ? "masks/a" : "masks/b";
    free_[i] = read_units(name).requires_grad_(true);
    moments_[i] = read_units(name + "/moment");
    squares_[i] = read_units(name + "/square");
  }
  at::Tensor alive = at::zeros({channels}, at::kByte);
  nn::load_into(alive, nn::require(file, "masks/alive"), "masks/alive");
  alive_ = alive.to(at::kBool);
  steps_ = read("masks/steps").item<std::int64_t>();
}

}  // namespace cmat::defense
