#include "cmat/data/loader.h"

#include <atomic>
#include <chrono>

#include "data/helpers.h"

namespace cmat::data {
namespace {

/// Images of 2 x 3 pixels with the value of their index, made when they are asked for.
class CountingReader : public ImageReader {
 public:
  void read(std::int64_t index, std::span<std::uint8_t> pixels) const override {
    ++reads;
    if (index == broken) failure("image ", index, " is broken");
    // The early images take longest, so that batches are ready in another order than they are due.
    if (slow) std::this_thread::sleep_for(std::chrono::milliseconds(index < 8 ? 4 : 0));
    std::fill(pixels.begin(), pixels.end(), static_cast<std::uint8_t>(index));
  }
  std::shared_ptr<const Picture> read_larger(std::int64_t index) const override {
    auto picture = std::make_shared<Picture>(Picture{.channels = 1, .height = 4, .width = 6});
    picture->pixels.assign(24, static_cast<std::uint8_t>(index));
    return picture;
  }
  mutable std::atomic<int> reads{0};
  std::int64_t broken = -1;
  bool slow = false;
};

struct Bench {
  Bench() {
    images.channels = 1;
    images.height = 2;
    images.width = 3;
    images.labels.assign(200, 0);
    images.reader = reader;
  }
  Prefetcher prefetcher(std::int64_t first, std::int64_t end, int workers,
                        const Augmentation& augmentation = {}) {
    return Prefetcher(images, augmentation, plan, first, end, workers);
  }
  /// Batch b has the images 2b and 2b + 1.
  static BatchPlan plan(std::int64_t b) {
    Key key;
    key.epoch = static_cast<std::uint64_t>(b / 10);
    return {{2 * b, 2 * b + 1}, key};
  }
  std::shared_ptr<CountingReader> reader = std::make_shared<CountingReader>();
  ImageSet images;
};

TEST(Prefetcher, GivesEveryBatchInOrderAsFillBatchMakesIt) {
  const Augmentation augmentation{.crop_padding = 1, .flip = true, .random_resized_crop = 0.5};
  for (const int workers : {1, 2, 5}) {
    Bench bench;
    bench.reader->slow = true;
    Prefetcher prefetcher = bench.prefetcher(0, 30, workers, augmentation);
    for (std::int64_t b = 0; b < 30; ++b) {
      const FilledBatch batch = prefetcher.next();
      const BatchPlan plan = Bench::plan(b);
      EXPECT_EQ(batch.indices, plan.indices);
      std::vector<float> expected(12);
      fill_batch(bench.images, plan.indices, augmentation, plan.key, expected);
      EXPECT_EQ(batch.pixels, expected);
    }
    test::expect_error(ErrorKind::failure, {"more batches"}, [&] { prefetcher.next(); });
  }
}

TEST(Prefetcher, BeginsAnywhere) {
  Bench bench;
  Prefetcher prefetcher = bench.prefetcher(17, 20, 3);
  EXPECT_EQ(prefetcher.next().indices.front(), 34);
  EXPECT_EQ(prefetcher.next().indices.front(), 36);
}

TEST(Prefetcher, PlansEachBatchOnceAndInOrder) {
  Bench bench;
  std::vector<std::int64_t> planned;
  {
    Prefetcher prefetcher(
        bench.images, {},
        [&](std::int64_t b) {
          planned.push_back(b);  // one thread at a time
          return Bench::plan(b);
        },
        3, 40, 4);
    for (int i = 0; i < 37; ++i) prefetcher.next();
  }
  ASSERT_EQ(planned.size(), 37u);
  for (std::size_t i = 0; i < planned.size(); ++i) EXPECT_EQ(planned[i], 3 + std::int64_t(i));
}

TEST(Prefetcher, DoesNotRunFarAhead) {
  Bench bench;
  {
    Prefetcher prefetcher = bench.prefetcher(0, 100, 2);
    prefetcher.next();
    prefetcher.next();
    // Whatever the threads do: two batches taken, and three at most are ahead.
    EXPECT_LE(bench.reader->reads, 2 * 5);
  }
  EXPECT_LE(bench.reader->reads, 2 * 5);
}

TEST(Prefetcher, HandsOnWhatWentWrongInItsPlace) {
  for (const int workers : {1, 3}) {
    Bench bench;
    bench.reader->broken = 8;
    Prefetcher prefetcher = bench.prefetcher(0, 10, workers);
    for (int b = 0; b < 4; ++b) EXPECT_EQ(prefetcher.next().indices.front(), 2 * b);
    test::expect_error(ErrorKind::failure, {"image 8 is broken"}, [&] { prefetcher.next(); });
    EXPECT_EQ(prefetcher.next().indices.front(), 10);
  }
}

TEST(Prefetcher, HandsOnWhatWentWrongInThePlan) {
  Bench bench;
  Prefetcher prefetcher(
      bench.images, {}, [](std::int64_t) -> BatchPlan { failure("there is no plan"); }, 0, 5, 2);
  test::expect_error(ErrorKind::failure, {"there is no plan"}, [&] { prefetcher.next(); });
}

TEST(Prefetcher, StopsWhateverItIsDoing) {
  for (int taken = 0; taken < 4; ++taken) {
    Bench bench;
    bench.reader->slow = true;
    Prefetcher prefetcher = bench.prefetcher(0, 100, 3);
    for (int i = 0; i < taken; ++i) prefetcher.next();
  }
  Bench bench;
  bench.prefetcher(5, 5, 2);  // nothing to do at all
}

TEST(Prefetcher, WorkersAreHalfTheCoresAtLeastOne) {
  EXPECT_EQ(worker_count(3), 3);
  EXPECT_GE(worker_count(0), 1);
}

}  // namespace
}  // namespace cmat::data
