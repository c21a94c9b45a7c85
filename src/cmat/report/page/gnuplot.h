// A figure's numbers as a text file, and the gnuplot script that makes a PDF of them, for whoever
// wants to restyle it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cmat/report/page/figure.h"

namespace cmat::report {

/// Columns of numbers, with comment lines that name them; a series is a block.
std::string gnuplot_data(const Figure& figure);
/// Reads NAME.dat and writes NAME.pdf, both in the folder that it is run in.
std::string gnuplot_script(const Figure& figure);

/// Runs `gnuplot NAME.gp ...` in the folder. False: there is no gnuplot. Throws a failure with its
/// message where it stops.
bool run_gnuplot(const std::filesystem::path& folder, const std::vector<std::string>& names);

}  // namespace cmat::report
