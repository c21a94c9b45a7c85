// Images that a user brings along for `cmat attack`, with their labels.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "cmat/continual/chosen_targets.h"

namespace cmat::continual {

struct UserImages {
  at::Tensor images;                     ///< [n,c,h,w] float32 in [0,1]
  std::vector<std::int64_t> labels;      ///< of the network's outputs
  ChosenTargets targets;                 ///< likewise
  std::vector<std::string> class_names;  ///< of a folder's classes; else empty
  std::string origin;                    ///< "pictures/"
};

struct UserImageOptions {
  std::filesystem::path images;  ///< a safetensors file, a picture, or a folder of pictures
  std::string labels;            ///< a text file, or one number for all; empty: as below
  std::string targets;           ///< a text file, "next", or one number for all; empty: none
  std::int64_t size = 0;         ///< pictures are cut to this many pixels a side; 0: they are alike
  bool grey = false;
  std::int64_t first_label = 0;  ///< a folder's classes count from here
};

/// A safetensors file holds `images` [n,c,h,w] (floating point in [0,1], or U8 of 0 to 255) and
/// `labels` [n] unless they are given apart. A folder holds a folder for each class, which count in
/// bytewise order of their names, or pictures, in that order. Labels in a text file stand one a
/// line, in the order of the images, or each after a picture's name; targets likewise. Usage Errors
/// in one sentence: what is missing, of other shape, not a number or outside of [0,1], naming the
/// likely cause.
UserImages read_user_images(const UserImageOptions& options);

}  // namespace cmat::continual
