// A network whose one head has the classes of several tasks, used as if each task had a head of its
// own: joint training with a head a task.
#pragma once

#include <cstdint>
#include <vector>

#include "cmat/data/stream.h"
#include "cmat/eval/robust_eval.h"
#include "cmat/nn/network_wrapper.h"

namespace cmat::train {

/// forward() gives, for each image, the logits of the classes of its task. Where a task has fewer
/// classes than another, a logit far below all others stands in their place, which no softmax
/// notices. Attacks compute with libtorch, since the frozen network knows nothing of tasks.
class TaskHeads : public nn::NetworkWrapper {
 public:
  /// `classes`: how many the head has of each task, one task after the other. REQUIRES that the
  /// network outlives this.
  TaskHeads(nn::Network& network, const std::vector<std::int64_t>& classes);

  /// The next batches have images with these labels [n], of the whole head; returns their labels
  /// within their tasks.
  at::Tensor choose(const at::Tensor& labels);
  /// The next batches have any number of images of task `index` (from 0).
  void choose_task(std::size_t index);

  /// REQUIRES that the images are those of the last choose().
  at::Tensor forward(const at::Tensor& images) override;

 private:
  at::Tensor columns_;   ///< [tasks, most classes]: columns of the head; 0 where there is none
  at::Tensor missing_;   ///< likewise: true where there is none
  at::Tensor first_;     ///< [tasks]: the first column of each
  at::Tensor task_of_;   ///< [classes of the head]
  at::Tensor selected_;  ///< [n] or [1]: tasks of the next batch's images
};

/// eval::evaluate on the validation images of a joined task, each asked of its task's head.
eval::Verdicts evaluate_heads(nn::Network& network, const data::Task& joint, attack::Attack* attack,
                              const eval::EvalOptions& options, const Key& key);

}  // namespace cmat::train
