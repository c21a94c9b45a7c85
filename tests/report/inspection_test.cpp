#include "cmat/report/inspection.h"

#include <gtest/gtest.h>

#include "cmat/core/error.h"

namespace cmat::report {
namespace {

using nlohmann::json;

json sample() {
  return json::parse(R"({
    "run": "runs/a", "method": "cmat", "architecture": "tinybn", "width": 2.0,
    "tasks_in_stream": 3,
    "bytes": {"values": 4000, "owners": 1000, "total": 7000, "amortised": 3500.0},
    "layers": [{"name": "conv1.weight", "shape": [10, 4, 5, 5], "weights": 1000,
                "own": [500, 250], "free": 250}],
    "picks": [[], [{"owned": 500, "picked": 125}]],
    "tasks": [
      {"task": 1, "name": "cats", "own": 500, "older": 0, "picked": 0,
       "network": {"width": 1.0, "channels": 10, "zero_channels": 3},
       "bytes": {"values": 2000, "part": 400, "picks": 0, "marginal": 2400}},
      {"task": 2, "name": "dogs", "own": 250, "older": 500, "picked": 125, "network": null,
       "bytes": {"values": 1000, "part": 400, "picks": 63, "marginal": 1463}}]})");
}

TEST(Inspection, TablesSayWhatTheJsonSays) {
  EXPECT_EQ(show_inspection(sample()),
            R"(Run runs/a

  method   cmat
  network  tinybn, width 2
  tasks    2 of 3 finished
  bytes    7.0 kB: values 4.0 kB, owners 1.0 kB, and what the tasks have for themselves; 3.5 kB a
           task

Tasks

task  name  width  own  picked  % of older  channels  zero   added
----  ----  -----  ---  ------  ----------  --------  ----  ------
   1  cats      1  500       0           -        10     3  2.4 kB
   2  dogs      -  250     125        25.0         -     -  1.5 kB

own: weights that the task owns; picked: weights of earlier tasks that it uses; zero: channels that
  cannot influence its logits; added: bytes of its own weights, norm layers, head and picks.

Who owns each shared layer, in percent

layer            shape  weights     1     2  free
------------  --------  -------  ----  ----  ----
conv1.weight  10x4x5x5    1,000  50.0  25.0  25.0

How much of an earlier task's weights a task uses, in percent

task  from 1
----  ------
   2    25.0
)");
}

TEST(Inspection, OneTaskPicksFromNobody) {
  json one = sample();
  one["tasks"].erase(1);
  one["picks"].erase(1);
  one["layers"][0]["own"].erase(1);
  EXPECT_EQ(show_inspection(one).find("How much of an earlier"), std::string::npos);
}

TEST(Inspection, NetworksOfTheirOwnHaveNoPicksAndNothingFree) {
  json separate = sample();
  separate["picks"] = {json::array(), json::array()};
  separate["layers"][0]["free"] = nullptr;
  const std::string shown = show_inspection(separate);
  EXPECT_EQ(shown.find("How much of an earlier"), std::string::npos);
  EXPECT_NE(shown.find("50.0  25.0     -"), std::string::npos) << shown;
}

}  // namespace
}  // namespace cmat::report
