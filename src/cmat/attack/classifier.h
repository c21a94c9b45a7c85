// All that an attack may touch of a model. Attacks see this and never the training module, so that
// a frozen executor, a user's module or a remote model can stand behind it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "cmat/nn/network.h"

namespace cmat::attack {

/// Logits [n,C] to one loss an example [n], differentiable. The attacker maximises it.
using LossFunction = std::function<at::Tensor(const at::Tensor& logits)>;

struct Gradient {
  at::Tensor dx;      ///< gradient of the SUM of the losses with respect to the images, [n,c,h,w]
  at::Tensor logits;  ///< [n,C]
  at::Tensor loss;    ///< [n]
};

/// z = (x - mean) / std, by channel; both empty: z = x.
struct Normalisation {
  std::vector<double> mean = {}, std = {};
};

class Classifier {
 public:
  virtual ~Classifier() = default;
  /// The network's own, for the original program's attack; empty where it has none or none is
  /// known.
  virtual Normalisation normalisation() const { return {}; }
  /// No gradients are recorded. Counts n forwards.
  at::Tensor logits(const at::Tensor& images);
  /// Counts n forwards and n backwards.
  Gradient gradient(const at::Tensor& images, const LossFunction& loss);
  /// d logits / d images, [n,C,c,h,w]. Counts n forwards and n*C backwards.
  at::Tensor jacobian(const at::Tensor& images);
  /// The logits that decide what counts as fooled: libtorch's, whatever kernels the attack used.
  /// Counts n forwards.
  at::Tensor verdict_logits(const at::Tensor& images);
  /// Penultimate activations [n,f]. Counts n forwards.
  at::Tensor features(const at::Tensor& images);

  /// Whether logits and gradients of such images are the same to the bit whatever else is in their
  /// batch and however large it is, so that nobody need fill one up. Verdicts may depend on it.
  virtual bool rows_are_independent(const at::Tensor& /*images*/) const { return false; }
  /// From now on verdicts are computed in batches of no fewer images than these, filled up with
  /// copies (which count): libtorch's kernels depend on the size of a batch. Returns the number
  /// before; 0: as they come.
  std::int64_t fill_verdicts(std::int64_t images) { return std::exchange(verdict_batch_, images); }

  std::int64_t forwards() const { return forwards_; }    ///< images so far
  std::int64_t backwards() const { return backwards_; }  ///< images so far

 protected:
  virtual at::Tensor do_logits(const at::Tensor& images) = 0;
  virtual at::Tensor do_verdict_logits(const at::Tensor& images) { return do_logits(images); }
  virtual Gradient do_gradient(const at::Tensor& images, const LossFunction& loss) = 0;
  virtual at::Tensor do_jacobian(const at::Tensor& images) = 0;
  virtual at::Tensor do_features(const at::Tensor& images) = 0;

 private:
  std::int64_t forwards_ = 0, backwards_ = 0, verdict_batch_ = 0;
};

/// Images [n,c,h,w] in [0,1] to logits [n,C], differentiable.
using Forward = std::function<at::Tensor(const at::Tensor& images)>;

/// A Classifier over a function, whose gradients autograd finds. Refuses (a usage Error) what is
/// not [n,C] of real numbers with C of 2 or more.
class FunctionClassifier : public Classifier {
 public:
  explicit FunctionClassifier(Forward forward) : forward_(std::move(forward)) {}

 protected:
  at::Tensor do_logits(const at::Tensor& images) override;
  Gradient do_gradient(const at::Tensor& images, const LossFunction& loss) override;
  at::Tensor do_jacobian(const at::Tensor& images) override;
  at::Tensor do_features(const at::Tensor& images) override;  ///< a usage Error: it has none

 private:
  Forward forward_;
};

enum class Mode { eval, train };

/// While it lives a module is in the given mode and its parameters record no gradient; the
/// destructor restores each module's mode, the requires_grad flags and (in train mode, where
/// forward passes move them) the buffers, bit for bit, also when an attack throws. Gradients stored
/// in .grad are not touched. Do not replace the module's tensors meanwhile.
class ModuleGuard {
 public:
  ModuleGuard(torch::nn::Module& root, const std::vector<nn::NamedTensor>& parameters,
              const std::vector<nn::NamedTensor>& buffers, Mode mode);
  ~ModuleGuard();
  ModuleGuard(const ModuleGuard&) = delete;
  ModuleGuard& operator=(const ModuleGuard&) = delete;

 private:
  torch::nn::Module& root_;
  /// A method may keep single modules in another mode than the rest, so each mode is kept.
  std::vector<std::pair<std::shared_ptr<torch::nn::Module>, bool>> was_training_;
  bool root_was_training_;
  std::vector<at::Tensor> parameters_;
  std::vector<bool> required_grad_;
  std::vector<at::Tensor> buffers_, saved_buffers_;
};

/// A Classifier over any torch::nn module, guarded; `forward` calls it:
/// ModuleClassifier(net, [&](const at::Tensor& x) { return net.forward(x); }).
class ModuleClassifier : public FunctionClassifier {
 public:
  ModuleClassifier(torch::nn::Module& module, Forward forward, Mode mode = Mode::eval);

 private:
  ModuleGuard guard_;
};

/// A Classifier over a network, guarded.
class NetworkClassifier : public FunctionClassifier {
 public:
  using Mode = attack::Mode;
  explicit NetworkClassifier(nn::Network& network, Mode mode = Mode::eval);
  Normalisation normalisation() const override;

 protected:
  at::Tensor do_features(const at::Tensor& images) override;

 private:
  nn::Network& network_;
  ModuleGuard guard_;
};

/// A Classifier over the network as it is now: its frozen form where it has one (nn/frozen) and the
/// mode is eval, else a NetworkClassifier. Do not change the network's tensors while it lives.
std::unique_ptr<Classifier> make_classifier(
    nn::Network& network, NetworkClassifier::Mode mode = NetworkClassifier::Mode::eval);

}  // namespace cmat::attack
