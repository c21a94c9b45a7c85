// How the frozen network shares work among threads: libtorch's own pool, OpenMP's, so that the two
// never wait for each other's idle threads.
#pragma once

#include <omp.h>

#include <cstdint>

namespace cmat::nn::frozen {

/// Threads that the next loop will have.
inline int thread_count() { return omp_in_parallel() ? 1 : omp_get_max_threads(); }

/// Calls work(item, thread) for every item in 0..items-1, in any order. `work` must not throw.
/// The outermost loop of more than one item shares them among threads; those inside are plain
/// loops.
template <typename Work>
void for_each_item(std::int64_t items, const Work& work) {
  // Not by an `if` clause: that is a region of one thread, and for each region inside of one
  // libgomp starts new threads, instead of those that wait in its pool. For the same reason a
  // single thread opens no region: omp_in_parallel() would say inside of it that there is none.
  if (items <= 1 || thread_count() == 1) {
    for (std::int64_t item = 0; item < items; ++item) work(item, 0);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1)
  for (std::int64_t item = 0; item < items; ++item) work(item, omp_get_thread_num());
}

}  // namespace cmat::nn::frozen
