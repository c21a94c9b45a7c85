#include "cmat/attack/threat_model.h"

#include "cmat/core/error.h"
#include "cmat/core/fraction.h"

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

std::string threat_name(const ThreatModel& threat) {
  return threat.as_published ? "as-published" : norm_name(threat.norm);
}

std::string threat_eps(const ThreatModel& threat) {
  return format_eps(threat.eps_pixels) + (threat.as_published ? " normalised" : "");
}

double largest_eps_pixels(Norm norm) {
  if (norm == Norm::l1) return 4096.0;
  return norm == Norm::linf ? 1.0 : 64.0;
}

ThreatModel read_threat_model(Config& config) {
  ThreatModel threat;
  threat.as_published =
      config.string("threat.model", "pixels", {"pixels", "as-published"}) == "as-published";
  threat.norm =
      parse_norm(config.string("threat.norm", "linf", {"linf", "l2", "l1"}), "threat.norm");
  if (threat.as_published) {
    if (threat.norm != Norm::linf) {
      usage_error(
          "threat.model = \"as-published\" is in linf, so leave threat.norm out, which is \"",
          norm_name(threat.norm), "\"");
    }
    threat.eps_pixels = config.pixels("threat.eps", "2/255", 1);
    if (threat.eps_pixels != 2.0 / 255) {
      usage_error("threat.model = \"as-published\" has a radius of its own, 2/255 in units of ",
                  "normalised images, so leave threat.eps out, which is ",
                  format_eps(threat.eps_pixels));
    }
    return threat;
  }
  const char* fallback = threat.norm == Norm::linf ? "8/255"
                         : threat.norm == Norm::l2 ? "0.5"
                                                   : "12";
  threat.eps_pixels = config.pixels("threat.eps", fallback, largest_eps_pixels(threat.norm));
  return threat;
}

}  // namespace cmat::attack
