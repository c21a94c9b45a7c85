// A network as a TorchScript file, which torch.jit.load reads in Python and torch::jit::load in
// C++, without a line of CMAT.
#pragma once

#include <map>
#include <string>

#include "cmat/nn/effective.h"

namespace cmat::nn {

/// The file's bytes. forward(images [n,c,h,w] in [0,1]) gives the logits [n, classes]; its state
/// has torch's dotted names; `metadata` becomes extra files.
std::string torch_script(const EffectiveNetwork& network,
                         const std::map<std::string, std::string>& metadata);

/// The source of forward(), for reading and for tests.
std::string torch_script_source(const Description& description);

}  // namespace cmat::nn
