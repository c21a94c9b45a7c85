// A network that hands everything on to another one: the base of those that change a few calls.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cmat/nn/network.h"

namespace cmat::nn {

/// Has no frozen form, and so attacks compute with libtorch: that of the inner network would pass
/// by what the wrapper does to forward().
class NetworkWrapper : public Network {
 public:
  /// REQUIRES that the inner network outlives this.
  explicit NetworkWrapper(Network& inner) : inner_(inner) {}

  at::Tensor forward(const at::Tensor& images) override { return inner_.forward(images); }
  at::Tensor features(const at::Tensor& images) override { return inner_.features(images); }
  void set_training(bool on) override { inner_.set_training(on); }
  void set_dropout_key(const Key& key) override { inner_.set_dropout_key(key); }
  bool is_training() const override { return inner_.is_training(); }
  void set_tap(ReluTap tap) override { inner_.set_tap(std::move(tap)); }
  std::vector<std::string> scalable_norms() const override { return inner_.scalable_norms(); }
  std::vector<NamedTensor> parameters() const override { return inner_.parameters(); }
  std::vector<NamedTensor> buffers() const override { return inner_.buffers(); }
  void resize_head(std::int64_t classes) override { inner_.resize_head(classes); }
  std::string head_name() const override { return inner_.head_name(); }
  torch::nn::Module& module() override { return inner_.module(); }

 private:
  Network& inner_;
};

}  // namespace cmat::nn
