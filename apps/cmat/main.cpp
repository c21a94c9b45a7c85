// The program is a table of subcommands, one file each. Errors end here, as one sentence.
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>
#include <new>

#include "cmat/core/error.h"
#include "cmat/core/version.h"
#include "commands.h"

namespace {

/// Keeps glibc from handing big blocks back to the kernel between steps, which costs page faults on
/// every one of a network's activations.
void keep_memory() {
#if defined(__GLIBC__) && !defined(CMAT_SANITIZED)
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2000 << 20);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  keep_memory();
  CLI::App app{"CMAT: one image classifier, task after task, adversarially trained, nothing forgotten"};
  app.set_version_flag("--version", std::string("cmat ") + cmat::kVersion);
  app.require_subcommand(1);
  cmat::app::add_train_command(app);
  cmat::app::add_eval_command(app);
  cmat::app::add_verify_command(app);
  cmat::app::add_show_command(app);
  cmat::app::add_data_command(app);
  try {
    app.parse(argc, argv);
    return cmat::app::exit_status();
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  } catch (const cmat::Error& e) {
    std::cerr << "error: " << e.what() << "\n";
    return e.kind() == cmat::ErrorKind::usage ? 2 : 1;
  } catch (const std::bad_alloc&) {
    std::cerr << "error: out of memory: use a smaller optimizer.batch or evaluation.batch, or a narrower network\n";
    return 1;
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << "\n";
    return 1;
  }
}
