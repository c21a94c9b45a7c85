#include "cmat/continual/evaluation_target.h"

#include <ATen/Functions.h>

#include <algorithm>

#include "cmat/continual/adversarial_file.h"
#include "cmat/core/error.h"
#include "cmat/eval/joint.h"
#include "cmat/nn/effective.h"

namespace cmat::continual {
namespace {

std::int64_t class_count(const Setup& setup, std::int64_t task) {
  return static_cast<std::int64_t>(setup.task(task).classes.size());
}

/// A network of its own that computes what the run's computes now.
class FixedNetwork {
 public:
  explicit FixedNetwork(Setup& setup) {
    const nn::EffectiveNetwork effective =
        nn::effective_network(setup.model->network(), setup.model->description());
    const nn::Network& model = setup.model->network();
    const at::Tensor& any = model.parameters().front().tensor;
    network_ = nn::build_network(effective.description, any.scalar_type(), any.device());
    network_->use_frozen(setup.settings.frozen);
    const auto fill = [&](const std::vector<nn::NamedTensor>& tensors) {
      for (const nn::NamedTensor& t : tensors) {
        const auto found = effective.state.find(t.name);
        if (found != effective.state.end()) t.tensor.detach().copy_(found->second);
      }
    };
    fill(network_->parameters());
    fill(network_->buffers());
    classifier_ = attack::make_classifier(*network_);
  }
  attack::Classifier& classifier() { return *classifier_; }

 private:
  std::unique_ptr<nn::Network> network_;
  std::unique_ptr<attack::Classifier> classifier_;
};

/// One network a task; made when they are first asked for.
class TaskNetworks {
 public:
  explicit TaskNetworks(Setup& setup) : setup_(setup) {}
  attack::Classifier& of(std::int64_t task) {
    while (static_cast<std::int64_t>(networks_.size()) < task) {
      setup_.model->activate(static_cast<std::int64_t>(networks_.size()) + 1);
      networks_.push_back(std::make_unique<FixedNetwork>(setup_));
    }
    return networks_[static_cast<std::size_t>(task - 1)]->classifier();
  }

 private:
  Setup& setup_;
  std::vector<std::unique_ptr<FixedNetwork>> networks_;
};

class TaskAware : public Protocol {
 public:
  explicit TaskAware(Setup& setup) : setup_(setup) {}
  std::string name() const override { return "task-aware"; }
  std::vector<Target> targets(std::int64_t task) override {
    release();
    setup_.model->activate(task);
    own_ = attack::make_classifier(setup_.model->network());
    return {{.judge = own_.get(), .attacked = own_.get(), .classes = class_count(setup_, task)}};
  }

  /// The classifier must not live while the network's tensors change.
  void release() { own_.reset(); }

 private:
  Setup& setup_;
  std::unique_ptr<attack::Classifier> own_;
};

class ClassIncremental : public Protocol {
 public:
  explicit ClassIncremental(Setup& setup) : networks_(setup) {
    std::vector<attack::Classifier*> members;
    for (std::int64_t t = 1; t <= setup.model->committed(); ++t) {
      members.push_back(&networks_.of(t));
      first_label_.push_back(classes_);
      classes_ += class_count(setup, t);
    }
    joint_ = std::make_unique<eval::JointClassifier>(members);
  }
  std::string name() const override { return "class-incremental"; }
  std::vector<Target> targets(std::int64_t task) override {
    return {{.judge = joint_.get(),
             .attacked = joint_.get(),
             .classes = classes_,
             .first_label = first_label_.at(static_cast<std::size_t>(task - 1))}};
  }

 private:
  TaskNetworks networks_;
  std::unique_ptr<eval::JointClassifier> joint_;
  std::int64_t classes_ = 0;
  std::vector<std::int64_t> first_label_;
};

/// Examples made with the networks of the tasks before, judged by the task's own.
class CrossTask : public Protocol {
 public:
  explicit CrossTask(Setup& setup) : own_(setup), networks_(setup) {}
  std::string name() const override { return "transfer"; }
  std::vector<Target> targets(std::int64_t task) override {
    own_.release();
    if (task > 1) networks_.of(task - 1);  // before the run's network is the task's own
    Target own = own_.targets(task).front();
    judge_ = own.judge;
    std::vector<Target> all;
    for (std::int64_t from = 1; from < task; ++from) {
      own.attacked = &networks_.of(from);
      own.source = text("task ", from);
      own.attack_labels = [source = own.attacked](const at::Tensor& images, const at::Tensor&) {
        return source->logits(images).argmax(1);
      };
      all.push_back(own);
    }
    return all;
  }
  attack::Classifier* white_box() override { return judge_; }

 private:
  TaskAware own_;
  TaskNetworks networks_;
  attack::Classifier* judge_ = nullptr;
};

void require_same_images(const Setup& setup, const Setup& other, std::int64_t task,
                         const std::string& source) {
  const auto refuse = [&](const char* what) {
    usage_error("task ", task, " of ", source, " has other ", what,
                " than this run's, so its examples cannot be scored here");
  };
  if (task > other.model->committed()) {
    usage_error("--source ", source, " has finished ", other.model->committed(),
                " tasks, and task ", task, " is to be attacked: choose with --tasks");
  }
  const data::Task &a = setup.task(task), &b = other.task(task);
  if (a.classes != b.classes || a.class_names != b.class_names) refuse("classes");
  if (a.test != b.test || a.source->test.pixels != b.source->test.pixels) refuse("test images");
}

class OtherRun : public Protocol {
 public:
  OtherRun(Setup& setup, const std::string& source, const MachineOptions& machine)
      : setup_(setup),
        source_(source),
        other_(open_run(source, machine)),
        own_(setup),
        theirs_(*other_.setup) {}
  std::string name() const override { return "transfer"; }
  std::vector<Target> targets(std::int64_t task) override {
    require_same_images(setup_, *other_.setup, task, source_);
    Target own = own_.targets(task).front();
    judge_ = own.judge;
    own.attacked = theirs_.targets(task).front().attacked;
    own.source = source_;
    return {own};
  }
  attack::Classifier* white_box() override { return judge_; }

 private:
  Setup& setup_;
  std::string source_;
  OpenedRun other_;
  TaskAware own_, theirs_;
  attack::Classifier* judge_ = nullptr;
};

class FromFile : public Protocol {
 public:
  FromFile(Setup& setup, const std::string& source)
      : source_(source), file_(read_tensor_file(source)), own_(setup) {}
  std::string name() const override { return "transfer"; }
  std::vector<Target> targets(std::int64_t task) override {
    Target own = own_.targets(task).front();
    own.source = source_;
    return {own};
  }
  std::unique_ptr<attack::Attack> stored_attack(std::int64_t task,
                                                const attack::ThreatModel& threat) override {
    return make_stored_attack(file_, source_, task, threat);
  }

 private:
  std::string source_;
  TensorFile file_;
  TaskAware own_;
};

}  // namespace

std::unique_ptr<Protocol> make_protocol(const std::string& name, const std::string& source,
                                        Setup& setup, const MachineOptions& machine) {
  if (name != "transfer" && !source.empty()) {
    usage_error("--source belongs to --protocol transfer, not to ", name);
  }
  if (name == "task-aware") return std::make_unique<TaskAware>(setup);
  if (name == "class-incremental") return std::make_unique<ClassIncremental>(setup);
  if (name != "transfer") {
    usage_error("--protocol must be task-aware, class-incremental or transfer, not \"", name, "\"");
  }
  if (source.empty()) {
    usage_error(
        "--protocol transfer needs --source: another run, a file of --save-adversarial, or ",
        "\"tasks\" for the networks of the tasks before");
  }
  if (source == "tasks") return std::make_unique<CrossTask>(setup);
  if (std::filesystem::is_regular_file(source)) return std::make_unique<FromFile>(setup, source);
  if (std::filesystem::is_directory(source))
    return std::make_unique<OtherRun>(setup, source, machine);
  usage_error("--source ", source, " is neither a run folder nor a file, nor \"tasks\"");
}

}  // namespace cmat::continual
