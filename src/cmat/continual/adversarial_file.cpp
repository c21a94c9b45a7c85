#include "cmat/continual/adversarial_file.h"

#include <ATen/Functions.h>

#include <algorithm>

#include "cmat/core/error.h"
#include "cmat/core/fraction.h"
#include "cmat/nn/tensors.h"

namespace cmat::continual {
namespace {

TensorBytes numbers(const std::vector<std::int64_t>& values) {
  return nn::to_bytes(at::tensor(values, at::kLong));
}

class StoredAttack : public attack::Attack {
 public:
  StoredAttack(std::string name, const attack::ThreatModel& threat,
               const std::vector<at::Tensor>& images, const std::vector<std::int64_t>& samples,
               std::string origin)
      : name_(std::move(name)), threat_(threat), origin_(std::move(origin)) {
    for (std::size_t i = 0; i < samples.size(); ++i) by_sample_[samples[i]] = images[i];
  }

  attack::AttackResult run(attack::Classifier& model, const at::Tensor& images,
                           const at::Tensor& labels, const std::vector<std::int64_t>& sample_ids,
                           const Key&) override {
    attack::check_inputs(images, labels, sample_ids);
    std::vector<at::Tensor> rows;
    for (std::int64_t id : sample_ids) {
      const auto found = by_sample_.find(id);
      if (found == by_sample_.end()) {
        usage_error(origin_, " holds no adversarial image of test image ", id,
                    ": make it with the same --limit and --tasks");
      }
      rows.push_back(found->second);
    }
    const at::Tensor adversarial = at::stack(rows).to(images.device());
    if (adversarial.sizes() != images.sizes()) {
      usage_error(origin_, " holds images of ", adversarial.sizes().slice(1),
                  ", but the task's are of ", images.sizes().slice(1));
    }
    try {
      return attack::finish(model, images, labels, adversarial, threat_);
    } catch (const Error&) {
      usage_error(origin_, " holds images that are further than eps = ",
                  format_eps(threat_.eps_pixels),
                  " from this run's test images: was it made from other data or at another radius?");
    }
  }
  std::string name() const override { return name_; }
  std::string recipe() const override { return text("adversarial images read from ", origin_); }

 private:
  std::string name_;
  attack::ThreatModel threat_;
  std::map<std::int64_t, at::Tensor> by_sample_;
  std::string origin_;
};

}  // namespace

void AdversarialImages::add(const std::string& group, std::span<const std::int64_t> samples,
                            const at::Tensor& images) {
  Group& g = groups_[group];
  g.samples.insert(g.samples.end(), samples.begin(), samples.end());
  g.images.push_back(images.detach().to(at::kCPU, at::kFloat).contiguous().clone());
}

void AdversarialImages::set_labels(const std::string& group,
                                   const std::vector<std::int64_t>& labels) {
  groups_[group].labels = labels;
}

void AdversarialImages::write(const std::filesystem::path& path,
                              const std::map<std::string, std::string>& about) {
  TensorFile file;
  file.metadata = about;
  for (const auto& [name, group] : groups_) {
    file.tensors[name + "/images"] = nn::to_bytes(at::cat(group.images));
    file.tensors[name + "/samples"] = numbers(group.samples);
    file.tensors[name + "/labels"] = numbers(group.labels);
  }
  write_tensor_file(path, file);
}

std::unique_ptr<attack::Attack> make_stored_attack(const TensorFile& file, const std::string& origin,
                                                   std::int64_t task,
                                                   const attack::ThreatModel& threat) {
  const std::string prefix = text("task", task, "/"), suffix = "/images";
  std::vector<std::string> groups;
  for (const auto& [name, bytes] : file.tensors) {
    if (name == prefix + "clean" + suffix) continue;
    if (name.starts_with(prefix) && name.ends_with(suffix))
      groups.push_back(name.substr(0, name.size() - suffix.size()));
  }
  if (groups.empty()) {
    usage_error(origin, " holds no adversarial images of task ", task,
                ": it must be a file of cmat eval --save-adversarial");
  }
  if (groups.size() > 1) {
    usage_error(origin, " holds the adversarial images of ", groups.size(), " attacks on task ",
                task, ", and one is to be scored: save one attack at one radius");
  }
  const at::Tensor images = nn::from_bytes(nn::require(file, groups[0] + suffix));
  const at::Tensor samples = nn::from_bytes(nn::require(file, groups[0] + "/samples"));
  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < images.size(0); ++i) rows.push_back(images[i]);
  const std::string attack = groups[0].substr(prefix.size(), groups[0].rfind('/') - prefix.size());
  return std::make_unique<StoredAttack>(
      "stored(" + attack + ")", threat, rows,
      std::vector<std::int64_t>(samples.const_data_ptr<std::int64_t>(),
                                samples.const_data_ptr<std::int64_t>() + samples.numel()),
      origin);
}

}  // namespace cmat::continual
