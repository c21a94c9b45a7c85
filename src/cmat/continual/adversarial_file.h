// Adversarial images on disk, as --save-adversarial writes and the transfer protocol reads them.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cmat/attack/attack.h"
#include "cmat/core/tensor_file.h"

namespace cmat::continual {

/// Collects what attacks made of images. Group names: "task1/apgd-ce/8", the radius in 255ths; and
/// "task1/clean", the images as they are.
/// Tensors NAME/images [n,c,h,w] float32 (the adversarial ones), NAME/samples and NAME/labels [n].
class AdversarialImages {
 public:
  void add(const std::string& group, std::span<const std::int64_t> samples,
           const at::Tensor& images);
  void set_labels(const std::string& group, const std::vector<std::int64_t>& labels);
  /// `about`: protocol, norm, recipes and the like, as metadata.
  void write(const std::filesystem::path& file, const std::map<std::string, std::string>& about);

 private:
  struct Group {
    std::vector<std::int64_t> samples, labels;
    std::vector<at::Tensor> images;
  };
  std::map<std::string, Group> groups_;
};

/// An attack that only takes what a file holds, "stored(apgd-ce)": the images of `task` by their
/// sample ids. Throws where there is none for an image, and when one lies outside of ball or box.
std::unique_ptr<attack::Attack> make_stored_attack(const TensorFile& file, const std::string& origin,
                                                   std::int64_t task,
                                                   const attack::ThreatModel& threat);

}  // namespace cmat::continual
