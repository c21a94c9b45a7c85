#include "cmat/data/loader.h"

#include <algorithm>
#include <utility>

#include "cmat/core/error.h"
#include "cmat/data/threads.h"

namespace cmat::data {

int worker_count(std::int64_t workers) {
  if (workers > 0) return static_cast<int>(workers);
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency() / 2));
}

Prefetcher::Prefetcher(const ImageSet& images, const Augmentation& augmentation,
                       std::function<BatchPlan(std::int64_t)> plan, std::int64_t first,
                       std::int64_t end, int workers)
    : images_(images),
      augmentation_(augmentation),
      plan_(std::move(plan)),
      end_(end),
      slots_(static_cast<std::size_t>(workers) + 1),
      planned_(first),
      taken_(first) {
  threads_ = start_threads(workers, [this] { work(); });
}

Prefetcher::~Prefetcher() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  room_.notify_all();
}

Prefetcher::Slot& Prefetcher::slot(std::int64_t number) {
  return slots_[static_cast<std::size_t>(number) % slots_.size()];
}

void Prefetcher::work() {
  std::unique_lock lock(mutex_);
  const auto may_go_on = [&] {
    return stop_ || planned_ >= end_ || planned_ - taken_ < std::ssize(slots_);
  };
  while (true) {
    room_.wait(lock, may_go_on);
    if (stop_ || planned_ >= end_) return;
    const std::int64_t number = planned_++;
    Slot made;
    try {
      const BatchPlan plan = plan_(number);
      lock.unlock();
      fill(plan, made.batch);
    } catch (...) {
      made.error = std::current_exception();
    }
    if (!lock.owns_lock()) lock.lock();
    made.ready = true;
    slot(number) = std::move(made);
    filled_.notify_all();
  }
}

void Prefetcher::fill(const BatchPlan& plan, FilledBatch& batch) const {
  const auto values = static_cast<std::size_t>(images_.bytes_per_image());
  batch.indices = plan.indices;
  batch.pixels.resize(plan.indices.size() * values);
  for (std::size_t i = 0; i < plan.indices.size(); ++i) {
    if (stop_) return;  // nobody will ask for this batch
    fill_batch(images_, std::span(plan.indices).subspan(i, 1), augmentation_, plan.key,
               std::span(batch.pixels).subspan(i * values, values));
  }
}

FilledBatch Prefetcher::next() {
  std::unique_lock lock(mutex_);
  if (taken_ >= end_) failure("a loader was asked for more batches than it was made for");
  Slot& wanted = slot(taken_);
  filled_.wait(lock, [&] { return wanted.ready; });
  Slot got = std::exchange(wanted, Slot());
  ++taken_;
  lock.unlock();
  room_.notify_all();
  if (got.error) std::rethrow_exception(got.error);
  return std::move(got.batch);
}

}  // namespace cmat::data
