// One Beta-Bernoulli mask a channel behind every batch norm that a ReLU follows (scalable_norms),
// and how a network carries their means: as factors of those norms' weights and biases. ReLU(m (g x
// + b)) = m ReLU(g x + b) for m >= 0, so the network itself computes, at every instant, what the
// masked one would under E[pi]; nothing that attacks, averages, keeps or exports it has to know of
// masks.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cmat/core/random.h"
#include "cmat/core/tensor_file.h"
#include "cmat/defense/beta_bernoulli.h"
#include "cmat/nn/network.h"

namespace cmat::defense {

/// A norm and its channels' place among the units.
struct MaskedNorm {
  std::string name;
  std::int64_t begin = 0, channels = 0;
};
/// In the order of the layers. Empty where a network has no such norms.
std::vector<MaskedNorm> masked_norms(const nn::Network& network);

/// Gives pruned channels the weight 1 again: a norm that starts as the task before left it would
/// hand them on, and no gradient could bring them back through the ReLU.
void revive_norms(nn::Network& network);

/// Multiplies weights and biases by `factors` [units], float64, >= 0.
void scale_norms(nn::Network& network, const std::vector<MaskedNorm>& norms,
                 const at::Tensor& factors);

/// Logits [n,C] with the channels behind the norms multiplied by `factors` [n,units] or [1,units],
/// float64. `features`, if given, gets the output of every ReLU, masked ones after their mask.
at::Tensor masked_forward(nn::Network& network, const at::Tensor& images,
                          const std::vector<MaskedNorm>& norms, const at::Tensor& factors,
                          std::vector<at::Tensor>* features = nullptr);

/// What a pass draws: one quantile a unit, and one number a unit and image, all in (0,1).
struct MaskNoise {
  at::Tensor u, v;  ///< [units] and [n,units], float64
};
/// An image's row depends on its id, the key and nothing else.
MaskNoise draw_mask_noise(std::int64_t units, std::span<const std::int64_t> sample_ids,
                          const Key& key);

/// The masks' parameters and Adam's moments, in float64 on the CPU.
class ChannelMasks {
 public:
  static constexpr double kAlpha = 1e-4;       ///< of the prior Beta(alpha, 1)
  static constexpr double kTemperature = 0.1;  ///< of the samples
  static constexpr double kPruned = 1e-3;      ///< E[pi] up to which a channel goes

  /// Forgets everything: the next bind() begins anew.
  void clear();
  bool empty() const { return !free_[0].defined(); }
  /// Before each step. Masks that begin do so at E[pi] = 0.68, but for channels whose weight and
  /// bias are 0, which were pruned before and stay so. A failure where the masks are another
  /// network's.
  void bind(const nn::Network& network);

  const std::vector<MaskedNorm>& norms() const { return norms_; }
  std::int64_t units() const { return free_[0].numel(); }
  std::int64_t steps() const { return steps_; }
  /// The two leaves that gradients are for, [units] each.
  std::vector<at::Tensor> leaves() const { return {free_[0], free_[1]}; }
  /// Samples [n,units], divided by what the norms hold already; 0 for pruned channels.
  at::Tensor sample(const MaskNoise& noise) const;
  /// The sum over units that are not pruned, a scalar.
  at::Tensor divergence() const;
  /// The factor that the norms hold, [units]: E[pi], at least kPruned, so that there is a way back.
  at::Tensor folded() const;
  /// bool [units]: neither pruned before nor E[pi] <= kPruned.
  at::Tensor kept() const;
  at::Tensor mean() const;  ///< E[pi], 0 for pruned channels
  /// One step of Adam (Kingma and Ba, 2015).
  void update(const std::vector<at::Tensor>& gradients, double lr);

  void save(TensorFile& file) const;
  void load(const TensorFile& file);

 private:
  std::vector<MaskedNorm> norms_;
  at::Tensor free_[2];  ///< what a and b are computed from; leaves
  at::Tensor moments_[2], squares_[2];
  at::Tensor alive_;        ///< bool: not pruned before
  std::int64_t steps_ = 0;  ///< of Adam
};

}  // namespace cmat::defense
