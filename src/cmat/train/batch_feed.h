// The batches of one training stage.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "cmat/data/batch.h"
#include "cmat/data/loader.h"
#include "cmat/data/stream.h"
#include "cmat/defense/batch.h"

namespace cmat::train {

struct FeedOptions {
  std::int64_t batch = 0;    ///< images a batch, at most as many as the task has
  std::int64_t steps = 0;    ///< of the whole stage
  std::int64_t replays = 1;  ///< steps in a row that get the same batch
  Key stage;                 ///< names the stage's draws: shuffles and augmentation
  data::Augmentation augmentation;
  std::int64_t workers = 0;  ///< threads that decode images, as data::worker_count takes them
  at::Device device = at::kCPU;
};

/// Gives each step its batch. What a batch holds depends on the options and the step's number
/// alone, so that a resumed run sees what an undisturbed one does. Where images must be decoded,
/// threads of its own make the next batches ready.
class BatchFeed {
 public:
  /// REQUIRES that the task outlives the feed.
  BatchFeed(const data::Task& task, const FeedOptions& options);

  /// The batch of step `step`, counted through the stage's epochs. The first call may name any
  /// step, and each other one the next.
  defense::Batch at(std::int64_t step);

 private:
  defense::Batch make(std::int64_t number);

  const data::Task& task_;
  const FeedOptions options_;
  std::function<data::BatchPlan(std::int64_t)> plan_;
  std::unique_ptr<data::Prefetcher> prefetcher_;  ///< only where images are decoded
  std::optional<defense::Batch> replayed_;  ///< the last batch, where the next step wants it again
  std::int64_t replayed_number_ = 0;
};

}  // namespace cmat::train
