// Memory of the frozen network: aligned, never zeroed, grown when more is asked for and then kept.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

namespace cmat::nn::frozen {

class Buffer {
 public:
  /// At least `count` floats, aligned to a cache line. What was there is lost where it grows.
  /// Throws std::bad_alloc.
  float* reserve(std::int64_t count);
  float* data() const { return data_.get(); }
  std::int64_t capacity() const { return capacity_; }  ///< floats

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
  std::int64_t capacity_ = 0;
};

/// What a layer needs while it runs: memory that all threads share and some of each thread's own.
class Workspace {
 public:
  Workspace();
  float* shared(std::int64_t count) { return shared_.reserve(count); }
  /// For every thread, before they start: nothing is allocated where an exception has no way out.
  void reserve_own(std::int64_t count);
  float* own(int thread) const { return own_[static_cast<std::size_t>(thread)].data(); }

 private:
  Buffer shared_;
  std::vector<Buffer> own_;
};

}  // namespace cmat::nn::frozen
