#include "cmat/data/joint.h"

#include <algorithm>

#include "cmat/core/error.h"

namespace cmat::data {
namespace {

/// One image of the joined set: where it lies in its task's own source.
struct Origin {
  std::shared_ptr<const Source> source;
  std::int64_t index = 0;
};

class JoinedReader : public ImageReader {
 public:
  explicit JoinedReader(std::vector<Origin> origins) : origins_(std::move(origins)) {}

  void read(std::int64_t index, std::span<std::uint8_t> pixels) const override {
    const Origin& origin = origins_[static_cast<std::size_t>(index)];
    std::vector<std::uint8_t> buffer;
    const auto found = image_pixels(origin.source->train, origin.index, buffer);
    std::copy(found.begin(), found.end(), pixels.begin());
  }

  std::shared_ptr<const Picture> read_larger(std::int64_t index) const override {
    const Origin& origin = origins_[static_cast<std::size_t>(index)];
    const ImageSet& images = origin.source->train;
    if (images.reader) return images.reader->read_larger(origin.index);
    std::vector<std::uint8_t> buffer;
    const auto found = image_pixels(images, origin.index, buffer);
    return std::make_shared<Picture>(
        Picture{images.channels, images.height, images.width, {found.begin(), found.end()}});
  }

 private:
  std::vector<Origin> origins_;
};

void check_sizes(const Stream& stream) {
  const ImageSet& first = stream.tasks.front().source->train;
  for (const Task& task : stream.tasks) {
    const ImageSet& images = task.source->train;
    if (images.height == first.height && images.width == first.width) continue;
    usage_error("joint training has images of all tasks in one batch, but those of ", task.name,
                " have ", images.height, "x", images.width, " pixels and those of ",
                stream.tasks.front().name, " ", first.height, "x", first.width,
                ": give all tasks images of one size");
  }
}

}  // namespace

Task join(const Stream& stream) {
  check_sizes(stream);
  const ImageSet& first = stream.tasks.front().source->train;
  auto source = std::make_shared<Source>();
  source->name = stream.source_names();
  Task joint;
  joint.name = text("all ", stream.tasks.size(), " tasks");
  ImageSet& images = source->train;
  images.channels = first.channels;
  images.height = first.height;
  images.width = first.width;
  std::vector<Origin> origins;
  for (const Task& task : stream.tasks) {
    const auto before = static_cast<std::int64_t>(joint.classes.size());
    const auto add = [&](const std::vector<std::int64_t>& from, std::vector<std::int64_t>& to) {
      for (const std::int64_t index : from) {
        const auto label =
            task.label_of(task.source->train.labels[static_cast<std::size_t>(index)]);
        to.push_back(images.size());
        images.labels.push_back(static_cast<std::int32_t>(before + label));
        origins.push_back({task.source, index});
      }
    };
    add(task.train, joint.train);
    add(task.validation, joint.validation);
    for (std::size_t c = 0; c < task.classes.size(); ++c) {
      joint.classes.push_back(before + static_cast<std::int64_t>(c));
      joint.class_names.push_back(task.class_names[c]);
    }
    joint.joined.push_back(static_cast<std::int64_t>(task.classes.size()));
  }
  images.reader = std::make_shared<JoinedReader>(std::move(origins));
  source->class_names = joint.class_names;
  joint.source = std::move(source);
  return joint;
}

Task part_of(const Task& joint, std::size_t index) {
  std::int64_t first = 0;
  for (std::size_t i = 0; i < index; ++i) first += joint.joined[i];
  const std::int64_t end = first + joint.joined.at(index);
  Task part;
  part.name = joint.name;
  part.source = joint.source;
  for (std::int64_t c = first; c < end; ++c) {
    part.classes.push_back(c);
    part.class_names.push_back(joint.class_names[static_cast<std::size_t>(c)]);
  }
  const auto take = [&](const std::vector<std::int64_t>& from, std::vector<std::int64_t>& to) {
    for (const std::int64_t i : from) {
      const std::int64_t label = joint.source->train.labels[static_cast<std::size_t>(i)];
      if (label >= first && label < end) to.push_back(i);
    }
  };
  take(joint.train, part.train);
  take(joint.validation, part.validation);
  return part;
}

}  // namespace cmat::data
