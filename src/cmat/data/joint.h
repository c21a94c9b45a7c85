// All tasks of a stream as one: what joint training, the upper bound of continual learning, sees.
#pragma once

#include "cmat/data/stream.h"

namespace cmat::data {

/// One task with the training and validation images of all tasks, in their order; no test images.
/// Its classes are those of all tasks, one task after the other, and are known by their position:
/// so a class that is in two tasks is two classes. Task::joined says how many each task has. Images
/// are not copied. Throws a usage Error when the tasks' images differ in size.
Task join(const Stream& stream);

/// Of a joined task the classes and images of task `index` (from 0) alone.
Task part_of(const Task& joint, std::size_t index);

}  // namespace cmat::data
