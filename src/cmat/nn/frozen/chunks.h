// How the images of a batch go through a frozen network: together, or a few at a time.
#pragma once

#include <algorithm>

#include "cmat/nn/frozen/frozen_network.h"
#include "cmat/nn/frozen/parallel.h"

namespace cmat::nn::frozen {

// A network whose weights fit into the caches takes a few images all the way, a thread each, so
// that their values stay there, too. A larger one takes the batch through each layer, so that its
// weights are read once.
inline constexpr std::int64_t kWeightsInCache = std::int64_t{12} << 20;
inline constexpr std::int64_t kImagesInCache = 16;

inline std::int64_t FrozenNetwork::chunk_size() const {
  if (weight_bytes_ > kWeightsInCache) return std::max<std::int64_t>(images_, 1);
  const std::int64_t share = (images_ + thread_count() - 1) / thread_count();
  return std::clamp<std::int64_t>(share, 1, kImagesInCache);
}

template <typename Work>
void FrozenNetwork::for_each_chunk(const Work& work) {
  const std::int64_t size = chunk_size(), chunks = (images_ + size - 1) / size;
  workers_.resize(static_cast<std::size_t>(thread_count()));
  // Any thread may take a chunk, however few there are; a single one stays with the first.
  const std::size_t working = chunks > 1 ? workers_.size() : 1;
  for (std::size_t w = 0; w < working; ++w) {
    workers_[w].slots.resize(plan_.slots.size());
    for (std::size_t s = 0; s < plan_.slots.size(); ++s) {
      workers_[w].slots[s].reserve(size * plan_.slots[s]);
    }
  }
  for_each_item(chunks, [&](std::int64_t item, int thread) {
    const std::int64_t first = item * size;
    work(Chunk{first, std::min(size, images_ - first), workers_[static_cast<std::size_t>(thread)]});
  });
}

}  // namespace cmat::nn::frozen
