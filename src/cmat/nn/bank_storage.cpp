// What the bank keeps on disk: values, owners, training state, and picks as packed bits.
#include <ATen/Functions.h>

#include "cmat/core/error.h"
#include "cmat/nn/bank.h"
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
    std::vector<bool> bits;
    const bool* m = mask.const_data_ptr<bool>();
    const bool* p = picked.const_data_ptr<bool>();
    for (std::int64_t i = 0; i < mask.numel(); ++i) {
      if (m[i]) bits.push_back(p[i]);
    }
    packed[layer.name] = pack_bits(bits);
  }
  return packed;
}

void WeightBank::compose_committed(int task, const std::map<std::string, TensorBytes>& picks) {
  for (Layer& layer : layers_) {
    const BankTensors& s = layer.state;
    at::Tensor scores;
    if (const auto found = picks.find(layer.name); found != picks.end()) {
      const at::Tensor older =
          s.owners.gt(0).logical_and_(s.owners.lt(task)).to(at::kCPU).contiguous();
      const std::vector<bool> bits =
          unpack_bits(found->second, older.sum().item<std::int64_t>(), layer.name);
      at::Tensor plain = at::zeros(s.values.sizes(), at::TensorOptions(s.values.scalar_type()));
      const bool* m = older.const_data_ptr<bool>();
      std::size_t next = 0;
      const auto fill = [&](auto* out) {
        for (std::int64_t i = 0; i < older.numel(); ++i) {
          if (m[i]) out[i] = bits[next++] ? 1 : 0;
        }
      };
      if (plain.scalar_type() == at::kDouble)
        fill(plain.data_ptr<double>());
      else
        fill(plain.data_ptr<float>());
      scores = plain.to(s.values.device());
    } else if (!picks.empty()) {
      failure("the stored picks lack those of ", layer.name);
    }
    compose(s.values, s.owners, scores, task, 0.5, s.effective);
  }
}

PickCount WeightBank::count_picks(int task, const std::map<std::string, TensorBytes>& picks) const {
  const auto older = static_cast<std::size_t>(task - 1);
  PickCount count{std::vector<std::int64_t>(older, 0), std::vector<std::int64_t>(older, 0)};
  for (const Layer& layer : layers_) {
    const at::Tensor owners = layer.state.owners.to(at::kCPU).contiguous().flatten();
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
