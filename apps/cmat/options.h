// Options that several subcommands share.
#pragma once

#include <CLI/CLI.hpp>

#include "cmat/continual/run.h"

namespace cmat::app {

inline void add_machine_options(CLI::App& command, continual::MachineOptions& machine) {
  command
      .add_option("--threads", machine.threads,
                  "Threads (default: as the run was made with, else one a core)")
      ->check(CLI::Range(1, 4096));
  command.add_option("--device", machine.device,
                     "cpu or cuda (default: as the run was made with, else cpu)");
}

}  // namespace cmat::app
