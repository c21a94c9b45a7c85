// The network in training: an ordinary libtorch module behind the few calls that the rest of the
// project makes. Its convolution and linear weights hold the EFFECTIVE weights of the active task
// and are autograd leaves; who owns what is the weight bank's business, so any module can be used.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cmat/core/random.h"
#include "cmat/nn/description.h"

namespace torch::nn {
class Module;
}

namespace cmat::nn {

namespace frozen {
class FrozenNetwork;
}

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

/// Without their names.
std::vector<at::Tensor> tensors_of(const std::vector<NamedTensor>& named);

/// Is shown the output of a ReLU, and what it returns takes its place. `norm` names the layer
/// before the ReLU if that is one of Network::scalable_norms(), else it is empty.
using ReluTap = std::function<at::Tensor(const std::string& norm, const at::Tensor& output)>;

class Network {
 public:
  virtual ~Network() = default;
  /// Images [n,c,h,w] in [0,1] to logits [n, classes].
  virtual at::Tensor forward(const at::Tensor& images) = 0;
  /// What the head reads: [n, features].
  virtual at::Tensor features(const at::Tensor& images) = 0;
  virtual void set_training(bool on) = 0;
  /// From now on the forward passes in training mode draw their dropout masks, one after the other,
  /// from this key's sequence (Purpose::dropout). Means nothing to a network without dropout.
  virtual void set_dropout_key(const Key& /*key*/) {}
  virtual bool is_training() const = 0;
  /// From now on `tap` stands behind every ReLU, one after the other, of forward() and features();
  /// an empty one ends that. The frozen form knows nothing of it.
  virtual void set_tap(ReluTap /*tap*/) {}
  /// Batch norms whose output goes to one ReLU and nowhere else, in the order of the layers. A
  /// factor >= 0 a channel behind that ReLU is the same factor on the norm's weight and bias.
  virtual std::vector<std::string> scalable_norms() const { return {}; }
  /// The live tensors (no copies), in a fixed order, with torch's dotted names.
  virtual std::vector<NamedTensor> parameters() const = 0;
  virtual std::vector<NamedTensor> buffers() const = 0;
  /// Replaces the head by one for `classes` classes (weights zero). Others' tensors stay the same
  /// objects.
  virtual void resize_head(std::int64_t classes) = 0;
  virtual std::string head_name() const = 0;
  virtual torch::nn::Module& module() = 0;

  /// The network as it is now in eval mode, for attacks and evaluations (nn/frozen); kept, and
  /// loaded anew at each call. Null where there is none: a bare module, float64, another device
  /// than the CPU, a processor without the vector instructions, or use_frozen(false).
  virtual frozen::FrozenNetwork* freeze() { return nullptr; }
  virtual void use_frozen(bool /*on*/) {}
  /// On: the caller vows that the weights stand still until the next call, which lets freeze() load
  /// them once for all, and training passes with a graph compute their convolutions as the frozen
  /// network does, from these weights; their gradients may be taken until the next freeze(). Off:
  /// as before. Means nothing where there is no frozen form.
  virtual void hold_weights(bool /*on*/) {}
  /// What computes attacks and, in training, 3x3 convolutions: "torch", or "frozen AVX2, in
  /// training too".
  virtual std::string kernels() const { return "torch"; }
};

/// Holds a network's weights for as long as it lives.
class HeldWeights {
 public:
  explicit HeldWeights(Network& network) : network_(network) { network_.hold_weights(true); }
  ~HeldWeights() { network_.hold_weights(false); }
  HeldWeights(const HeldWeights&) = delete;
  HeldWeights& operator=(const HeldWeights&) = delete;
  /// They have changed.
  void refresh() { network_.hold_weights(true); }

 private:
  Network& network_;
};

/// Builds the module of a description in float32 or float64, on `device`, in eval mode. Weights are
/// zero and norm layers the identity until initialize(). Convolution weights and activations are
/// channels-last in float32 on the CPU, contiguous elsewhere. Throws like infer_shapes. The network
/// takes images of every size that its layers can make something of, unless needs_fixed_size().
std::unique_ptr<Network> build_network(const Description& description, at::ScalarType dtype,
                                       at::Device device);

/// Kaiming-normal (fan-out) for convolutions, N(0, 0.01) for linear layers other than the head,
/// head uniform +-1/sqrt(features), biases zero, norm layers identity: each tensor from its own key
/// (Purpose::initial_weights, step = position), in logical order, so layout and device do not
/// matter.
void initialize(Network& network, const Description& description, std::uint64_t seed,
                std::uint64_t task);
/// The same with other draws: each tensor's key is `key` with step = position.
void initialize(Network& network, const Description& description, const Key& key);

/// What initialize() does to the head, alone: for a head that resize_head made.
void initialize_head(Network& network, std::uint64_t seed, std::uint64_t task);

}  // namespace cmat::nn
