// Batches that are made ready while the one before them is used: for images that must be decoded.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "cmat/core/random.h"
#include "cmat/data/batch.h"
#include "cmat/data/image_set.h"

namespace cmat::data {

/// Which images a batch has, and the key that augments them.
struct BatchPlan {
  std::vector<std::int64_t> indices;
  Key key;
};

/// A batch as fill_batch writes it.
struct FilledBatch {
  std::vector<std::int64_t> indices;
  std::vector<float> pixels;  ///< [n, c, h, w]
};

/// The number of threads that data.workers means: 0 is half the cores, at least one.
int worker_count(std::int64_t workers);

/// Fills batches first, first + 1, ..., end - 1 in that order on threads of its own, at most
/// workers + 1 of them ahead. What a batch holds depends on its plan alone. The destructor stops
/// at the next image.
class Prefetcher {
 public:
  /// `plan` is called once for each batch, in order, by one thread at a time. REQUIRES that
  /// `images` outlives the prefetcher.
  Prefetcher(const ImageSet& images, const Augmentation& augmentation,
             std::function<BatchPlan(std::int64_t)> plan, std::int64_t first, std::int64_t end,
             int workers);
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  /// The next batch, as soon as it is ready. Throws what went wrong in its making.
  FilledBatch next();

 private:
  struct Slot {
    bool ready = false;
    FilledBatch batch;
    std::exception_ptr error;
  };

  void work();
  void fill(const BatchPlan& plan, FilledBatch& batch) const;
  Slot& slot(std::int64_t number);

  const ImageSet& images_;
  const Augmentation augmentation_;
  const std::function<BatchPlan(std::int64_t)> plan_;
  const std::int64_t end_;

  mutable std::mutex mutex_;
  std::condition_variable room_, filled_;
  std::vector<Slot> slots_;  ///< batch b lies in slot b % size
  std::int64_t planned_, taken_;
  std::atomic<bool> stop_{false};
  std::vector<std::jthread> threads_;  ///< last, so that they end before what they use
};

}  // namespace cmat::data
