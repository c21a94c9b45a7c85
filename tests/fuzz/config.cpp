// core/config and the options of a stream: TOML files, and --set.
#include "cmat/core/config.h"

#include <stdexcept>

#include "cmat/core/fraction.h"
#include "cmat/data/stream.h"
#include "fuzz/target.h"

namespace cmat::fuzz {
namespace {

/// Asks for one value of each type, and for all that a stream wants.
void read_all(Config& config) {
  config.integer("seed", 1, 0, 1000);
  config.string("method.name", "cmat", {"cmat", "packnet", "individual"});
  config.boolean("optimizer.nesterov", true);
  config.number("optimizer.momentum", 0.9, 0, 1);
  config.pixels("threat.eps", "8/255");
  config.numbers("method.targets", {0.5});
  data::read_stream_options(config, 1);
}

void check(Config config) {
  read_all(config);
  const std::string resolved = config.resolved();
  config.finish();
  Config again = Config::parse(resolved, "resolved");
  read_all(again);
  again.finish();
  if (again.resolved() != resolved) throw std::logic_error("a resolved config is not its own");
}

}  // namespace

std::vector<Target> config_targets() {
  const std::vector<std::string> words = {"=",
                                          "\n",
                                          "[data]",
                                          "[stream]",
                                          "data.source",
                                          "groups",
                                          "names",
                                          "validation",
                                          "\"\"\"",
                                          "'''",
                                          "[[0,1],[2]]",
                                          "{a=1}",
                                          "true",
                                          "1979-05-27",
                                          "inf",
                                          "nan",
                                          "0x7f",
                                          "1e400",
                                          "9223372036854775807",
                                          "-1",
                                          "\\u0000",
                                          "\\U0010ffff",
                                          "\xf0\x9f\x98\x80",
                                          "\xc0\x80",
                                          "[[",
                                          "{",
                                          "a.b.c.d",
                                          "8/255",
                                          "#"};
  return {{.name = "config",
           .run = [](std::string_view input) { check(Config::parse(input, "input")); },
           .words = words},
          {.name = "config-set",
           .run =
               [](std::string_view input) {
                 Config config = Config::parse("seed = 1\n[stream]\nnames = [\"a\"]\n", "fixed");
                 config.set(input);
                 check(std::move(config));
               },
           .seeds = {"data.source=cifar10", "stream.groups=[[0,1],[2,3]]", "seed=7",
                     "threat.eps=\"8/255\"", "optimizer.nesterov=false", "stream.names=[\"x\"]"},
           .words = words},
          {.name = "fraction",
           .run = [](std::string_view input) { parse_eps_pixels(input, "input"); },
           .seeds = {"8/255", "0.1", ".5", " 1 / 3 "},
           .words = {"/", "1e999", "-", "+", "0x", "inf", "nan", " "}}};
}

}  // namespace cmat::fuzz
