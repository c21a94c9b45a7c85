// Convolutions of any kernel, stride and padding as sums over the kernel's taps.
//
// The gradient with respect to the input is the same thing. With stride s the input's pixels fall
// into s x s classes by their remainders, and those of one class receive from the same taps: each
// class is a convolution of stride 1 whose outputs lie s pixels apart. Where all classes together
// have no more channels than one panel, as an image's do, they are computed as one, with zeros for
// the taps that a class does not have. Otherwise each multiplies its own stretch of rows that are
// gathered once, if the taps can be ordered so that it is one.
#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include "cmat/nn/frozen/elementwise.h"
#include "cmat/nn/frozen/parallel.h"
#include "cmat/nn/frozen/product.h"

namespace cmat::nn::frozen {
namespace {

constexpr std::int64_t kRowsInCache = (std::int64_t{128} << 10) / sizeof(float);

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

class Direct : public Product {
 public:
  Direct(const ConvolutionShape& shape, Direction direction);

  void load(const at::Tensor& weight) override;
  void run(const float* x, std::int64_t images, const float* scale, const Epilogue& epilogue,
           float* y, Workspace& workspace) const override;
  std::string method() const override { return "direct"; }
  std::int64_t bytes() const override;

 private:
  /// Columns that a stretch of a row's taps makes.
  struct Stretch {
    std::int64_t first_tap = 0, taps = 0;
    std::int64_t first_panel = 0, panels = 0;
    std::int64_t depth = 0, weights = 0;  ///< floats: of a row, and before its weights
  };
  struct Part {
    Lattice lattice;
    Taps taps;
    std::vector<Stretch> stretches{};
    Buffer weights{};
    std::int64_t depth = 0, panels = 0;  ///< of its rows, before and after the product
    std::int64_t weight_floats = 0;
    std::int64_t block = 0;     ///< places that a thread takes at once
    bool in_place = false;      ///< a place's row is its pixel: nothing to gather
    bool side_by_side = false;  ///< its sums are its pixel: nothing to scatter

    std::int64_t gathered() const { return depth + kPanel; }  ///< floats of a place's row
    std::int64_t floats() const { return gathered() + panels * kPanel; }
  };

  Lattice forward_lattice() const;
  Lattice backward_lattice(const std::vector<Lattice::Offset>& targets) const;
  /// `stretches` by their taps; empty: all taps for all targets.
  void add_part(Lattice lattice, std::vector<Stretch> stretches = {});
  std::optional<Stretch> stretch_of(const Lattice& lattice, const Lattice::Offset& target) const;
  bool add_shared_part(const std::vector<Lattice::Offset>& classes);
  /// The weight's row or column of the tap for a target, or -1.
  std::int64_t kernel_index(std::int64_t tap, std::int64_t target) const;
  void load_panel(Part& part, const Stretch& stretch, const at::Tensor& weight,
                  std::int64_t panel) const;

  ConvolutionShape shape_;
  Side in_, out_;  ///< of the product: the gradient goes in on the layer's output side
  bool backward_;
  std::vector<Part> parts_;
};

Direct::Direct(const ConvolutionShape& shape, Direction direction)
    : shape_(shape),
      in_(direction == Direction::forward ? shape.in : shape.out),
      out_(direction == Direction::forward ? shape.out : shape.in),
      backward_(direction == Direction::backward) {
  if (!backward_) {
    add_part(forward_lattice());
    return;
  }
  std::vector<Lattice::Offset> classes;
  for (std::int64_t y = 0; y < std::min(shape.stride, out_.height); ++y) {
    for (std::int64_t x = 0; x < std::min(shape.stride, out_.width); ++x) classes.push_back({y, x});
  }
  if (std::ssize(classes) * out_.channels <= kPanel) {
    add_part(backward_lattice(classes));
    return;
  }
  if (add_shared_part(classes)) return;
  for (const Lattice::Offset& target : classes) add_part(backward_lattice({target}));
}

/// All classes as one part whose rows each class needs a stretch of; false where that cannot be. A
/// kernel of 3 with stride 2 has four taps, of which the classes need 1, 2, 2 and 4.
bool Direct::add_shared_part(const std::vector<Lattice::Offset>& classes) {
  const std::int64_t stride = shape_.stride;
  if (stride == 1 || out_.channels % kPanel != 0 || out_.height % stride != 0 ||
      out_.width % stride != 0) {
    return false;
  }
  Lattice lattice = backward_lattice(classes);
  constexpr std::size_t most = 4;  // whose orders can all be tried
  if (lattice.taps.size() > most) return false;
  std::vector<std::size_t> order(lattice.taps.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  do {
    Lattice ordered = lattice;
    for (std::size_t i = 0; i < order.size(); ++i) ordered.taps[i] = lattice.taps[order[i]];
    std::vector<Stretch> stretches;
    for (const Lattice::Offset& target : classes) {
      const std::optional<Stretch> stretch = stretch_of(ordered, target);
      if (!stretch) break;
      stretches.push_back(*stretch);
    }
    if (stretches.size() < classes.size()) continue;
    add_part(std::move(ordered), std::move(stretches));
    return true;
  } while (std::next_permutation(order.begin(), order.end()));
  return false;
}

/// The taps that a target needs, if they lie side by side.
std::optional<Direct::Stretch> Direct::stretch_of(const Lattice& lattice,
                                                  const Lattice::Offset& target) const {
  Stretch stretch;
  for (std::int64_t i = 0; i < std::ssize(lattice.taps); ++i) {
    const Lattice::Offset& tap = lattice.taps[static_cast<std::size_t>(i)];
    if (kernel_index(tap.dy, target.dy) < 0 || kernel_index(tap.dx, target.dx) < 0) continue;
    if (stretch.taps == 0) stretch.first_tap = i;
    if (stretch.first_tap + stretch.taps != i) return std::nullopt;
    ++stretch.taps;
  }
  return stretch;
}

Lattice Direct::forward_lattice() const {
  Lattice lattice;
  lattice.down = out_.height;
  lattice.across = out_.width;
  lattice.read = shape_.stride;
  lattice.targets = {{}};
  for (std::int64_t y = 0; y < shape_.kernel; ++y) {
    for (std::int64_t x = 0; x < shape_.kernel; ++x) {
      lattice.taps.push_back({y - shape_.padding, x - shape_.padding});
    }
  }
  return lattice;
}

std::int64_t Direct::kernel_index(std::int64_t tap, std::int64_t target) const {
  const std::int64_t index =
      backward_ ? target + shape_.padding - tap * shape_.stride : tap + shape_.padding;
  return index >= 0 && index < shape_.kernel ? index : -1;
}

/// The input's pixels of the classes `targets`.
Lattice Direct::backward_lattice(const std::vector<Lattice::Offset>& targets) const {
  Lattice lattice;
  lattice.write = shape_.stride;
  lattice.targets = targets;
  const auto count = [&](std::int64_t length, std::int64_t offset) {
    return (length - offset + shape_.stride - 1) / shape_.stride;
  };
  lattice.down = count(out_.height, targets.front().dy);
  lattice.across = count(out_.width, targets.front().dx);
  // Every pixel of the gradient that some target may need.
  const std::int64_t first = floor_divide(shape_.padding - shape_.kernel + 1, shape_.stride);
  const std::int64_t last = floor_divide(shape_.padding + shape_.stride - 1, shape_.stride);
  for (std::int64_t dy = first; dy <= last; ++dy) {
    for (std::int64_t dx = first; dx <= last; ++dx) {
      const bool needed = std::any_of(targets.begin(), targets.end(), [&](const auto& target) {
        return kernel_index(dy, target.dy) >= 0 && kernel_index(dx, target.dx) >= 0;
      });
      if (needed) lattice.taps.push_back({dy, dx});
    }
  }
  return lattice;
}

void Direct::add_part(Lattice lattice, std::vector<Stretch> stretches) {
  const Taps taps(lattice, in_);
  if (stretches.empty()) stretches.push_back({.taps = std::ssize(lattice.taps)});
  Part part{.lattice = std::move(lattice), .taps = taps, .stretches = std::move(stretches)};
  part.depth = std::ssize(part.lattice.taps) * in_.channels;
  part.panels = padded(std::ssize(part.lattice.targets) * out_.channels) / kPanel;
  std::int64_t panel = 0, weights = 0;
  for (Stretch& stretch : part.stretches) {
    stretch.first_panel = panel;
    stretch.panels = part.panels / std::ssize(part.stretches);
    stretch.depth = stretch.taps * in_.channels;
    stretch.weights = weights;
    panel += stretch.panels;
    weights += stretch.panels * stretch.depth * kPanel;
  }
  part.weight_floats = weights;
  part.block = std::clamp<std::int64_t>(kRowsInCache / part.floats() / 12 * 12, 12, 96);
  const Lattice& l = part.lattice;
  const auto covers = [&](const Side& side, std::int64_t step,
                          const std::vector<Lattice::Offset>& offsets) {
    return step == 1 && l.down == side.height && l.across == side.width && offsets.size() == 1 &&
           offsets.front().dy == 0 && offsets.front().dx == 0;
  };
  part.in_place = covers(in_, l.read, l.taps);
  part.side_by_side = covers(out_, l.write, l.targets) && out_.stride >= kPanel;
  parts_.push_back(std::move(part));
}

void Direct::load(const at::Tensor& weight) {
  const at::Tensor w = weight.dim() == 4 ? weight : weight.view({weight.size(0), -1, 1, 1});
  for (Part& part : parts_) {
    part.weights.reserve(part.weight_floats);
    for_each_item(part.panels, [&](std::int64_t panel, int) {
      const std::int64_t each = part.stretches.front().panels;
      load_panel(part, part.stretches[static_cast<std::size_t>(panel / each)], w, panel);
    });
  }
}

void Direct::load_panel(Part& part, const Stretch& stretch, const at::Tensor& weight,
                        std::int64_t panel) const {
  const float* w = weight.const_data_ptr<float>();
  const std::int64_t to_in = weight.stride(backward_ ? 0 : 1);
  const std::int64_t to_out = weight.stride(backward_ ? 1 : 0);
  float* to = part.weights.data() + stretch.weights +
              (panel - stretch.first_panel) * stretch.depth * kPanel;
  for (std::int64_t i = stretch.first_tap; i < stretch.first_tap + stretch.taps; ++i) {
    const Lattice::Offset& tap = part.lattice.taps[static_cast<std::size_t>(i)];
    const float* from[kPanel] = {};  // of each of the panel's columns; null where it is 0
    for (std::int64_t lane = 0; lane < kPanel; ++lane) {
      const std::int64_t column = panel * kPanel + lane, target = column / out_.channels;
      if (target >= std::ssize(part.lattice.targets)) break;
      const auto& [dy, dx] = part.lattice.targets[static_cast<std::size_t>(target)];
      const std::int64_t y = kernel_index(tap.dy, dy), x = kernel_index(tap.dx, dx);
      if (y < 0 || x < 0) continue;
      from[lane] =
          w + y * weight.stride(2) + x * weight.stride(3) + column % out_.channels * to_out;
    }
    for (std::int64_t c = 0; c < in_.channels; ++c) {
      for (const float* column : from) *to++ = column ? column[c * to_in] : 0.0f;
    }
  }
}

std::int64_t Direct::bytes() const {
  std::int64_t floats = 0;
  for (const Part& part : parts_) floats += part.weight_floats;
  return floats * std::int64_t{sizeof(float)};
}

void Direct::run(const float* x, std::int64_t images, const float* scale, const Epilogue& epilogue,
                 float* y, Workspace& workspace) const {
  std::int64_t items = 0, own = 0;
  for (const Part& part : parts_) {
    items += (images * part.lattice.places() + part.block - 1) / part.block;
    own = std::max(own, part.block * part.floats());
  }
  workspace.reserve_own(own);
  for_each_item(items, [&](std::int64_t item, int thread) {
    for (const Part& part : parts_) {
      const std::int64_t places = images * part.lattice.places();
      const std::int64_t blocks = (places + part.block - 1) / part.block;
      if (item >= blocks) {
        item -= blocks;
        continue;
      }
      const std::int64_t first = item * part.block, count = std::min(part.block, places - first);
      float* sums = workspace.own(thread);
      float* gathered = sums + part.block * part.panels * kPanel;
      const float* rows = gathered;
      std::int64_t row = part.gathered();
      if (part.in_place && !scale) {
        rows = x + first * in_.stride;
        row = in_.stride;
      } else {
        gather(part.lattice, part.taps, in_, x, scale, first, count, gathered, row);
      }
      for (const Stretch& s : part.stretches) {
        multiply(count, s.depth, rows + s.first_tap * in_.channels, row,
                 Panels::packed(part.weights.data() + s.weights, s.depth), s.panels,
                 sums + s.first_panel * kPanel, part.panels * kPanel);
      }
      if (part.side_by_side) {
        const std::int64_t at = first * out_.stride;
        finish(sums, count, out_.stride, epilogue.at(at), y + at);
      } else {
        scatter(part.lattice, out_, sums, part.panels * kPanel, first, count, epilogue, y);
      }
      return;
    }
  });
}

}  // namespace

std::unique_ptr<Product> make_direct(const ConvolutionShape& shape, Direction direction) {
  return std::make_unique<Direct>(shape, direction);
}

}  // namespace cmat::nn::frozen
