// The interface of every attack, and what each returns.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cmat/attack/classifier.h"
#include "cmat/attack/goal.h"
#include "cmat/attack/threat_model.h"
#include "cmat/core/random.h"

namespace cmat::attack {

/// One attack among several that are run one after the other on what is left.
struct AttackPart {
  std::string name, recipe;
  std::int64_t attacked = 0, broken = 0;     ///< images
  std::int64_t forwards = 0, backwards = 0;  ///< images, with those that pad a batch
};

struct AttackResult {
  at::Tensor adversarial;  ///< x', [n,c,h,w], inside ball and box (checked)
  at::Tensor predictions;  ///< argmax of the logits on x' itself, re-predicted, [n] int64
  /// predictions != labels, [n] bool; of run_targeted() predictions == targets: a third class is no
  /// success there.
  at::Tensor fooled;
  at::Tensor distance;                       ///< |x' - x| in the threat model's norm, [n] float64
  std::int64_t forwards = 0, backwards = 0;  ///< images

  /// Attacks that look for the nearest misclassified point: its distance, whether within eps or
  /// not, infinite where none was found; [n] float64. Undefined for others.
  at::Tensor nearest;
  /// Attacks made of several: what each did, in order, and which of them broke an image first, [n]
  /// int64, -1: none, or the image is misclassified as it is. Empty and undefined for others.
  std::vector<AttackPart> parts;
  at::Tensor broken_by;
};

class Attack {
 public:
  virtual ~Attack() = default;
  /// images [n,c,h,w] in [0,1]; labels [n] int64; sample_ids name the images for the random draws.
  /// REQUIRES the inputs of check_inputs. Throws a failure when an output leaves ball or box.
  virtual AttackResult run(Classifier& model, const at::Tensor& images, const at::Tensor& labels,
                           const std::vector<std::int64_t>& sample_ids, const Key& key) = 0;
  /// The same towards one chosen class an image, targets [n] int64, whatever the image is taken for
  /// without an attack. Usage Errors for those of check_targets, for targets that the network does
  /// not have, and for attacks that take none (DeepFool, AutoAttack).
  virtual AttackResult run_targeted(Classifier& model, const at::Tensor& images,
                                    const at::Tensor& labels, const at::Tensor& targets,
                                    const std::vector<std::int64_t>& sample_ids, const Key& key);
  virtual bool takes_targets() const { return false; }
  virtual std::string name() const = 0;    ///< "pgd20x2"
  virtual std::string recipe() const = 0;  ///< every setting, for the records
  /// Forwards and backwards of an image that is never broken, about, with so many classes: for an
  /// ETA. 0: not known.
  virtual double most_passes(std::int64_t /*classes*/) const { return 0; }
};

/// An attack that works towards any goal in one way, and so takes targets.
class GoalAttack : public Attack {
 public:
  AttackResult run(Classifier& model, const at::Tensor& images, const at::Tensor& labels,
                   const std::vector<std::int64_t>& sample_ids, const Key& key) final;
  AttackResult run_targeted(Classifier& model, const at::Tensor& images, const at::Tensor& labels,
                            const at::Tensor& targets, const std::vector<std::int64_t>& sample_ids,
                            const Key& key) final;
  bool takes_targets() const final { return true; }

 protected:
  /// The inputs are checked already.
  virtual AttackResult pursue(Classifier& model, const at::Tensor& images, const Goal& goal,
                              const std::vector<std::int64_t>& sample_ids, const Key& key) = 0;
};

/// Refuses images outside [0,1] or not finite (naming the likely cause: normalisation before the
/// model, 0-255 values), negative labels, and wrong shapes or types. Usage Errors.
void check_inputs(const at::Tensor& images, const at::Tensor& labels,
                  const std::vector<std::int64_t>& sample_ids);

/// Refuses labels outside 0..classes-1: apart, because only a forward pass tells how many there
/// are.
void check_labels(const at::Tensor& labels, std::int64_t classes);

/// Completes a result from x': re-predicts, measures in float64, and checks the box exactly and the
/// ball to 1e-5 relative plus what rounding x' to its type may add. Throws a failure otherwise.
/// `forwards` and `backwards` are those of the re-prediction alone.
AttackResult finish(Classifier& model, const at::Tensor& images, const Goal& goal,
                    const at::Tensor& adversarial, const ThreatModel& threat);

}  // namespace cmat::attack
