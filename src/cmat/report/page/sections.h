// The parts of a report. Each says nothing where the runs hold nothing for it.
#pragma once

#include "cmat/report/page/document.h"
#include "cmat/report/page/inputs.h"

namespace cmat::report {

void add_setting(const ReportInputs& inputs, Document& page);
void add_headline(const ReportInputs& inputs, Document& page);
/// Bars of accuracy over the attacks, from easy to hard, and their table.
void add_difficulty(const ReportInputs& inputs, Document& page);
void add_comparisons(const ReportInputs& inputs, Document& page);
/// Accuracy over eps, steps and step size.
void add_curves(const ReportInputs& inputs, Document& page);
void add_matrices(const ReportInputs& inputs, Document& page);
void add_positions(const ReportInputs& inputs, Document& page);
void add_forgetting(const ReportInputs& inputs, Document& page);
void add_training(const ReportInputs& inputs, Document& page);
/// Who owns and who picks whom, from model.safetensors.
void add_ownership(const ReportInputs& inputs, Document& page);
void add_bytes(const ReportInputs& inputs, Document& page);
void add_scores(const ReportInputs& inputs, Document& page);
void add_pictures(const ReportInputs& inputs, Document& page);
void add_checks(const ReportInputs& inputs, Document& page);

/// A check of a saved evaluation.
struct Check {
  std::string run, message;
  bool raised = false;  ///< gave cause for concern
};
/// Those of all saved evaluations.
std::vector<Check> checks_of(const ReportInputs& inputs);

}  // namespace cmat::report
