#include "cmat/attack/registry.h"

#include "attack_helpers.h"

namespace cmat::attack {
namespace {

using test::golden_net;
using test::GoldenNet;

TEST(Registry, NamesAreReadAsTheyAreWritten) {
  const AttackSettings settings = {.classes = 5};
  const auto name = [&](const std::string& asked) {
    return make_attack(asked, {Norm::l2, 0.5}, settings)->name();
  };
  for (const char* same :
       {"fgsm",      "fgsm-rs",    "bim7",         "mim10",  "pgd20", "pgd20x2",  "apgd-ce",
        "apgd-ce50", "apgd-cex5",  "apgd-dlr50x5", "apgd-t", "fab",   "fab-t",    "fab20x3",
        "square",    "square1000", "squarex2",     "cw",     "cw300", "deepfool", "deepfool20"}) {
    EXPECT_EQ(name(same), same);
  }
  for (const char* same : {"ead", "ead300", "jsma"}) {
    EXPECT_EQ(make_attack(same, {Norm::l1, 12}, settings)->name(), same);
  }
  EXPECT_EQ(name("pgd"), "pgd20");
  EXPECT_EQ(name("autoattack"), "AA-standard[C=5,t=4]");
  EXPECT_EQ(name("aa-plus"), "AA-plus[C=5,t=4]");
  EXPECT_EQ(name("aa-rand"), "AA-rand[C=5,t=4]");
}

TEST(Registry, EveryAttackRunsInEveryNormItNames) {
  const GoldenNet net = golden_net("tiny_c5");
  NetworkClassifier model(*net.network);
  for (const AttackName& entry : attack_names()) {
    if (entry.steps == 0 && entry.name.starts_with("a")) continue;  // their own tests
    for (const Norm norm : {Norm::linf, Norm::l2, Norm::l1}) {
      SCOPED_TRACE(entry.name + " " + norm_name(norm));
      const double eps = norm == Norm::linf ? 0.03 : norm == Norm::l2 ? 0.3 : 3;
      const std::string name = entry.steps ? text(entry.name, 5) : entry.name;
      const bool able =
          std::find(entry.norms.begin(), entry.norms.end(), norm) != entry.norms.end();
      if (!able) {
        EXPECT_NE(message_of([&] {
                    make_attack(name, {norm, eps});
                  }).find("does not work in " + norm_name(norm)),
                  std::string::npos);
        continue;
      }
      const AttackResult result =
          make_attack(name, {norm, eps})->run(model, net.x, net.y, ids(6), {});
      const at::Tensor wrong = model.logits(net.x).argmax(1) != net.y;
      EXPECT_TRUE(result.fooled.logical_or(wrong.logical_not()).all().item<bool>());
      EXPECT_GT(result.forwards, 0);
    }
  }
}

TEST(Registry, RefusalsAreOneSentence) {
  const ThreatModel linf = {Norm::linf, 0.03};
  EXPECT_EQ(
      message_of([&] { make_attack("pgf", linf); }),
      "there is no attack \"pgf\": use fgsm, fgsm-rs, bim, mim, pgd, apgd-ce, apgd-dlr, "
      "apgd-t, fab, fab-t, square, cw, ead, jsma, deepfool, autoattack, aa-standard, aa-plus, "
      "aa-rand, with numbers where they take them, say pgd20x2 for 20 steps and 2 runs");
  EXPECT_EQ(message_of([&] { make_attack("cw", linf); }),
            "attack \"cw\" does not work in linf: use fgsm, fgsm-rs, bim, mim, pgd, apgd-ce, "
            "apgd-dlr, apgd-t, fab, fab-t, square, deepfool, autoattack, aa-standard, aa-plus, "
            "aa-rand");
  EXPECT_EQ(message_of([] {
              make_attack("square", {Norm::l1, 3});
            }),
            "attack \"square\" does not work in l1: use fgsm, fgsm-rs, bim, mim, pgd, "
            "apgd-ce, apgd-dlr, apgd-t, fab, fab-t, ead, jsma");
  EXPECT_EQ(message_of([&] { make_attack("fgsm3", linf); }),
            "attack \"fgsm\" takes no number of steps");
  EXPECT_EQ(message_of([&] { make_attack("deepfool9x2", linf); }),
            "attack \"deepfool\" takes no number of runs");
  EXPECT_EQ(message_of([&] { make_attack("pgd0", linf); }),
            "attack \"pgd0\" has a number that is not in 1 to 1000000");
  EXPECT_EQ(message_of([&] { make_attack("autoattack", linf); }),
            "AutoAttack needs a network of at least 2 classes, not 0");
  EXPECT_EQ(message_of([&] { make_attack("pgd", linf, {.classes = 1}); }),
            "attack \"pgd\" needs a network of at least 2 classes, not 1");
  EXPECT_EQ(message_of([] {
              make_attack("pgd20", {Norm::linf, 0});
            }),
            "attack \"pgd20\" needs a radius above 0, not 0");
  for (const char* wrong : {"", "pgd20x", "pgd20y", "pgdx", "pgd20x2x2", "apgd", "fab-", "pgd-3",
                            "pgd99999999999999999999"}) {
    EXPECT_NE(message_of([&] { make_attack(wrong, linf); }), "") << wrong;
  }
}

}  // namespace
}  // namespace cmat::attack
