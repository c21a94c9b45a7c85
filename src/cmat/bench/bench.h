// Measurements of the program itself: what a training step costs, and what it would cost if only
// its convolutions and matrix products did. Random images and weights, float32, on the CPU;
// bench/README.md says what each figure means and how to repeat it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace cmat::bench {

struct Options {
  std::string network = "vgg16_bn";  ///< for images of 3x32x32
  double width = 1.0;
  std::int64_t batch = 32;
  std::int64_t attack_steps = 10;
  std::int64_t task = 2;         ///< being trained; those before it gave half of their weights back
  std::int64_t classes = 5;      ///< of each task
  int threads = 0;               ///< 0: one a core
  int repeats = 5;               ///< timed ones, after one that is not; a figure is their median
  std::string kernels = "auto";  ///< network.kernels: auto or torch
  std::string objective = "pgd-at";
  std::vector<std::string> set;  ///< further config values, "objective.awp=0.005"
};

// Each returns its options beside its figures; times are in seconds.

/// Whole optimiser steps of the training loop: {"seconds_per_step", "images_per_second",
/// "fastest_seconds", "slowest_seconds"}, and its parts: {"attack_seconds" (PGD), "bank_seconds"
/// (weights, picks, part and averages from given gradients), "weight_seconds" (the rest: the weight
/// step's passes, the batch); the first and the last where the objective is pgd-at. And what the
/// passes that the objective counts make one expect: {"passes": {"attack", "look", "train_forward",
/// "train_backward"} (of the batch), "predicted_seconds"; "ratio", "smallest_ratio" and
/// "largest_ratio": the median and the ends of measured / predicted, step by step}.
nlohmann::json step(const Options& options);

/// The convolutions and matrix products of that step alone, channels-last, same shapes:
/// {"seconds_per_step", "images_per_second", "attack_seconds", "weight_seconds", "gflop",
/// "gflop_per_second"}.
nlohmann::json kernels(const Options& options);

/// One attack pass (logits, gradient with respect to the images) of the frozen network and of
/// libtorch's graph, attack_steps passes of each by turns: {"frozen_seconds",
/// "frozen_forward_seconds", "torch_seconds", "ratio" = torch / frozen (median of the pairs),
/// "smallest_ratio", "largest_ratio", "freeze_seconds": what a change of the weights costs,
/// "weight_bytes": of packed and transformed weights, "flipped_signs", "torch_flipped_signs":
/// shares of the gradient's signs that differ from float64's}. A failure where there is no frozen
/// form.
nlohmann::json pass(const Options& options);

/// That pass product by product, beside libtorch's convolutions of the same shapes: {"layers":
/// [{"layer", "shape", "forward", "backward": the methods, "forward_seconds", "backward_seconds",
/// "torch_forward_seconds", "torch_backward_seconds"}], and the sums of the last four}.
nlohmann::json layers(const Options& options);

/// Attacks in linf, attack_steps each, on images that they do not break: {"attacks": [{"attack",
/// "seconds" a batch, "forwards_per_second", "backwards_per_second" (images), "outside_share": of
/// the time, what passes outside of the network}]}.
nlohmann::json attack(const Options& options);

/// The bank's update against a pass that moves as many bytes: {"update_seconds", "pass_seconds",
/// "ratio", "weights", "bytes"}. A byte counts when its cache line holds an entry that the update
/// reads or writes, once for reading and once for writing.
nlohmann::json update(const Options& options);

/// WeightBank::prune of half of a first task's weights against a masked copy, torch's kthvalue and
/// a new mask: {"prune_seconds", "kthvalue_seconds", "speedup", "weights", "freed"}. A failure
/// when the two do not free the same weights.
nlohmann::json prune(const Options& options);

/// {"peak_resident_bytes" of the process over training steps, "task_bytes" = "pick_bytes" +
/// "part_bytes": what the finished task adds to the stored model, "weights", "largest_task_bytes":
/// the same for a task with every weight before it, "commit_seconds", "activate_seconds": to pack
/// the task's picks, and to unpack them and put the task back into the network}.
nlohmann::json memory(const Options& options);

}  // namespace cmat::bench
