#include "cmat/attack/threat_model.h"

#include "cmat/core/error.h"

namespace cmat::attack {

std::string norm_name(Norm norm) {
  if (norm == Norm::l1) return "l1";
  return norm == Norm::linf ? "linf" : "l2";
}

Norm parse_norm(const std::string& name, const std::string& what) {
  if (name == "linf") return Norm::linf;
  if (name == "l2") return Norm::l2;
  if (name == "l1") return Norm::l1;
  usage_error(what, " must be \"linf\", \"l2\" or \"l1\", but is \"", name, "\"");
}

double largest_eps_pixels(Norm norm) {
  if (norm == Norm::l1) return 4096.0;
  return norm == Norm::linf ? 1.0 : 64.0;
}

ThreatModel read_threat_model(Config& config) {
  ThreatModel threat;
  threat.norm = parse_norm(config.string("threat.norm", "linf", {"linf", "l2", "l1"}), "threat.norm");
  const char* fallback = threat.norm == Norm::linf ? "8/255" : threat.norm == Norm::l2 ? "0.5" : "12";
  threat.eps_pixels = config.pixels("threat.eps", fallback, largest_eps_pixels(threat.norm));
  return threat;
}

}  // namespace cmat::attack
