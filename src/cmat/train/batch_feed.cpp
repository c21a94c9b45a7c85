#include "cmat/train/batch_feed.h"

#include <iterator>
#include <vector>

namespace cmat::train {
namespace {

/// Which images each batch of a stage has. Knows nothing of where the stage stands, since a loader
/// asks ahead of it, from its own threads.
class BatchOrder {
 public:
  BatchOrder(const data::Task& task, std::int64_t batch, const Key& stage)
      : task_(task), batch_(batch), stage_(stage) {}

  /// Batch `number` of the stage, counted through its epochs.
  data::BatchPlan operator()(std::int64_t number) {
    const std::int64_t batches = std::ssize(task_.train) / batch_;
    shuffle(number / batches);
    data::BatchPlan plan;
    plan.key = stage_;
    const std::int64_t first = number % batches * batch_;
    for (std::int64_t i = first; i < first + batch_; ++i) {
      plan.indices.push_back(
          task_.train[static_cast<std::size_t>(order_[static_cast<std::size_t>(i)])]);
    }
    return plan;
  }

 private:
  void shuffle(std::int64_t epoch) {
    if (!order_.empty() && stage_.epoch == static_cast<std::uint64_t>(epoch)) return;
    stage_.epoch = static_cast<std::uint64_t>(epoch);
    order_ = Random(stage_.for_purpose(Purpose::shuffle)).permutation(std::ssize(task_.train));
  }

  const data::Task& task_;
  std::int64_t batch_;
  Key stage_;  ///< of the epoch that `order_` is for
  std::vector<std::int64_t> order_;
};

}  // namespace

BatchFeed::BatchFeed(const data::Task& task, const FeedOptions& options)
    : task_(task), options_(options), plan_(BatchOrder(task, options.batch, options.stage)) {}

defense::Batch BatchFeed::at(std::int64_t step) {
  if (options_.replays == 1) return make(step);
  const std::int64_t number = step / options_.replays;
  if (!replayed_ || replayed_number_ != number) {
    replayed_ = make(number);
    replayed_number_ = number;
  }
  return *replayed_;
}

defense::Batch BatchFeed::make(std::int64_t number) {
  const data::ImageSet& images = task_.source->train;
  if (!images.reader) {
    const data::BatchPlan plan = plan_(number);
    return defense::make_batch(images, task_, plan.indices, options_.augmentation, plan.key,
                               options_.device);
  }
  if (!prefetcher_) {
    // A stage that replays its batches sees as many fewer.
    const std::int64_t batches = (options_.steps + options_.replays - 1) / options_.replays;
    prefetcher_ = std::make_unique<data::Prefetcher>(images, options_.augmentation, plan_, number,
                                                     batches, data::worker_count(options_.workers));
  }
  return defense::make_batch(images, task_, prefetcher_->next(), options_.device);
}

}  // namespace cmat::train
