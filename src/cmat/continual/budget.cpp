#include "cmat/continual/budget.h"

#include "cmat/continual/setup.h"
#include "cmat/core/error.h"

namespace cmat::continual {
namespace {

constexpr double kSteps = 1024;  ///< widths are multiples of 1 / kSteps

std::int64_t layer_bytes(const nn::Layer& layer, std::int64_t out) {
  constexpr std::int64_t real = 4, counter = 8;
  const std::int64_t bias = layer.bias ? out : 0;
  switch (layer.kind) {
    case nn::LayerKind::normalize:
      return real * 2 * layer.in;
    case nn::LayerKind::conv:
      return real * (out * layer.in * layer.kernel * layer.kernel + bias);
    case nn::LayerKind::linear:
      return real * (out * layer.in + bias);
    case nn::LayerKind::batch_norm:  // weight, bias, mean, variance; batches seen
      return real * 4 * out + counter;
    default:
      return 0;
  }
}

}  // namespace

std::int64_t stored_bytes(const nn::Description& network,
                          const std::vector<std::int64_t>& classes) {
  std::int64_t body = 0, heads = 0;
  for (std::size_t i = 0; i + 1 < network.layers.size(); ++i) {
    body += layer_bytes(network.layers[i], network.layers[i].out);
  }
  for (const std::int64_t count : classes) heads += layer_bytes(network.head(), count);
  return heads + body * std::ssize(classes);
}

double width_within(std::int64_t budget, nn::NetworkOptions network,
                    const std::vector<std::int64_t>& classes) {
  const auto bytes = [&](std::int64_t steps) {
    network.width = static_cast<double>(steps) / kSteps;
    return stored_bytes(nn::describe(network), classes);
  };
  std::int64_t fits = static_cast<std::int64_t>(kSteps) / 64;
  std::int64_t too_wide = static_cast<std::int64_t>(kSteps * nn::kMaxWidth) + 1;
  if (bytes(fits) > budget) {
    usage_error("method.budget = ", budget, " bytes is too little: ", classes.size(),
                " networks ", network.architecture, " take ", bytes(fits), " at the least");
  }
  while (too_wide - fits > 1) {  // layers only ever grow with the width
    const std::int64_t middle = fits + (too_wide - fits) / 2;
    (bytes(middle) > budget ? too_wide : fits) = middle;
  }
  return static_cast<double>(fits) / kSteps;
}

void resolve_budget(Config& config) {
  const train::MethodSettings method = train::read_settings(config).method;
  if (method.name != "small" || method.budget > 0) return;
  const std::filesystem::path run = method.budget_run;
  require_run(run);
  if (train::read_run_record(run).at("status") != "finished") {
    usage_error("method.budget_run: the run ", run.string(), " is not finished, so it is not known ",
                "how many bytes it takes: continue it first, or give method.budget");
  }
  const nlohmann::json results = train::read_results(run);
  config.set(text("method.budget=", results.at("bytes").at("total").get<std::int64_t>()));
}

}  // namespace cmat::continual
