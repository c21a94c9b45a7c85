// The subcommands. Each registers itself, with its options and the callback that runs it.
#pragma once

#include <CLI/CLI.hpp>

namespace cmat::app {

void add_train_command(CLI::App& app);
void add_eval_command(CLI::App& app);
void add_compare_command(CLI::App& app);
void add_attack_command(CLI::App& app);
void add_verify_command(CLI::App& app);
void add_show_command(CLI::App& app);
void add_inspect_command(CLI::App& app);
void add_export_command(CLI::App& app);
void add_report_command(CLI::App& app);
void add_predict_command(CLI::App& app);
void add_add_command(CLI::App& app);
void add_data_command(CLI::App& app);
void add_bench_command(CLI::App& app);

/// What the program exits with when a command ends without an Error (0 unless a command says else).
int& exit_status();

}  // namespace cmat::app
