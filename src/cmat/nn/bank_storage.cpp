// What the bank keeps on disk: values, owners, training state, and picks as packed bits.
#include <ATen/Functions.h>

#include "cmat/core/error.h"
#include "cmat/nn/bank.h"
#include "cmat/nn/growth.h"
#include "cmat/nn/tensors.h"

namespace cmat::nn {

std::map<std::string, TensorBytes> WeightBank::packed_picks() const {
  std::map<std::string, TensorBytes> packed;
  if (!has_picks_) return packed;
  for (const Layer& layer : layers_) {
    const at::Tensor older = layer.state.owners.gt(0).logical_and_(layer.state.owners.lt(task_));
    const at::Tensor picked =
        layer.state.scores.gt(picks_.threshold).to(at::kCPU).contiguous().flatten();
    const at::Tensor mask = older.to(at::kCPU).contiguous().flatten();
    packed[layer.name] = pack_chosen_bits(picked, mask);
  }
  return packed;
}

namespace {

/// The leading corner of `tensor` that fits `like`, in its layout; the tensor itself where it fits.
at::Tensor fitted(const at::Tensor& tensor, const at::Tensor& like) {
  if (tensor.sizes() == like.sizes()) return tensor;
  const at::Tensor corner = leading_corner(tensor, like.sizes());
  if (corner.sizes() != like.sizes()) failure("a bank cannot fill a wider network than its own");
  return at::empty_like(like, like.options().dtype(tensor.scalar_type())).copy_(corner);
}

/// 1 where an older entry is picked, else 0; the bits run over the entries with 0 < owner < task.
at::Tensor unpacked_picks(const TensorBytes& packed, const at::Tensor& owners, int task,
                          at::ScalarType dtype, const std::string& name) {
  const at::Tensor older = owners.gt(0).logical_and_(owners.lt(task)).to(at::kCPU).contiguous();
  const at::Tensor picked = unpack_chosen_bits(packed, older, name);
  return at::empty_like(owners, owners.options().dtype(dtype)).copy_(picked);
}

}  // namespace

void WeightBank::compose_committed(int task, const std::map<std::string, TensorBytes>& picks) {
  std::vector<NamedTensor> live;
  for (const Layer& layer : layers_) live.push_back({layer.name, layer.state.effective});
  compose_committed(task, picks, live);
}

void WeightBank::compose_committed(int task, const std::map<std::string, TensorBytes>& picks,
                                   const std::vector<NamedTensor>& shared) const {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const at::Tensor target = shared.at(i).tensor.detach();
    const at::Tensor values = fitted(layer.state.values, target);
    const at::Tensor owners = fitted(layer.state.owners, target);
    at::Tensor scores;
    if (const auto found = picks.find(layer.name); found != picks.end()) {
      scores = unpacked_picks(found->second, owners, task, values.scalar_type(), layer.name);
    } else if (!picks.empty()) {
      failure("the stored picks lack those of ", layer.name);
    }
    compose(values, owners, scores, task, 0.5, target);
  }
}

PickCount WeightBank::count_picks(int task, const std::map<std::string, TensorBytes>& picks,
                                  const std::vector<NamedTensor>& shared) const {
  const auto older = static_cast<std::size_t>(task - 1);
  PickCount count{std::vector<std::int64_t>(older, 0), std::vector<std::int64_t>(older, 0)};
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    const at::Tensor corner = fitted(layer.state.owners, shared.at(l).tensor);
    const at::Tensor owners = corner.to(at::kCPU).contiguous().flatten();
    const auto* owner = owners.const_data_ptr<std::uint8_t>();
    std::vector<std::size_t> owner_of_bit;
    for (std::int64_t i = 0; i < owners.numel(); ++i) {
      if (owner[i] > 0 && owner[i] < task) owner_of_bit.push_back(owner[i] - std::size_t{1});
    }
    for (std::size_t o : owner_of_bit) ++count.owned[o];
    if (picks.empty()) continue;  // every older weight is used
    const auto found = picks.find(layer.name);
    if (found == picks.end()) failure("the stored picks lack those of ", layer.name);
    const std::vector<bool> bits =
        unpack_bits(found->second, static_cast<std::int64_t>(owner_of_bit.size()), layer.name);
    for (std::size_t i = 0; i < bits.size(); ++i) count.picked[owner_of_bit[i]] += bits[i];
  }
  if (picks.empty()) count.picked = count.owned;
  return count;
}

void WeightBank::save(TensorFile& file, const std::string& prefix, Detail detail) const {
  for (const Layer& layer : layers_) {
    const BankTensors& s = layer.state;
    const std::string at = prefix + layer.name;
    const auto optional = [&](const char* name, const at::Tensor& t) {
      if (t.defined()) file.tensors[at + name] = to_bytes(t);
    };
    optional("/values", s.values);
    optional("/owners", s.owners);
    if (detail == Detail::stored) continue;
    optional("/scores", s.scores);
    if (detail == Detail::snapshot) continue;
    file.tensors[at + "/candidates"] = to_bytes(at::scalar_tensor(layer.candidates, at::kLong));
    optional("/momentum", s.momentum);
    optional("/score_m", s.score_m);
    optional("/score_v", s.score_v);
    optional("/average_values", s.average_values);
    optional("/average_scores", s.average_scores);
  }
}

void WeightBank::load(const TensorFile& file, const std::string& prefix, int active_task,
                      bool has_picks, std::int64_t adam_step) {
  task_ = active_task;
  has_picks_ = has_picks;
  adam_step_ = adam_step;
  for (Layer& layer : layers_) {
    BankTensors& s = layer.state;
    const std::string at = prefix + layer.name;
    load_into(s.values, require(file, at + "/values"), at);
    load_into(s.owners, require(file, at + "/owners"), at);
    const auto optional = [&](const char* name, at::Tensor& t) {
      const auto found = file.tensors.find(at + name);
      t = at::Tensor();
      if (found == file.tensors.end()) return;
      t = at::empty_like(s.values);
      load_into(t, found->second, at + name);
    };
    optional("/scores", s.scores);
    optional("/score_m", s.score_m);
    optional("/score_v", s.score_v);
    optional("/average_values", s.average_values);
    optional("/average_scores", s.average_scores);
    if (s.scores.defined() && !s.score_m.defined()) {
      s.score_m = at::zeros_like(s.values);
      s.score_v = at::zeros_like(s.values);
    }
    s.momentum.zero_();
    if (file.tensors.contains(at + "/momentum")) {
      load_into(s.momentum, require(file, at + "/momentum"), at);
      layer.candidates = from_bytes(require(file, at + "/candidates")).item<std::int64_t>();
    }
  }
}

}  // namespace cmat::nn
