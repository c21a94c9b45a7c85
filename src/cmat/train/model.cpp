#include "cmat/train/model.h"

#include <ATen/Functions.h>

#include <cmath>

#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/nn/growth.h"
#include "cmat/nn/initial_weights.h"
#include "cmat/nn/tensors.h"

namespace cmat::train {
namespace {

constexpr const char* kState =
    "state";  // int64: committed tasks, active?, picks?, Adam's step, banks
constexpr const char* kWidth = "width";  // float64: of the banks
constexpr const char* kInitial = "initial/";

/// restore_part leaves alone what a part lacks, since the bank has it: so a part that lacks more
/// would silently borrow from whatever task was shown before.
void require_whole(const nn::TaskPart& part, const nn::Network& network, const nn::Names& shared,
                   const std::string& name) {
  std::vector<nn::NamedTensor> needed = nn::private_parameters(network, shared);
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
      network_(new_network(description)),
      shared_names_(nn::shared_names(*network_, options.private_below)) {
  nn::initialize(*network_, description_, options_.seed, 1);
}

std::unique_ptr<nn::Network> Model::new_network(const nn::Description& description) const {
  auto network = nn::build_network(description, options_.dtype, options_.device);
  network->use_frozen(options_.frozen);
  return network;
}

std::unique_ptr<nn::WeightBank> Model::new_bank() const {
  return std::make_unique<nn::WeightBank>(nn::shared_parameters(*network_, shared_names_),
                                          options_.pick);
}

void Model::make_part_optimizer() {
  part_optimizer_ = std::make_unique<PartOptimizer>(
      nn::private_parameters(*network_, shared_names_), network_->buffers());
}

std::int64_t Model::shared_weights(double width) const {
  std::int64_t weights = 0;
  for (const nn::Layer& layer : nn::at_width(description_, width).layers) {
    if (!shared_names_.contains(layer.name + ".weight")) continue;
    weights += layer.out * layer.in *
               (layer.kind == nn::LayerKind::conv ? layer.kernel * layer.kernel : 1);
  }
  return weights;
}

void Model::build(double width, std::int64_t classes, std::int64_t task) {
  description_ = nn::at_width(description_, width);
  network_ = new_network(description_);
  network_->resize_head(classes);
  nn::initialize(*network_, description_,
                 {.seed = options_.seed,
                  .task = static_cast<std::uint64_t>(task),
                  .stage = static_cast<std::uint64_t>(std::llround(width * 1e6)),
                  .purpose = Purpose::growth});
}

void Model::move_bank() {
  std::unique_ptr<nn::WeightBank> bank = new_bank();
  bank->continue_from(*banks_.front());
  banks_.front() = std::move(bank);
}

void Model::set_width(double width, std::int64_t classes) {
  if (width == this->width()) return;
  build(width, classes, 0);
  if (!banks_.empty()) move_bank();
  if (part_optimizer_) make_part_optimizer();
}

nn::Network& Model::network_of(double width) {
  if (width == this->width()) return *network_;
  if (!compact_ || compact_description_.width != width) {
    compact_description_ = nn::at_width(description_, width);
    compact_ = new_network(compact_description_);
  }
  return *compact_;
}

bool Model::begin_task(std::int64_t classes, double width) {
  const auto task = committed() + 1;
  const bool fresh = task == 1 || options_.sharing == Sharing::separate;
  const auto key_task = static_cast<std::uint64_t>(task);
  const bool from_file = fresh && !initial_weights_.tensors.empty();
  compact_shown_ = false;
  network_->resize_head(classes);
  if (fresh) {
    nn::initialize(*network_, description_, options_.seed, key_task);
    if (from_file) nn::load_initial_weights(*network_, initial_weights_);
    if (options_.sharing != Sharing::separate) initial_weights_ = {};
    banks_.push_back(new_bank());
  } else {
    // A single owner's weights are what later tasks start from, whatever was learned in between.
    activate(options_.single_owner ? 1 : task - 1);
    if (width > this->width()) grow(width);
    network_->resize_head(classes);
    nn::initialize_head(*network_, options_.seed, key_task);
  }
  if (options_.sharing == Sharing::overwritten && task > 1) {
    bank().claim_all(static_cast<int>(task));
  } else {
    bank().begin_task(
        static_cast<int>(task), options_.picks && options_.sharing == Sharing::owned,
        {.seed = options_.seed, .task = key_task, .stage = 1, .purpose = Purpose::initial_weights});
  }
  make_part_optimizer();
  active_ = true;
  return fresh && !from_file;
}

void Model::grow(double width) {
  if (options_.sharing != Sharing::owned || !(width > this->width())) {
    failure("a network of width ", this->width(), " cannot grow to the width ", width);
  }
  const std::unique_ptr<nn::Network> narrow = std::move(network_);
  build(width, nn::head_classes(*narrow), active_ ? committed() + 1 : committed());
  nn::transplant(*narrow, *network_);
  move_bank();
  if (active_) make_part_optimizer();
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

nn::TaskPart Model::capture() const {
  nn::TaskPart part = nn::capture_part(*network_, shared_names_);
  part.width = width();
  return part;
}

TensorFile Model::snapshot() const {
  TensorFile file;
  banks_.back()->save(file, "bank/", nn::WeightBank::Detail::snapshot);
  nn::save_part(file, "part/", capture());
  return file;
}

void Model::restore(const TensorFile& snapshot) {
  const int task = bank().active_task();
  const nn::TaskPart part = nn::load_part(snapshot, "part/");
  set_width(part.width, part.classes);
  bank().load(snapshot, "bank/", task, bank().has_picks(), 0);
  nn::restore_part(*network_, part);
  part_optimizer_->begin_stage(false);
  bank().compose_active(false);
}

void Model::commit() {
  nn::TaskPart part = capture();
  part.picks = bank().packed_picks();
  parts_.push_back(std::move(part));
  bank().commit();
  part_optimizer_.reset();
  active_ = false;
}

void Model::commit_together(const std::vector<std::int64_t>& classes) {
  const nn::TaskPart whole = capture();
  const std::string head = network_->head_name() + ".";
  std::int64_t row = 0;
  for (const std::int64_t count : classes) {
    nn::TaskPart part = whole;  // shares what nobody changes
    part.classes = count;
    for (auto& [name, tensor] : part.tensors) {
      if (name.starts_with(head)) tensor = tensor.narrow(0, row, count).clone();
    }
    parts_.push_back(std::move(part));
    row += count;
  }
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
  const nn::TaskPart& part = parts_.at(index);
  nn::Network& shown = network_of(part.width);
  compact_shown_ = &shown != network_.get();
  nn::restore_part(shown, part);
  bank_of(task).compose_committed(static_cast<int>(task), part.picks,
                                  nn::shared_parameters(shown, shared_names_));
}

std::string Model::weight_digest() const {
  std::string input;
  const nn::Network& shown = compact_shown_ ? *compact_ : *network_;
  for (const nn::NamedTensor& p : shown.parameters()) {
    nn::append_for_digest(input, p.name, p.tensor);
  }
  for (const nn::NamedTensor& b : shown.buffers()) {
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
  compact_shown_ = false;
  set_width(parts_.back().width, parts_.back().classes);
}

std::int64_t Model::value_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& bank : banks_) {
    bytes += bank->weights() * static_cast<std::int64_t>(at::elementSize(options_.dtype));
  }
  return bytes;
}

std::int64_t Model::owner_bytes() const {
  if (options_.sharing != Sharing::owned || banks_.empty()) return 0;
  const nn::WeightBank& bank = *banks_.front();
  return options_.single_owner && bank.owners_agree() ? 0 : bank.weights();
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
  file.tensors[prefix + kWidth] = nn::to_bytes(at::scalar_tensor(width(), at::kDouble));
  if (training) {
    for (const auto& [name, tensor] : initial_weights_.tensors) {
      file.tensors[prefix + kInitial + name] = tensor;
    }
  }
  if (!active) return;
  nn::save_part(file, prefix + "active/", capture());
  part_optimizer_->save(file, prefix + "optimizer/");
}

void Model::load_initial_weights(const TensorFile& file, const std::string& prefix) {
  initial_weights_ = {};
  for (auto it = file.tensors.lower_bound(prefix);
       it != file.tensors.end() && it->first.starts_with(prefix); ++it) {
    initial_weights_.tensors[it->first.substr(prefix.size())] = it->second;
  }
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
  compact_shown_ = false;
  load_initial_weights(file, prefix + kInitial);
  part_optimizer_.reset();
  parts_.clear();
  banks_.clear();
  set_width(nn::from_bytes(nn::require(file, prefix + kWidth)).item<double>(), 2);
  for (std::int64_t i = 0; i < s[0]; ++i) {
    parts_.push_back(nn::load_part(file, text(prefix, "task", i + 1, "/")));
    if (parts_.back().width > width()) {
      failure("the stored task ", i + 1, " is wider than the stored network");
    }
    require_whole(parts_.back(), network_of(parts_.back().width), shared_names_,
                  text("task ", i + 1));
  }
  for (std::int64_t i = 0; i < s[4]; ++i) {
    banks_.push_back(new_bank());
    const bool active_bank = active_ && i + 1 == s[4];
    bank().load(file, text(prefix, "bank", i, "/"), active_bank ? static_cast<int>(s[0] + 1) : 0,
                active_bank && s[2] != 0, s[3]);
  }
  if (!active_) return;
  const nn::TaskPart part = nn::load_part(file, prefix + "active/");
  require_whole(part, *network_, shared_names_, "task under way");
  nn::restore_part(*network_, part);
  make_part_optimizer();
  part_optimizer_->load(file, prefix + "optimizer/");
  bank().compose_active(false);
}

}  // namespace cmat::train
