#include "cmat/core/files.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "cmat/core/error.h"
#include "cmat/core/faults.h"

namespace cmat {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t chunk_size = std::size_t{1} << 20;

/// An open file that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  int get() const { return number_; }
  int release() { return std::exchange(number_, -1); }

 private:
  int number_;
};

[[noreturn]] void fail(std::string_view action, const fs::path& path, int code) {
  const char* advice = "";
  if (code == ENOSPC || code == EDQUOT) advice = "; free some space and try again";
  if (code == EFBIG) advice = "; raise the limit on the size of files (ulimit -f)";
  if (code == EIO) advice = "; check the disk, and try again";
  if (code == EACCES || code == EPERM || code == EROFS) advice = "; check its permissions";
  if (code == ENOENT) advice = "; check the path";
  failure("cannot ", action, " ", path.string(), ": ", std::generic_category().message(code),
          advice);
}

template <typename Call>
auto retry(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

/// The system call, or the failure that a test wants in its place.
template <typename Call>
auto call_unless(FaultyCall which, Call call) {
  return retry([&]() -> decltype(call()) { return injected_fault(which) ? -1 : call(); });
}

Descriptor open_file(const fs::path& path, int flags, std::string_view action) {
  const auto open = [&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); };
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  Descriptor file(writes ? call_unless(FaultyCall::open, open) : retry(open));
  if (file.get() < 0) fail(action, path, errno);
  return file;
}

std::uint64_t size_of_file(int descriptor, const fs::path& path) {
  struct stat status;
  if (::fstat(descriptor, &status) != 0) fail("read", path, errno);
  return static_cast<std::uint64_t>(status.st_size);
}

/// Calls `use` with one piece of the file after the other.
template <typename Use>
void read_pieces(int descriptor, const fs::path& path, Use use) {
  std::vector<char> buffer(chunk_size);
  for (;;) {
    const ssize_t got = retry([&] { return ::read(descriptor, buffer.data(), buffer.size()); });
    if (got < 0) fail("read", path, errno);
    if (got == 0) return;
    use(std::string_view(buffer.data(), static_cast<std::size_t>(got)));
  }
}

/// 0, or the errno of what went wrong.
int write_all(int descriptor, std::string_view content) {
  while (!content.empty()) {
    const ssize_t wrote = call_unless(
        FaultyCall::write, [&] { return ::write(descriptor, content.data(), content.size()); });
    if (wrote < 0) return errno;
    content.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return 0;
}

int sync(int descriptor) {
  return call_unless(FaultyCall::fsync, [&] { return ::fsync(descriptor); }) == 0 ? 0 : errno;
}

int cut(int descriptor, std::uint64_t size) {
  const auto truncate = [&] { return ::ftruncate(descriptor, static_cast<off_t>(size)); };
  return call_unless(FaultyCall::truncate, truncate) == 0 ? 0 : errno;
}

int move(const fs::path& from, const fs::path& to) {
  const auto rename = [&] { return ::rename(from.c_str(), to.c_str()); };
  return call_unless(FaultyCall::rename, rename) == 0 ? 0 : errno;
}

/// A new name in a folder survives a power cut only when the folder itself has been synced.
void sync_folder_of(const fs::path& path) {
  const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const Descriptor folder = open_file(parent, O_RDONLY | O_DIRECTORY, "open the folder");
  const int code = sync(folder.get());
  if (code != 0 && code != EINVAL) fail("save", path, code);  // EINVAL: nothing to sync there
}

bool is_same_file(int descriptor, const fs::path& path) {
  struct stat open_one, named_one;
  return ::fstat(descriptor, &open_one) == 0 && ::stat(path.c_str(), &named_one) == 0 &&
         open_one.st_dev == named_one.st_dev && open_one.st_ino == named_one.st_ino;
}

/// Opens the temporary file for this writer alone. Its name is always the same, so that what a
/// crash leaves behind is reused and does not pile up; the lock keeps two writers apart.
Descriptor open_temporary(const fs::path& temporary, const fs::path& path) {
  for (;;) {
    Descriptor file(call_unless(FaultyCall::open, [&] {
      return ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    }));
    if (file.get() < 0) fail("write", path, errno);
    // Some network file systems have no locks; there the caller's FolderLock has failed before.
    const int locked = retry([&] { return ::flock(file.get(), LOCK_EX); });
    // Whoever held the lock before us has renamed the file meanwhile: it is no longer temporary.
    if (locked == 0 && !is_same_file(file.get(), temporary)) continue;
    if (const int code = cut(file.get(), 0)) fail("write", path, code);
    return file;
  }
}

/// An OpenSSL digest in progress.
class Digest {
 public:
  explicit Digest(const EVP_MD* algorithm) : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    check(context_ && EVP_DigestInit_ex(context_.get(), algorithm, nullptr) == 1);
  }

  void update(std::string_view bytes) {
    check(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }

  std::string hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> value;
    unsigned int length = 0;
    check(EVP_DigestFinal_ex(context_.get(), value.data(), &length) == 1);
    constexpr std::string_view digits = "0123456789abcdef";
    std::string result;
    for (unsigned int i = 0; i < length; ++i) {
      result += digits[value[i] >> 4];
      result += digits[value[i] & 15];
    }
    return result;
  }

 private:
  static void check(bool good) {
    if (!good) {
      failure(
          "OpenSSL on this machine refuses to compute a digest; check its configuration (FIPS mode "
          "forbids MD5)");
    }
  }
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

std::string digest_of_file(const EVP_MD* algorithm, const fs::path& path) {
  Digest digest(algorithm);
  const Descriptor file = open_file(path, O_RDONLY, "read");
  read_pieces(file.get(), path, [&](std::string_view piece) { digest.update(piece); });
  return digest.hex();
}

/// What a lock file says about its owner: "process 123 on node7".
std::string owner_of(int descriptor, const fs::path& path) {
  std::string content;
  read_pieces(descriptor, path, [&](std::string_view piece) { content += piece; });
  content.erase(std::find(content.begin(), content.end(), '\n'), content.end());
  // Empty for the instant between taking the lock and writing who has it.
  return content.empty() ? "another process" : content;
}

}  // namespace

std::string read_file(const fs::path& path) {
  const Descriptor file = open_file(path, O_RDONLY, "read");
  std::string content;
  content.reserve(size_of_file(file.get(), path));  // only a hint: pipes and /proc say 0
  read_pieces(file.get(), path, [&](std::string_view piece) { content += piece; });
  return content;
}

void write_file_atomic(const fs::path& path, std::string_view content) {
  const fs::path temporary = path.parent_path() / text(".", path.filename().string(), ".tmp");
  const Descriptor file = open_temporary(temporary, path);
  int code = write_all(file.get(), content);
  if (code == 0) code = sync(file.get());
  if (code == 0) code = move(temporary, path);
  if (code != 0) {
    ::unlink(temporary.c_str());
    fail("write", path, code);
  }
  sync_folder_of(path);
}

void move_file(const fs::path& from, const fs::path& to) {
  if (const int code = move(from, to)) fail("write", to, code);
}

void keep_file_as(const fs::path& path, const fs::path& kept) {
  const fs::path link = kept.parent_path() / text(".", kept.filename().string(), ".link");
  ::unlink(link.c_str());  // what a crash left behind
  const auto make_link = [&] { return ::link(path.c_str(), link.c_str()); };
  if (call_unless(FaultyCall::link, make_link) != 0) {
    write_file_atomic(kept, read_file(path));  // some file systems know no hard links
    return;
  }
  if (const int code = move(link, kept)) {
    ::unlink(link.c_str());
    fail("write", kept, code);
  }
}

std::uint64_t append_file(const fs::path& path, std::string_view content) {
  const Descriptor file = open_file(path, O_WRONLY | O_APPEND | O_CREAT, "write");
  const std::uint64_t before = size_of_file(file.get(), path);
  int code = write_all(file.get(), content);
  // Synced, since a checkpoint that outlives a power cut names a size that this file must still
  // have.
  if (code == 0) code = sync(file.get());
  if (code != 0) {
    // Half a line would spoil the next one. If even this fails, the first reason is the one to
    // tell.
    static_cast<void>(!::ftruncate(file.get(), static_cast<off_t>(before)));
    fail("write", path, code);
  }
  if (before == 0) sync_folder_of(path);
  return size_of_file(file.get(), path);
}

void truncate_file(const fs::path& path, std::uint64_t size) {
  const Descriptor file = open_file(path, O_WRONLY, "shorten");
  const std::uint64_t found = size_of_file(file.get(), path);
  if (found < size) {
    failure(path.string(), " has only ", found, " of the ", size,
            " bytes that it must have; restore it from a copy");
  }
  if (const int code = cut(file.get(), size)) fail("shorten", path, code);
  if (const int code = sync(file.get())) fail("shorten", path, code);
}

std::string sha256_hex(std::string_view bytes) { return sha256_hex_of_parts({bytes}); }

std::string sha256_hex_of_parts(std::initializer_list<std::string_view> parts) {
  Digest digest(EVP_sha256());
  for (const std::string_view part : parts) digest.update(part);
  return digest.hex();
}

std::string md5_hex_of_file(const fs::path& path) { return digest_of_file(EVP_md5(), path); }

std::string sha256_hex_of_file(const fs::path& path) { return digest_of_file(EVP_sha256(), path); }

FolderLock::FolderLock(const fs::path& folder) {
  const fs::path path = folder / "lock";
  Descriptor file = open_file(path, O_RDWR | O_CREAT, "lock");
  if (retry([&] { return ::flock(file.get(), LOCK_EX | LOCK_NB); }) != 0) {
    if (errno != EWOULDBLOCK) fail("lock", path, errno);
    failure("the folder ", folder.string(), " is in use by ", owner_of(file.get(), path),
            "; wait until it has finished, stop it or use another folder");
  }
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  const std::string owner = text("process ", ::getpid(), host[0] ? " on " : "", host.data(), "\n");
  int code = ::ftruncate(file.get(), 0) == 0 ? 0 : errno;
  if (code == 0) code = write_all(file.get(), owner);
  if (code != 0) fail("lock", path, code);
  descriptor_ = file.release();
}

FolderLock::~FolderLock() {
  // The file stays: removing it would let a third process lock a new one while a second waits for
  // this.
  static_cast<void>(!::ftruncate(descriptor_, 0));
  ::close(descriptor_);
}

}  // namespace cmat
