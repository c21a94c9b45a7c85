#include "cmat/data/folder_reader.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <condition_variable>
#include <new>
#include <utility>

#include "cmat/core/error.h"
#include "cmat/core/files.h"
#include "cmat/core/progress.h"
#include "cmat/data/resize.h"
#include "cmat/data/threads.h"

namespace cmat::data {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t max_file_bytes = std::uintmax_t{512} << 20;

/// Of `size`: enough for random parts of half the area at full sharpness, at 2.25 times the memory.
constexpr double larger_side = 1.5;

Picture decode_file(const fs::path& path, const DecodeOptions& options) {
  try {
    if (fs::file_size(path) > max_file_bytes)
      failure("it is larger than ", max_file_bytes, " bytes");
    const std::string bytes = read_file(path);
    return decode_picture(std::as_bytes(std::span(bytes)), options);
  } catch (const Error& error) {
    failure("cannot use the picture ", path.string(), ": ", error.what());
  } catch (const fs::filesystem_error& error) {
    failure("cannot use the picture ", path.string(), ": ", error.code().message());
  } catch (const std::bad_alloc&) {
    failure("cannot use the picture ", path.string(), ": there is not enough memory for it");
  }
}

/// Hands out the pictures one by one, and gathers what is wrong with them.
class Inspection {
 public:
  Inspection(const std::vector<std::int64_t>& indices, bool first_only)
      : indices_(indices), first_only_(first_only), end_(indices.size()) {}

  /// What each thread does.
  template <typename Inspect>
  void work(Inspect inspect) {
    std::unique_lock lock(mutex_);
    while (next_ < end_) {
      const std::int64_t index = indices_[next_++];
      lock.unlock();
      std::string problem;
      try {
        inspect(index);
      } catch (const std::exception& error) {
        problem = error.what();
      }
      lock.lock();
      ++done_;
      if (problem.empty()) continue;
      damaged_[index] = problem;
      // Those before it are under way already, so the first one is found whichever thread is fast.
      if (first_only_) end_ = next_;
    }
    changed_.notify_all();
  }

  void wait() {
    std::unique_lock lock(mutex_);
    Progress progress("pictures", static_cast<double>(indices_.size()));
    while (!changed_.wait_for(lock, std::chrono::seconds(1), [&] { return done_ == end_; })) {
      progress.update(static_cast<double>(done_), "reading pictures");
    }
  }

  std::map<std::int64_t, std::string> damaged() {
    const std::lock_guard lock(mutex_);
    if (first_only_ && damaged_.size() > 1) damaged_.erase(++damaged_.begin(), damaged_.end());
    return std::move(damaged_);
  }

 private:
  const std::vector<std::int64_t>& indices_;
  const bool first_only_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t next_ = 0, end_, done_ = 0;
  std::map<std::int64_t, std::string> damaged_;
};

}  // namespace

bool is_picture_name(const std::string& name) {
  std::string extension = fs::path(name).extension().string();
  for (char& c : extension) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  constexpr std::array<const char*, 4> known = {".jpg", ".jpeg", ".png", ".webp"};
  return std::find(known.begin(), known.end(), extension) != known.end();
}

FolderReader::FolderReader(std::vector<fs::path> files, const SourceOptions& options,
                           bool keep_larger, std::shared_ptr<CacheBudget> cache)
    : files_(std::move(files)),
      options_(options.folder),
      grey_(options.grey),
      keep_larger_(keep_larger),
      cache_(std::move(cache)),
      images_(files_.size()),
      larger_(files_.size()) {}

void FolderReader::read(std::int64_t index, std::span<std::uint8_t> pixels) const {
  const auto image = get(images_, index, &FolderReader::make_image);
  std::copy(image->pixels.begin(), image->pixels.end(), pixels.begin());
}

std::shared_ptr<const Picture> FolderReader::read_larger(std::int64_t index) const {
  return get(larger_, index, &FolderReader::make_larger);
}

Picture FolderReader::make_image(std::int64_t index) const {
  const std::int64_t size = options_.size;
  const fs::path& file = files_.at(static_cast<std::size_t>(index));
  const Picture picture = decode_file(file, {.grey = grey_, .min_side = size});
  return fit(picture, size, size, options_.resize);
}

Picture FolderReader::make_larger(std::int64_t index) const {
  const auto side =
      static_cast<std::int64_t>(std::ceil(larger_side * static_cast<double>(options_.size)));
  const fs::path& file = files_.at(static_cast<std::size_t>(index));
  Picture picture = decode_file(file, {.grey = grey_, .min_side = side});
  if (std::min(picture.height, picture.width) <= side) return picture;
  return resize_shorter_side(picture, side);
}

/// From the shelf, or made and put there if there is room.
std::shared_ptr<const Picture> FolderReader::get(Shelf& shelf, std::int64_t index,
                                                 Picture (FolderReader::*make)(std::int64_t)
                                                     const) const {
  auto& place = shelf.at(static_cast<std::size_t>(index));
  {
    const std::lock_guard lock(mutex_);
    if (place) return place;
  }
  auto made = std::make_shared<const Picture>((this->*make)(index));
  const std::lock_guard lock(mutex_);
  if (!place && cache_->take(static_cast<std::int64_t>(made->pixels.size()))) place = made;
  return made;
}

std::map<std::int64_t, std::string> FolderReader::find_damaged(
    const std::vector<std::int64_t>& indices, int workers, bool first_only) const {
  Inspection inspection(indices, first_only);
  const auto threads = start_threads(workers, [&] {
    inspection.work([&](std::int64_t index) {
      if (keep_larger_) {
        get(larger_, index, &FolderReader::make_larger);
      } else {
        get(images_, index, &FolderReader::make_image);
      }
    });
  });
  inspection.wait();
  return inspection.damaged();
}

}  // namespace cmat::data
