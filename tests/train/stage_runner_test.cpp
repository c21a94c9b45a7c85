// One stage of training: what a loss that is not finite does, and that a stage can stop anywhere.
#include "cmat/train/stage_runner.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "core/expect_error.h"
#include "tiny_model.h"

namespace cmat::train {
namespace {

using nlohmann::json;

constexpr const char* kConfig = R"(
[data]
source = "synthetic"
validation = 0.25
[data.synthetic]
classes = 4
train_per_class = 24
test_per_class = 2
[stream]
split = "chunks"
classes_per_task = 2
[objective]
steps = 2
[optimizer]
batch = 8
[compact]
epochs = 3
prune_every = 2
[evaluation]
steps = 2
batch = 16
)";

/// Cross-entropy that spoils the steps it is told to.
class Spoiled : public defense::Objective {
 public:
  enum class What { nothing, loss, gradient };
  explicit Spoiled(std::function<What(int)> what) : what_(std::move(what)) {}

  defense::StepLoss step(nn::Network& network, const defense::Batch& batch, const Key&) override {
    network.set_training(true);
    const at::Tensor logits = network.forward(batch.images);
    at::Tensor loss = at::cross_entropy_loss(logits, batch.labels);
    const What what = what_(calls++);
    if (what == What::loss) loss = loss * std::numeric_limits<float>::infinity();
    if (what == What::gradient)
      loss = loss + (logits * 0).sqrt().sum();  // 0, with a gradient of NaN
    return {loss, logits.detach(), logits.size(0), logits.size(0)};
  }
  std::unique_ptr<attack::Attack> validation_attack() const override { return nullptr; }
  defense::Passes passes() const override { return {.train_forward = 1, .train_backward = 1}; }
  std::string name() const override { return "spoiled"; }

  int calls = 0;

 private:
  std::function<What(int)> what_;
};

/// Everything that a stage needs, at the beginning of a compaction of the first task.
struct Bench {
  explicit Bench(const std::vector<std::string>& overrides = {}) {
    Config config = Config::parse(kConfig, "test");
    for (const std::string& o : overrides) config.set(o);
    settings = read_settings(config);
    objective = defense::make_objective(config, settings.threat);
    stream = data::make_stream(settings.stream);
    ModelOptions options;
    options.seed = settings.seed;
    model = std::make_unique<Model>(test::tiny_description(), options);
    stage = {.kind = "compact", .number = 1, .epochs = settings.compact.epochs, .ratio = 0.5};
  }

  StageRunner runner(defense::Objective& o, StageHooks hooks = {}) {
    return StageRunner(settings, stream, o, *model, state, std::move(hooks));
  }
  void begin(StageRunner& runner) {
    model->begin_task(2);
    runner.warm_up_norms();
    state.accepted = model->snapshot();
    runner.start(stage);
  }
  std::string everything() const {
    json j = to_json(state);
    return j.dump() + test::saved(*model, true) + serialize_tensor_file(state.accepted) +
           serialize_tensor_file(state.best);
  }

  Settings settings;
  std::unique_ptr<defense::Objective> objective;
  data::Stream stream;
  std::unique_ptr<Model> model;
  RunState state;
  StageSpec stage;
};

TEST(StageRunner, CompactsToTheShare) {
  Bench bench;
  auto runner = bench.runner(*bench.objective);
  bench.begin(runner);
  StageOutcome outcome;
  ASSERT_EQ(runner.run(outcome), StageRunner::Result::finished);
  for (const auto& layer : bench.model->bank().layers()) {
    EXPECT_EQ(layer.state.owners.eq(0).sum().item<std::int64_t>() * 2, layer.state.owners.numel());
  }
  EXPECT_EQ(outcome.losses.size(), 12U);
  EXPECT_FALSE(bench.state.stage);
  EXPECT_EQ(bench.state.steps_done, 3 * runner.steps_per_epoch());
  // 2 attack passes and the weight step's, 8 images a batch.
  EXPECT_EQ(bench.state.forwards, bench.state.steps_done * 8 * 3);
  EXPECT_EQ(bench.state.backwards, bench.state.steps_done * 8 * 3);
}

TEST(StageRunner, RetriesFromTheAcceptedWeights) {
  for (auto what : {Spoiled::What::loss, Spoiled::What::gradient}) {
    for (int bad : {0, 6}) {
      SCOPED_TRACE(bad);
      Bench bench;
      Spoiled objective([&](int call) { return call == bad ? what : Spoiled::What::nothing; });
      std::vector<json> retries;
      StageHooks hooks;
      hooks.on_event = [&](const json& e) {
        if (e.at("event") == "retry") retries.push_back(e);
      };
      auto runner = bench.runner(objective, hooks);
      bench.begin(runner);
      StageOutcome outcome;
      ASSERT_EQ(runner.run(outcome), StageRunner::Result::finished);
      EXPECT_EQ(retries.size(), 1U);
      EXPECT_EQ(bench.state.retries, 1);
      EXPECT_EQ(outcome.stage.lr_scale, 0.5);
      EXPECT_TRUE(std::isfinite(outcome.loss));
    }
  }
}

TEST(StageRunner, AGradientThatIsNotFiniteInTheLastStep) {
  for (const char* select : {"last", "best"}) {
    Bench bench({text("method.select=", select)});
    bench.stage.kind = "train";  // so that every epoch may be the best
    Spoiled objective(
        [](int call) { return call == 11 ? Spoiled::What::gradient : Spoiled::What::nothing; });
    auto runner = bench.runner(objective);
    bench.begin(runner);
    StageOutcome outcome;
    ASSERT_EQ(runner.run(outcome), StageRunner::Result::finished);
    EXPECT_TRUE(std::isfinite(outcome.loss)) << select;
    EXPECT_EQ(bench.state.retries, std::string(select) == "last" ? 1 : 0);
  }
}

TEST(StageRunner, ARetryIsTheSameStageAtHalfTheRate) {
  std::vector<std::string> results;
  for (int spoiled : {3, 7}) {  // whenever it happened, the second attempt is the same
    Bench bench;
    Spoiled objective(
        [&](int call) { return call == spoiled ? Spoiled::What::loss : Spoiled::What::nothing; });
    auto runner = bench.runner(objective);
    bench.begin(runner);
    StageOutcome outcome;
    runner.run(outcome);
    results.push_back(test::saved(*bench.model, true));
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(StageRunner, GivesUpAfterThreeRetries) {
  Bench bench;
  Spoiled objective([](int) { return Spoiled::What::loss; });
  auto runner = bench.runner(objective);
  bench.begin(runner);
  StageOutcome outcome;
  test::expect_failure({"task 1", "not finite", "compact.lr"}, [&] { runner.run(outcome); });
  EXPECT_EQ(objective.calls, 4);
}

/// Images of another set, as if they had to be decoded.
class CopyingReader : public data::ImageReader {
 public:
  explicit CopyingReader(data::ImageSet images) : images_(std::move(images)) {}
  void read(std::int64_t index, std::span<std::uint8_t> pixels) const override {
    std::vector<std::uint8_t> unused;
    std::ranges::copy(data::image_pixels(images_, index, unused), pixels.begin());
  }
  std::shared_ptr<const data::Picture> read_larger(std::int64_t) const override { return {}; }

 private:
  data::ImageSet images_;
};

void decode_at_need(data::Stream& stream) {
  auto source = std::make_shared<data::Source>(*stream.tasks.front().source);
  source->train.reader = std::make_shared<CopyingReader>(source->train);
  source->train.pixels.clear();
  for (data::Task& task : stream.tasks) task.source = source;
}

TEST(StageRunner, ImagesThatAreDecodedAheadMakeTheSameModel) {
  for (const int spoiled : {-1, 3, 7}) {  // a retry begins with other batches than were made ready
    std::vector<std::string> results;
    for (const bool ahead : {false, true}) {
      Bench bench({"augment.flip=true", "augment.crop_padding=1", "data.workers=3"});
      if (ahead) decode_at_need(bench.stream);
      Spoiled objective(
          [&](int call) { return call == spoiled ? Spoiled::What::loss : Spoiled::What::nothing; });
      auto runner = bench.runner(objective);
      bench.begin(runner);
      StageOutcome outcome;
      ASSERT_EQ(runner.run(outcome), StageRunner::Result::finished);
      EXPECT_EQ(bench.state.retries, spoiled < 0 ? 0 : 1);
      results.push_back(bench.everything());
    }
    EXPECT_TRUE(results[0] == results[1]) << spoiled;
  }
}

/// Stops after every `every`-th step; each time everything is written, and read by new objects.
std::string run_in_pieces(const std::vector<std::string>& overrides, int every) {
  auto bench = std::make_unique<Bench>(overrides);
  bool fresh = true;
  for (;;) {
    int steps = 0;
    std::unique_ptr<Bench> before;  // outlives its runner
    StageHooks hooks;
    if (every > 0) hooks.after_step = [&] { return ++steps == every; };
    auto runner = bench->runner(*bench->objective, hooks);
    if (fresh) bench->begin(runner);
    fresh = false;
    StageOutcome outcome;
    if (runner.run(outcome) == StageRunner::Result::finished) {
      bench->state.history.push_back(outcome);
      return bench->everything();
    }
    auto next = std::make_unique<Bench>(overrides);
    test::load(*next->model, test::saved(*bench->model, true));
    next->state = state_from_json(json::parse(to_json(bench->state).dump()));
    next->state.accepted = bench->state.accepted;
    next->state.best = bench->state.best;
    TensorFile objective;
    bench->objective->save(objective);
    next->objective->load(objective);
    before = std::exchange(bench, std::move(next));
  }
}

TEST(StageRunner, StoppingAndContinuingChangesNothing) {
  for (const std::vector<std::string>& overrides : std::vector<std::vector<std::string>>{
           {},
           {"method.select=best"},
           {"method.select=best", "optimizer.average_decay=0"},
           {"augment.flip=true", "augment.crop_padding=1", "objective.attack_mode=train"},
           {"augment.flip=true", "objective.name=free", "objective.free_replays=3"},
           {"objective.name=fast", "objective.guard_every=2", "objective.guard_drop=0",
            "objective.distillation=0.5"},
           {"objective.name=trades", "objective.awp=0.01", "objective.awp_warmup=0.4"},
           {"objective.name=anp-vs", "method.select=best", "objective.label_smoothing=0.1"}}) {
    const std::string whole = run_in_pieces(overrides, 0);
    for (int every : {1, 3, 4}) EXPECT_TRUE(run_in_pieces(overrides, every) == whole) << every;
  }
}

/// Free adversarial training sees fewer batches in as many steps.
TEST(StageRunner, ReplaysBatches) {
  for (const bool ahead : {false, true}) {
    Bench bench({"objective.name=free", "objective.free_replays=5", "augment.flip=true"});
    if (ahead) decode_at_need(bench.stream);
    struct Counting : defense::Objective {
      explicit Counting(defense::Objective& o) : inner(o) {}
      defense::StepLoss step(nn::Network& network, const defense::Batch& batch,
                             const Key& key) override {
        images.push_back(batch.images.clone());
        return inner.step(network, batch, key);
      }
      int replays() const override { return inner.replays(); }
      defense::Passes passes() const override { return inner.passes(); }
      std::unique_ptr<attack::Attack> validation_attack() const override { return nullptr; }
      std::string name() const override { return "counting"; }
      defense::Objective& inner;
      std::vector<at::Tensor> images;
    } counting(*bench.objective);
    auto runner = bench.runner(counting);
    bench.begin(runner);
    StageOutcome outcome;
    runner.run(outcome);
    const auto steps = static_cast<std::size_t>(3 * runner.steps_per_epoch());
    ASSERT_EQ(counting.images.size(), steps);
    for (std::size_t i = 1; i < steps; ++i) {
      EXPECT_EQ(counting.images[i].equal(counting.images[i - 1]), i % 5 != 0) << i;
    }
  }
}

/// What a task may change is what it owns, and what no task shares.
TEST(StageRunner, TellsTheObjectiveWhatMayChange) {
  struct Asking : defense::Objective {
    void set_model(defense::ModelView view) override { model = std::move(view); }
    defense::StepLoss step(nn::Network&, const defense::Batch&, const Key&) override { return {}; }
    defense::Passes passes() const override { return {}; }
    std::unique_ptr<attack::Attack> validation_attack() const override { return nullptr; }
    std::string name() const override { return "asking"; }
    defense::ModelView model;
  } asking;
  Bench bench;
  test::learn(*bench.model, 2, 1);
  bench.model->begin_task(2);
  bench.model->begin_stage(/*average=*/true);
  const auto runner = bench.runner(asking);
  const std::vector<at::Tensor> masks = asking.model.changeable();
  const std::vector<nn::NamedTensor> parameters = bench.model->network().parameters();
  ASSERT_EQ(masks.size(), parameters.size());
  std::int64_t own = 0;
  for (std::size_t i = 0; i < masks.size(); ++i) {
    EXPECT_EQ(masks[i].defined(), bench.model->shared_names().contains(parameters[i].name));
    if (masks[i].defined()) own += masks[i].sum().item<std::int64_t>();
  }
  EXPECT_EQ(own, bench.model->bank().count().own);
  EXPECT_GT(bench.model->bank().count().older, 0);

  test::train_step(*bench.model, 9);  // the averages stay behind
  const at::Tensor now = test::logits(*bench.model);
  const at::Tensor average = asking.model.average_logits(test::random_images(2, at::kFloat, 77).x);
  EXPECT_FALSE(average.equal(now));
  EXPECT_TRUE(test::logits(*bench.model).equal(now));  // and the live weights are back
  bench.model->show_averages();
  EXPECT_TRUE(test::logits(*bench.model).equal(average));
}

TEST(StageRunner, KeepsTheBestEpoch) {
  for (const char* decay : {"0", "0.9"}) {
    Bench bench({"method.select=best", text("optimizer.average_decay=", decay), "compact.lr=0.5"});
    bench.stage.kind = "train";
    auto runner = bench.runner(*bench.objective);
    bench.begin(runner);
    StageOutcome outcome;
    runner.run(outcome);
    EXPECT_EQ(outcome.loss, bench.state.best_loss);
  }
}

/// Knows which epochs are kept, and hands on a head of zeros.
struct Finishing : Spoiled {
  Finishing() : Spoiled([](int) { return What::nothing; }) {}
  void keep_epoch() override { ++kept; }
  void end_stage(nn::Network& network) override {
    for (const nn::NamedTensor& p : network.parameters()) {
      if (p.name.starts_with(network.head_name())) p.tensor.detach().zero_();
    }
  }
  int kept = 0;
};

TEST(StageRunner, LetsTheObjectiveFinishAStageBeforeItsValidation) {
  for (const char* decay : {"0", "0.9"}) {
    Bench bench({"method.select=best", text("optimizer.average_decay=", decay)});
    bench.stage.kind = "train";
    Finishing objective;
    int best = 0;
    auto runner = bench.runner(objective, {.after_step = {}, .on_event = [&](const json& e) {
                                             if (e.value("best_so_far", false)) ++best;
                                           }});
    bench.begin(runner);
    StageOutcome outcome;
    runner.run(outcome);
    EXPECT_NEAR(outcome.loss, std::log(2.0), 1e-6);
    EXPECT_GT(best, 0);
    EXPECT_EQ(objective.kept, best);
  }
}

TEST(StageRunner, RepickingStartsFromEveryWeight) {
  Bench bench({"repick.epochs=1", "repick.lr=1e-12", "repick.pick_lr=0"});
  auto runner = bench.runner(*bench.objective);
  bench.begin(runner);
  StageOutcome outcome;
  runner.run(outcome);
  bench.model->commit();
  bench.state.task = 2;
  bench.model->begin_task(2);
  for (auto& layer : bench.model->bank().layers()) layer.state.scores.fill_(-1);
  bench.state.accepted = bench.model->snapshot();
  bench.stage.kind = "train";
  runner.start(bench.stage);
  EXPECT_EQ(bench.model->bank().count().picked, 0);
  bench.stage.kind = "repick";
  runner.start(bench.stage);
  const nn::OwnershipCount count = bench.model->bank().count();
  EXPECT_EQ(count.picked, count.older);
}

}  // namespace
}  // namespace cmat::train
