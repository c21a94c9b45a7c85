// From a network's description to the steps that a frozen network takes: forward, and back to the
// image. Knows shapes and no tensors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cmat/nn/description.h"
#include "cmat/nn/frozen/direct_kernels.h"

namespace cmat::nn::frozen {

/// What a step makes, with what is folded into it: y = [ReLU](work(x) * scale + bias + add).
struct Step {
  enum class Kind { image, product, finish, max_pool, average_pool, flatten };
  Kind kind = Kind::finish;
  int from = -1;  ///< the value it reads; none for the image
  int add = -1;   ///< the value that is added, or none
  int to = 0;     ///< the value it makes
  bool relu = false;
  Layer layer{};            ///< of the work; for an image its normalisation, if any
  bool normalizes = false;  ///< image, finish: by layer's mean and std
  std::string norm{};       ///< the batch norm that scale and bias come from, or empty
};

/// Values are those of the description; one that a step folds away, and one that is another by
/// another name (after dropout, say), has no place of its own.
struct Value {
  Side side;
  bool relu = false;  ///< comes from a ReLU, whose gradient is 0 where the value is
  bool mask = false;  ///< the way back asks where it is positive
};

/// One move of the way back. Gradients live in slots, too.
struct BackStep {
  enum class Kind { work, sum, image };
  Kind kind = Kind::work;
  int step = -1;  ///< work: the step whose input's gradient this is (its part, where others add)
  int gradient = -1;  ///< slot that is read
  int add = -1;       ///< slot that is added, or none
  int mask = -1;      ///< value under whose ReLU the result passes, or none
  int to = -1;        ///< slot that is written; image: none
  int value = -1;     ///< whose gradient it is
};

struct Plan {
  std::vector<Value> values;
  std::vector<Step> steps;
  std::vector<BackStep> back;
  std::vector<std::int64_t> slots;  ///< floats an image; on the way back they are used anew
  std::vector<int> rooms;  ///< of each value the slot where it is made; -1: logits, features, and
                           ///< what has no place of its own
  int logits = 0, features = 0;  ///< values
  int logits_gradient = 0;       ///< slot where the way back begins
};

/// Throws like infer_shapes.
Plan make_plan(const Description& description);

/// Fills in rooms, and slots.
void plan_values(Plan& plan);
/// Fills in back and logits_gradient, and what else there must be of slots.
void plan_back(Plan& plan);

}  // namespace cmat::nn::frozen
