// The program is a table of subcommands, one file each. Errors end here, as one sentence.
#include <malloc.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <new>
#include <string>

#include "cmat/core/config.h"
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

int say(const std::string& sentence, int status) {
  std::cerr << "error: " << sentence << "\n";
  return status;
}

/// CLI11 only says that a command is missing where one is misspelt.
void refuse_unknown_command(const CLI::App& app, const std::string& word) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    if (command->get_name() == word) return;
    names.push_back(command->get_name());
  }
  const std::string close = cmat::nearest(word, names);
  cmat::usage_error("there is no command \"", word, "\"",
                    close.empty() ? "" : "; did you mean " + close + "?", " (see --help)");
}

}  // namespace

int main(int argc, char** argv) {
  keep_memory();
  // A file beyond the size limit is then an error of the write, and ends in a sentence like others.
  ::signal(SIGXFSZ, SIG_IGN);
  CLI::App app{
      "CMAT: one image classifier, task after task, adversarially trained, nothing forgotten"};
  app.set_version_flag("--version", std::string("cmat ") + cmat::kVersion);
  app.require_subcommand(1);
  cmat::app::add_train_command(app);
  cmat::app::add_eval_command(app);
  cmat::app::add_compare_command(app);
  cmat::app::add_attack_command(app);
  cmat::app::add_verify_command(app);
  cmat::app::add_show_command(app);
  cmat::app::add_inspect_command(app);
  cmat::app::add_report_command(app);
  cmat::app::add_export_command(app);
  cmat::app::add_predict_command(app);
  cmat::app::add_add_command(app);
  cmat::app::add_data_command(app);
  cmat::app::add_bench_command(app);
  try {
    if (argc > 1 && argv[1][0] != '-') refuse_unknown_command(app, argv[1]);
    app.parse(argc, argv);
    return cmat::app::exit_status();
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help and --version
    return say(std::string(e.what()) + " (see --help)", 2);
  } catch (const cmat::Error& e) {
    return say(e.what(), e.kind() == cmat::ErrorKind::usage ? 2 : 1);
  } catch (const std::bad_alloc&) {
    return say(
        "out of memory: use a smaller optimizer.batch or evaluation.batch, or a narrower network",
        1);
  } catch (const std::filesystem::filesystem_error& e) {
    return say("cannot use " + e.path1().string() + ": " + e.code().message(), 1);
  } catch (const std::exception& e) {
    // Nobody planned for this one; libtorch's messages go on with a page of stack.
    const std::string what = e.what();
    return say("unexpected, please report it: " + what.substr(0, what.find('\n')), 1);
  }
}
