// A description as JSON: what model.safetensors says of its networks, so that other programs can
// build them without knowing our architectures. docs/run-format.md lists the fields.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "cmat/nn/description.h"

namespace cmat::nn {

/// "conv", "batch_norm", ...: the name of the enumerator.
std::string_view name_of(LayerKind kind);

/// {"architecture", "width", "channels", "height", "image_width", "mean", "std", "layers": [...]}.
/// Of a layer, fields that its kind does not use are left out.
nlohmann::json to_json(const Description& description);

}  // namespace cmat::nn
