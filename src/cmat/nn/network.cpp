#include "cmat/nn/network.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include <utility>

#include "cmat/core/error.h"
#include "cmat/core/random.h"
#include "cmat/nn/frozen/frozen_network.h"

namespace cmat::nn {
namespace {

using torch::nn::Module;

/// "layer1.0.conv1" -> the module "layer1.0", made on the way if need be, and "conv1". Torch has no
/// dots in a module's own name: a dotted name is a path through nested modules.
std::pair<Module*, std::string> find_parent(Module& root, const std::string& name) {
  Module* parent = &root;
  std::size_t begin = 0;
  for (std::size_t dot; (dot = name.find('.', begin)) != std::string::npos; begin = dot + 1) {
    const std::string part = name.substr(begin, dot - begin);
    const auto children = parent->named_children();
    const auto* child = children.find(part);
    parent =
        child ? child->get() : parent->register_module(part, std::make_shared<Module>(part)).get();
  }
  return {parent, name.substr(begin)};
}

std::shared_ptr<Module> make_module(const Layer& layer) {
  namespace tn = torch::nn;
  switch (layer.kind) {
    case LayerKind::normalize:
      return std::make_shared<Module>("normalize");
    case LayerKind::conv:
      return std::make_shared<tn::Conv2dImpl>(tn::Conv2dOptions(layer.in, layer.out, layer.kernel)
                                                  .stride(layer.stride)
                                                  .padding(layer.padding)
                                                  .bias(layer.bias));
    case LayerKind::batch_norm:
      return std::make_shared<tn::BatchNorm2dImpl>(
          tn::BatchNorm2dOptions(layer.out).eps(1e-5).momentum(0.1));
    case LayerKind::linear:
      return std::make_shared<tn::LinearImpl>(
          tn::LinearOptions(layer.in, layer.out).bias(layer.bias));
    default:
      return nullptr;
  }
}

/// The images of a grey data set, [n,1,h,w], are contiguous and channels-last at once; torch takes
/// them for contiguous, and so would go on with contiguous activations. Strides that say
/// channels-last without doubt, at no cost, keep the whole network in one layout.
at::Tensor as_channels_last(const at::Tensor& x) {
  if (x.size(1) != 1) return x.contiguous(at::MemoryFormat::ChannelsLast);
  return x.reshape({x.size(0), x.size(2), x.size(3), 1}).permute({0, 3, 1, 2});
}

/// [out, in]: row i averages the entries from floor(i in / out) to ceil((i + 1) in / out).
at::Tensor averaging_matrix(std::int64_t in, std::int64_t out, const at::Tensor& like) {
  std::vector<double> entries(static_cast<std::size_t>(in * out), 0.0);
  for (std::int64_t i = 0; i < out; ++i) {
    const std::int64_t begin = i * in / out, end = ((i + 1) * in + out - 1) / out;
    for (std::int64_t j = begin; j < end; ++j) {
      entries[static_cast<std::size_t>(i * in + j)] = 1.0 / static_cast<double>(end - begin);
    }
  }
  return at::tensor(entries, at::kDouble).view({out, in}).to(like.options());
}

/// Adaptive average pooling to side x side. It is linear in rows and in columns, hence two
/// products; torch's own kernel adds its gradients in any order on CUDA.
at::Tensor average_to(const at::Tensor& x, std::int64_t side) {
  if (x.size(2) == side && x.size(3) == side) return x;
  const at::Tensor rows = averaging_matrix(x.size(2), side, x);
  const at::Tensor columns = averaging_matrix(x.size(3), side, x);
  return at::matmul(at::matmul(rows, x), columns.t());
}

class DescribedNetwork : public Network {
 public:
  DescribedNetwork(const Description& description, at::ScalarType dtype, at::Device device);

  at::Tensor forward(const at::Tensor& images) override {
    return run(images, description_.layers.size());
  }
  at::Tensor features(const at::Tensor& images) override {
    return run(images, description_.layers.size() - 1);
  }
  void set_training(bool on) override { root_->train(on); }
  void set_dropout_key(const Key& key) override {
    dropout_draws_ = Random(key.for_purpose(Purpose::dropout));
  }
  bool is_training() const override { return root_->is_training(); }
  void set_tap(ReluTap tap) override { tap_ = std::move(tap); }
  std::vector<std::string> scalable_norms() const override;
  std::vector<NamedTensor> parameters() const override { return list(root_->named_parameters()); }
  std::vector<NamedTensor> buffers() const override { return list(root_->named_buffers()); }
  void resize_head(std::int64_t classes) override;
  std::string head_name() const override { return description_.head().name; }
  Module& module() override { return *root_; }
  frozen::FrozenNetwork* freeze() override;
  void use_frozen(bool on) override { use_frozen_ = on; }
  void hold_weights(bool on) override;
  std::string kernels() const override {
    return may_freeze() ? text("frozen ", frozen::instruction_set(), ", in training too, ",
                               frozen::kRevision)
                        : "torch";
  }

 private:
  template <typename Tensors>
  static std::vector<NamedTensor> list(const Tensors& tensors) {
    std::vector<NamedTensor> result;
    for (const auto& item : tensors) result.push_back({item.key(), item.value()});
    return result;
  }

  struct Use {
    std::size_t last = 0;  ///< the last layer that reads the value
    int count = 0;         ///< how many layers read it
  };

  bool may_freeze() const {
    return use_frozen_ && dtype_ == at::kFloat && device_.is_cpu() && frozen::is_supported();
  }
  void add_module(const Layer& layer);
  void place(Module& module, const Layer& layer) const;
  void find_uses();
  /// Of the batch norm that a layer reads, if nobody else does; else empty.
  std::string own_norm(const Layer& layer) const;
  void check_images(const at::Tensor& images) const;
  bool may_overwrite(std::size_t value) const;
  at::Tensor run(const at::Tensor& images, std::size_t layers);
  at::Tensor apply(std::size_t index, const std::vector<at::Tensor>& values);
  at::Tensor drop(const at::Tensor& x, double rate);
  at::Tensor convolve(const Layer& layer, torch::nn::Conv2dImpl& conv, const at::Tensor& x) const;

  Description description_;
  at::ScalarType dtype_;
  at::Device device_;
  bool channels_last_;
  bool any_size_ = false;
  Random dropout_draws_{{.purpose = Purpose::dropout}};
  std::shared_ptr<Module> root_ = std::make_shared<Module>("network");
  std::vector<std::shared_ptr<Module>> modules_;  ///< one a layer, null where it has no state
  std::vector<Use> uses_;                         ///< of each value
  ReluTap tap_;
  bool use_frozen_ = true;
  bool holds_ = false;  ///< what frozen_ is loaded with is what the modules hold
  std::unique_ptr<frozen::FrozenNetwork> frozen_;
};

DescribedNetwork::DescribedNetwork(const Description& description, at::ScalarType dtype,
                                   at::Device device)
    : description_(description),
      dtype_(dtype),
      device_(device),
      channels_last_(dtype == at::kFloat && device.is_cpu()) {
  infer_shapes(description_);
  any_size_ = !needs_fixed_size(description_);
  for (const Layer& layer : description_.layers) add_module(layer);
  find_uses();
  set_training(false);
}

void DescribedNetwork::add_module(const Layer& layer) {
  modules_.push_back(make_module(layer));
  if (!modules_.back()) return;
  Module& module = *modules_.back();
  if (layer.kind == LayerKind::normalize) {
    module.register_buffer("mean", at::tensor(description_.mean, at::kDouble));
    module.register_buffer("std", at::tensor(description_.std, at::kDouble));
  }
  place(module, layer);
  const auto [parent, name] = find_parent(*root_, layer.name);
  parent->register_module(name, modules_.back());
}

/// Moves a new module to dtype, device and layout. Module::to is not used: it would make
/// num_batches_tracked, an integer, a float.
void DescribedNetwork::place(Module& module, const Layer& layer) const {
  const at::NoGradGuard no_grad;
  const auto options = at::TensorOptions().dtype(dtype_).device(device_);
  for (at::Tensor& parameter : module.parameters()) {
    const bool conv_weight = layer.kind == LayerKind::conv && parameter.dim() == 4;
    const bool identity = layer.kind == LayerKind::batch_norm;
    at::Tensor value = identity ? parameter.to(options) : at::zeros(parameter.sizes(), options);
    parameter.set_data(conv_weight && channels_last_ ? as_channels_last(value) : value);
  }
  for (at::Tensor& buffer : module.buffers()) {
    buffer.set_data(buffer.is_floating_point() ? buffer.to(options) : buffer.to(device_));
  }
}

void DescribedNetwork::find_uses() {
  uses_.assign(description_.layers.size() + 1, {});
  for (std::size_t i = 0; i < description_.layers.size(); ++i) {
    for (int value : description_.layers[i].inputs) {
      Use& use = uses_[static_cast<std::size_t>(value)];
      use.last = i;
      ++use.count;
    }
  }
}

std::string DescribedNetwork::own_norm(const Layer& layer) const {
  const auto input = static_cast<std::size_t>(layer.inputs[0]);
  if (input == 0 || uses_[input].count != 1) return {};
  const Layer& maker = description_.layers[input - 1];
  return maker.kind == LayerKind::batch_norm ? maker.name : std::string();
}

std::vector<std::string> DescribedNetwork::scalable_norms() const {
  std::vector<std::string> norms;
  for (const Layer& layer : description_.layers) {
    const std::string norm = layer.kind == LayerKind::relu ? own_norm(layer) : std::string();
    if (!norm.empty()) norms.push_back(norm);
  }
  return norms;
}

void DescribedNetwork::check_images(const at::Tensor& images) const {
  const Description& d = description_;
  const bool same_size =
      images.dim() == 4 && images.size(2) == d.height && images.size(3) == d.image_width;
  if (images.dim() != 4 || images.size(1) != d.channels || !(same_size || any_size_)) {
    const std::string size = any_size_ ? "height, width" : text(d.height, ", ", d.image_width);
    usage_error("this network takes images of the shape [n, ", d.channels, ", ", size, "], not ",
                images.sizes());
  }
  if (!same_size) {  // tells an image that is too small for the layers
    Description resized = d;
    resized.height = images.size(2);
    resized.image_width = images.size(3);
    infer_shapes(resized);
  }
  if (images.scalar_type() != dtype_) {
    usage_error("this network computes in ", at::toString(dtype_), ", but its images are ",
                at::toString(images.scalar_type()));
  }
}

/// Whether a value has one reader and memory of its own (what flatten and the like return may be
/// their input, or a view of it), and its maker's gradient does not need it (ReLU's does).
bool DescribedNetwork::may_overwrite(std::size_t value) const {
  if (value == 0 || uses_[value].count != 1) return false;
  const LayerKind maker = description_.layers[value - 1].kind;
  return maker != LayerKind::flatten && maker != LayerKind::dropout && maker != LayerKind::relu &&
         maker != LayerKind::adaptive_avg_pool;
}

at::Tensor DescribedNetwork::run(const at::Tensor& images, std::size_t layers) {
  check_images(images);
  std::vector<at::Tensor> values(layers + 1);
  values[0] = images;
  for (std::size_t i = 0; i < layers; ++i) {
    values[i + 1] = apply(i, values);
    const Layer& layer = description_.layers[i];
    if (tap_ && layer.kind == LayerKind::relu) values[i + 1] = tap_(own_norm(layer), values[i + 1]);
    // Where no gradient is recorded this returns the memory to the allocator for the next layer.
    for (int value : layer.inputs) {
      const auto used = static_cast<std::size_t>(value);
      if (uses_[used].last == i) values[used].reset();
    }
  }
  return values[layers];
}

at::Tensor DescribedNetwork::apply(std::size_t index, const std::vector<at::Tensor>& values) {
  const Layer& layer = description_.layers[index];
  Module* module = modules_[index].get();
  const auto input = static_cast<std::size_t>(layer.inputs[0]);
  const at::Tensor& x = values[input];
  switch (layer.kind) {
    case LayerKind::normalize: {
      const auto buffers = module->named_buffers(false);
      return x.sub(buffers["mean"].view({1, -1, 1, 1})).div_(buffers["std"].view({1, -1, 1, 1}));
    }
    case LayerKind::conv:
      return convolve(layer, *static_cast<torch::nn::Conv2dImpl*>(module),
                      channels_last_ ? as_channels_last(x) : x);
    case LayerKind::batch_norm:
      return static_cast<torch::nn::BatchNorm2dImpl*>(module)->forward(x);
    case LayerKind::relu:
      // No layer's gradient needs its own output but ReLU's, so a value that only this layer reads
      // may be overwritten: one allocation and one pass over fresh memory less.
      return may_overwrite(input) ? at::Tensor(x).relu_() : at::relu(x);
    case LayerKind::max_pool:
      return at::max_pool2d(x, {layer.kernel, layer.kernel}, {layer.stride, layer.stride},
                            {layer.padding, layer.padding});
    case LayerKind::global_avg_pool:
      return x.mean({2, 3});
    case LayerKind::adaptive_avg_pool:
      return average_to(x, layer.kernel);
    case LayerKind::flatten:
      return x.flatten(1);
    case LayerKind::add:
      return x + values[static_cast<std::size_t>(layer.inputs[1])];
    case LayerKind::linear:
      return static_cast<torch::nn::LinearImpl*>(module)->forward(x);
    case LayerKind::dropout:
      return is_training() ? drop(x, layer.rate) : x;
  }
  failure("a layer of an unknown kind");
}

/// oneDNN's weight gradient of a strided 1x1 convolution with fewer channels than a vector register
/// holds writes beyond its memory (its issue 6035, AVX2). Where only the pixels that count are
/// handed over, there is no stride.
bool misleads_onednn(const Layer& layer) {
  constexpr std::int64_t most_lanes = 16;
  return layer.kernel == 1 && layer.stride > 1 && layer.padding == 0 && layer.in < most_lanes;
}

at::Tensor DescribedNetwork::convolve(const Layer& layer, torch::nn::Conv2dImpl& conv,
                                      const at::Tensor& x) const {
  if (holds_ && is_training() && at::GradMode::is_enabled()) {
    const frozen::LayerProducts* products = frozen_->training_products(layer.name);
    const auto fits = [&](const frozen::Side& in) {
      return x.size(2) == in.height && x.size(3) == in.width;
    };
    if (products && fits(products->shape.in)) {
      return frozen::training_convolution(*products, x, conv.weight, conv.bias);
    }
  }
  if (misleads_onednn(layer)) {
    const auto every = [&](const at::Tensor& t, std::int64_t dim) {
      return t.slice(dim, 0, t.size(dim), layer.stride);
    };
    const at::Tensor seen = every(every(x, 2), 3).contiguous(x.suggest_memory_format());
    return at::conv2d(seen, conv.weight, conv.bias);
  }
  return conv.forward(x);
}

/// The masks are drawn here and not by torch, so that they are the same on every device and with
/// any number of threads, and nobody else's draws change them (Srivastava et al., 2014).
at::Tensor DescribedNetwork::drop(const at::Tensor& x, double rate) {
  at::Tensor mask = at::empty(x.sizes(), at::TensorOptions(at::kFloat));
  auto* kept = mask.data_ptr<float>();
  for (std::int64_t i = 0; i < mask.numel(); ++i) {
    kept[i] = dropout_draws_.uniform() < rate ? 0.0f : 1.0f;
  }
  return x * mask.to(x.options()).div_(1 - rate);
}

void DescribedNetwork::resize_head(std::int64_t classes) {
  if (classes < 1) usage_error("a network needs at least one class");
  Layer& head = description_.layers.back();
  std::shared_ptr<Module>& old = modules_.back();
  const bool requires_grad = old->parameters().front().requires_grad();
  const bool training = old->is_training();
  head.out = classes;
  auto fresh = std::make_shared<torch::nn::LinearImpl>(
      torch::nn::LinearOptions(head.in, head.out).bias(head.bias));
  place(*fresh, head);
  fresh->train(training);
  for (at::Tensor& parameter : fresh->parameters()) parameter.requires_grad_(requires_grad);
  const auto [parent, name] = find_parent(*root_, head.name);
  parent->replace_module(name, fresh);
  old = fresh;
}

frozen::FrozenNetwork* DescribedNetwork::freeze() {
  if (!may_freeze()) return nullptr;
  if (holds_) return frozen_.get();
  if (!frozen_) frozen_ = std::make_unique<frozen::FrozenNetwork>(description_);
  frozen_->load(*this);
  return frozen_.get();
}

void DescribedNetwork::hold_weights(bool on) {
  holds_ = false;
  holds_ = on && freeze();
}

}  // namespace

std::vector<at::Tensor> tensors_of(const std::vector<NamedTensor>& named) {
  std::vector<at::Tensor> tensors;
  for (const NamedTensor& n : named) tensors.push_back(n.tensor);
  return tensors;
}

std::unique_ptr<Network> build_network(const Description& description, at::ScalarType dtype,
                                       at::Device device) {
  if (dtype != at::kFloat && dtype != at::kDouble) {
    usage_error("a network computes in float32 or float64, not in ", at::toString(dtype));
  }
  return std::make_unique<DescribedNetwork>(description, dtype, device);
}

}  // namespace cmat::nn
