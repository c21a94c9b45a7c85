// What every measurement starts from: a model in the middle of a stream, and a clock.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

#include "cmat/bench/bench.h"
#include "cmat/continual/setup.h"

namespace cmat::bench {

/// Sets the thread count, and a run up as `cmat train` would: the stream is options.task tasks of
/// synthetic images, enough of them for one epoch of repeats + 1 steps.
std::unique_ptr<continual::Setup> make_workload(const Options& options);

/// Learns the tasks before options.task in no time (each gives half of its candidates back and is
/// committed) and begins that one.
void begin_last_task(continual::Setup& setup, const Options& options);

/// As many images of the active task as a step takes.
defense::Batch first_batch(const continual::Setup& setup, const Options& options);

/// What steps should take: each pass that the objective counts at the time of one of its kind,
/// taken alone with this model, and what freezing the weights and making a batch take.
class PassTimes {
 public:
  PassTimes(continual::Setup& setup, const Options& options);
  /// Takes the passes once more; between two steps, so that both see the same machine.
  void measure();
  const std::vector<double>& sums() const { return sums_; }  ///< of each measure(), seconds

 private:
  continual::Setup& setup_;
  const Options& options_;
  defense::Batch batch_;
  std::vector<double> sums_;
};

double seconds_of(const std::function<void()>& work);
/// One time for each of `repeats` runs of `work`, after one that is not timed. `prepare` runs
/// before each and is not timed.
std::vector<double> times_of(int repeats, const std::function<void()>& work,
                             const std::function<void()>& prepare = {});
double median(std::vector<double> values);
inline double median_seconds(int repeats, const std::function<void()>& work,
                             const std::function<void()>& prepare = {}) {
  return median(times_of(repeats, work, prepare));
}

/// The options as they were used.
nlohmann::json described(const Options& options);

}  // namespace cmat::bench
