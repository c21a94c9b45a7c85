#include "cmat/train/model.h"

#include <ATen/Functions.h>

#include <cmath>

#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/nn/tensors.h"

namespace cmat::train {
namespace {

constexpr const char* kState =
    "state";  // int64: committed tasks, active?, picks?, Adam's step, banks

/// restore_part leaves alone what a part lacks, since the bank has it: so a part that lacks more
/// would silently borrow from whatever task was shown before.
void require_whole(const nn::TaskPart& part, const nn::Network& network, std::int64_t minimum,
                   const std::string& name) {
  std::vector<nn::NamedTensor> needed = nn::private_parameters(network, minimum);
  for (nn::NamedTensor& b : network.buffers()) needed.push_back(std::move(b));
  const std::string head = network.head_name() + ".";
  for (const nn::NamedTensor& n : needed) {
    const auto found = part.tensors.find(n.name);
    if (found == part.tensors.end()) failure("the stored ", name, " lacks the tensor ", n.name);
    std::vector<std::int64_t> shape = n.tensor.sizes().vec();
    if (n.name.starts_with(head)) shape.front() = part.classes;
    if (found->second.sizes() != shape || found->second.scalar_type() != n.tensor.scalar_type()) {
      failure("the tensor ", n.name, " of the stored ", name,
              " has another shape or type than this network needs");
    }
  }
}

}  // namespace

Model::Model(const nn::Description& description, const ModelOptions& options)
    : description_(description),
      options_(options),
      network_(nn::build_network(description, options.dtype, options.device)) {
  nn::initialize(*network_, description_, options_.seed, 1);
}

void Model::make_bank() {
  banks_.push_back(std::make_unique<nn::WeightBank>(
      nn::shared_parameters(*network_, options_.private_below), options_.pick));
}

void Model::make_part_optimizer() {
  part_optimizer_ = std::make_unique<PartOptimizer>(
      nn::private_parameters(*network_, options_.private_below), network_->buffers());
}

bool Model::begin_task(std::int64_t classes) {
  const auto task = committed() + 1;
  const bool fresh = task == 1 || options_.sharing == Sharing::separate;
  const auto key_task = static_cast<std::uint64_t>(task);
  network_->resize_head(classes);
  if (fresh) {
    nn::initialize(*network_, description_, options_.seed, key_task);
    make_bank();
  } else {
    activate(task - 1);
    network_->resize_head(classes);
  }
  nn::initialize_head(*network_, options_.seed, key_task);
  if (options_.sharing == Sharing::overwritten && task > 1) {
    bank().claim_all(static_cast<int>(task));
  } else {
    bank().begin_task(
        static_cast<int>(task), options_.picks && options_.sharing == Sharing::owned,
        {.seed = options_.seed, .task = key_task, .stage = 1, .purpose = Purpose::initial_weights});
  }
  make_part_optimizer();
  active_ = true;
  return fresh;
}

void Model::begin_stage(bool average) {
  bank().begin_stage(average);
  part_optimizer_->begin_stage(average);
}

void Model::show_averages() {
  bank().compose_active(true);
  part_optimizer_->swap_average();
}

void Model::hide_averages() {
  bank().compose_active(false);
  part_optimizer_->swap_average();
}

void Model::adopt_averages() {
  bank().adopt_average();
  part_optimizer_->adopt_average();
}

TensorFile Model::snapshot() const {
  TensorFile file;
  banks_.back()->save(file, "bank/", nn::WeightBank::Detail::snapshot);
  nn::save_part(file, "part/", nn::capture_part(*network_, options_.private_below));
  return file;
}

void Model::restore(const TensorFile& snapshot) {
  const int task = bank().active_task();
  bank().load(snapshot, "bank/", task, bank().has_picks(), 0);
  nn::restore_part(*network_, nn::load_part(snapshot, "part/"));
  part_optimizer_->begin_stage(false);
  bank().compose_active(false);
}

void Model::commit() {
  nn::TaskPart part = nn::capture_part(*network_, options_.private_below);
  part.picks = bank().packed_picks();
  parts_.push_back(std::move(part));
  bank().commit();
  part_optimizer_.reset();
  active_ = false;
}

void Model::activate(std::int64_t task) {
  if (active_ && options_.sharing == Sharing::overwritten) {
    failure("finetune is learning task ", committed() + 1,
            " and overwrites the weights of the tasks ", "before it, so task ", task,
            " cannot be computed until that task is finished");
  }
  const auto index = static_cast<std::size_t>(task - 1);
  active_ = false;
  part_optimizer_.reset();  // the head that it trains may be replaced
  if (options_.sharing == Sharing::overwritten) {
    nn::restore_part(*network_, parts_.back());
    nn::restore_part(*network_, parts_.at(index), /*head_only=*/true);
    banks_.front()->compose_committed(static_cast<int>(committed()), {});
    return;
  }
  nn::restore_part(*network_, parts_.at(index));
  bank_of(task).compose_committed(static_cast<int>(task), parts_[index].picks);
}

std::string Model::weight_digest() const {
  std::string input;
  for (const nn::NamedTensor& p : network_->parameters()) {
    nn::append_for_digest(input, p.name, p.tensor);
  }
  for (const nn::NamedTensor& b : network_->buffers()) {
    nn::append_for_digest(input, b.name, b.tensor);
  }
  return sha256_hex(input);
}

void Model::rewind(std::int64_t task) {
  if (options_.sharing == Sharing::overwritten && task != committed()) {
    usage_error("finetune overwrites its weights with every task, so only its last task (",
                committed(), ") can be continued from, not task ", task);
  }
  if (options_.sharing == Sharing::overwritten && active_) {
    usage_error("finetune has overwritten task ", task, " in part while it learns task ",
                committed() + 1,
                ", so the run can be continued from only when that task is finished");
  }
  if (task < 1 || task > committed()) {
    usage_error("the run has ", committed(),
                " finished task(s), so it cannot be continued after task ", task);
  }
  parts_.resize(static_cast<std::size_t>(task));
  if (options_.sharing == Sharing::separate)
    banks_.resize(static_cast<std::size_t>(task));
  else
    banks_.front()->forget_after(static_cast<int>(task));
  banks_.back()->commit();
  part_optimizer_.reset();
  active_ = false;
}

std::int64_t Model::value_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& bank : banks_) {
    bytes += bank->weights() * static_cast<std::int64_t>(at::elementSize(options_.dtype));
  }
  return bytes;
}

std::int64_t Model::owner_bytes() const {
  return options_.sharing == Sharing::owned && !banks_.empty() ? banks_.front()->weights() : 0;
}

void Model::save(TensorFile& file, const std::string& prefix, bool training) const {
  using Detail = nn::WeightBank::Detail;
  const bool active = active_ && training;
  for (std::size_t i = 0; i < banks_.size(); ++i) {
    const bool last = i + 1 == banks_.size();
    banks_[i]->save(file, text(prefix, "bank", i, "/"),
                    active && last ? Detail::training : Detail::stored);
  }
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    nn::save_part(file, text(prefix, "task", i + 1, "/"), parts_[i]);
  }
  const auto flag = [](bool b) { return std::int64_t{b ? 1 : 0}; };
  const std::vector<std::int64_t> state = {
      committed(), flag(active), flag(active && banks_.back()->has_picks()),
      active ? banks_.back()->adam_step() : 0, static_cast<std::int64_t>(banks_.size())};
  file.tensors[prefix + kState] = nn::to_bytes(at::tensor(state, at::kLong));
  if (!active) return;
  nn::save_part(file, prefix + "active/", nn::capture_part(*network_, options_.private_below));
  part_optimizer_->save(file, prefix + "optimizer/");
}

void Model::load(const TensorFile& file, const std::string& prefix) {
  const at::Tensor state = nn::from_bytes(nn::require(file, prefix + kState));
  if (state.numel() != 5 || state.scalar_type() != at::kLong)
    failure("the stored model state is damaged");
  const auto* s = state.const_data_ptr<std::int64_t>();
  if (s[0] < 0 || s[0] > nn::kMaxTasks || s[4] < 0 || s[4] > nn::kMaxTasks) {
    failure("the stored model state is damaged");
  }
  active_ = s[1] != 0;
  part_optimizer_.reset();
  parts_.clear();
  for (std::int64_t i = 0; i < s[0]; ++i) {
    parts_.push_back(nn::load_part(file, text(prefix, "task", i + 1, "/")));
    require_whole(parts_.back(), *network_, options_.private_below, text("task ", i + 1));
  }
  banks_.clear();
  for (std::int64_t i = 0; i < s[4]; ++i) {
    make_bank();
    const bool active_bank = active_ && i + 1 == s[4];
    bank().load(file, text(prefix, "bank", i, "/"), active_bank ? static_cast<int>(s[0] + 1) : 0,
                active_bank && s[2] != 0, s[3]);
  }
  if (!active_) return;
  const nn::TaskPart part = nn::load_part(file, prefix + "active/");
  require_whole(part, *network_, options_.private_below, "task under way");
  nn::restore_part(*network_, part);
  make_part_optimizer();
  part_optimizer_->load(file, prefix + "optimizer/");
  bank().compose_active(false);
}

}  // namespace cmat::train
