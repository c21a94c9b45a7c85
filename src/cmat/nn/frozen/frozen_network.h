// A network whose weights stand still: what an attack or an evaluation needs, at less than half the
// cost of the training graph. Batch norms are folded into the layers before them, ReLUs and
// additions into their products, 3x3 convolutions computed by Winograd's minimal filtering (Lavin
// and Gray, CVPR 2016), memory planned once; the way back is the gradient with respect to the image
// and nothing else.
//
// float32 on the CPU. Logits and gradients differ from libtorch's by rounding, a few 1e-6 of the
// largest. An image's result depends neither on what else is in its batch nor on the number of
// threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cmat/nn/description.h"
#include "cmat/nn/frozen/buffer.h"
#include "cmat/nn/frozen/plan.h"
#include "cmat/nn/frozen/product.h"
#include "cmat/nn/frozen/training_convolution.h"
#include "cmat/nn/network.h"

namespace cmat::nn::frozen {

/// Changes with what the kernels compute, be it in the last bit: records name it, and a run that
/// goes on with another one is told that it is not the same to the bit.
inline constexpr const char* kRevision = "revision 2";

/// Whether this machine has the vector instructions that make it worth while.
bool is_supported();

class FrozenNetwork {
 public:
  /// Throws like infer_shapes. REQUIRES load() before anything is computed.
  explicit FrozenNetwork(const Description& description);

  /// Takes over what `network`, which has this description but for the classes of its head,
  /// computes with in eval mode. Later changes of its tensors are not seen until the next load().
  void load(const Network& network);

  /// Whether images are of the type, place and size that it computes with.
  bool takes(const at::Tensor& images) const;
  /// images [n, c, h, w] in [0,1] that it takes, any strides -> [n, classes].
  at::Tensor logits(const at::Tensor& images);
  /// What the head reads: [n, features].
  at::Tensor features(const at::Tensor& images);
  /// Gradient with respect to the images of the last logits(), in the layout that they had, of a
  /// loss whose gradient with respect to those logits is given, [n, classes].
  at::Tensor input_gradient(const at::Tensor& logits_gradient);

  /// Per step that has a product: its layer and how each direction is computed.
  struct ProductInfo {
    std::string layer, forward, backward;
    ConvolutionShape shape;
  };
  std::vector<ProductInfo> products() const;
  /// Of the convolutions that pay in training, the products of the one called `layer`, as loaded;
  /// null for others. Stays where it is as long as the network and its head's size do.
  const LayerProducts* training_products(const std::string& layer) const;
  std::int64_t weight_bytes() const { return weight_bytes_; }  ///< packed and transformed

 private:
  struct StepState {
    std::unique_ptr<Product> forward, backward;
    Buffer scale, bias;  ///< one a channel, padded; empty: none
    Buffer which;        ///< max_pool: where each value came from
  };

  /// Memory of whoever takes images all the way.
  struct Worker {
    Workspace workspace;
    std::vector<Buffer> slots;  ///< values and gradients of a chunk

    float* slot(int s) { return s < 0 ? nullptr : slots[static_cast<std::size_t>(s)].data(); }
  };
  /// Images that go through the network together.
  struct Chunk {
    std::int64_t first, count;
    Worker& worker;
  };

  const Value& value(int v) const { return plan_.values[static_cast<std::size_t>(v)]; }
  // Of a chunk's first image.
  float* data(int v, const Chunk& chunk) const {
    const int slot = plan_.rooms[static_cast<std::size_t>(v)];
    if (slot >= 0) return chunk.worker.slot(slot);
    return data_[static_cast<std::size_t>(v)].data() + chunk.first * value(v).side.floats();
  }
  std::uint8_t* mask(int v, const Chunk& chunk) const {
    auto* bits = reinterpret_cast<std::uint8_t*>(masks_[static_cast<std::size_t>(v)].data());
    return bits + chunk.first * value(v).side.floats() / 8;
  }

  void set_classes(std::int64_t classes);
  void make_products();
  void run(const at::Tensor& images);
  std::int64_t chunk_size() const;
  template <typename Work>
  void for_each_chunk(const Work& work);
  void read(const Step& step, const Chunk& chunk);
  void forward(const Step& step, StepState& state, const Chunk& chunk);
  void flatten(const Step& step, const Chunk& chunk);
  void back(const BackStep& move, const Chunk& chunk);
  void work_back(const BackStep& move, const Epilogue& epilogue, const Chunk& chunk);
  void unflatten(const BackStep& move, const Epilogue& epilogue, const Chunk& chunk);
  void to_images(const BackStep& move, const Chunk& chunk, at::Tensor& result) const;
  at::Tensor rows(int v) const;

  Description description_;
  Plan plan_;
  std::vector<StepState> states_;                 ///< of each step
  std::vector<Buffer> data_;                      ///< of values without a slot, the whole batch
  std::vector<Buffer> masks_;                     ///< bits: where each value is positive
  std::vector<float> image_scale_, image_shift_;  ///< of the image's channels; 1 and 0: none
  std::vector<Worker> workers_;
  std::map<std::string, LayerProducts> training_products_;
  std::unique_ptr<Workspace> training_workspace_ = std::make_unique<Workspace>();
  std::int64_t weight_bytes_ = 0;
  std::int64_t images_ = 0;  ///< of the last run
  at::Tensor like_;          ///< its images' layout
};

}  // namespace cmat::nn::frozen
