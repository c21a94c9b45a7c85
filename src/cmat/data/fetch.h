// Downloads the official archives: resumable, checked against their published digests, unpacked.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace cmat::data {

struct RemoteFile {
  std::string url;
  std::string md5;          ///< lower-case hexadecimal, as published
  bool is_archive = false;  ///< .tar.gz that is unpacked into the folder
};

struct RemoteSource {
  std::string name;
  std::vector<RemoteFile> files;
};

/// cifar10, cifar100, mnist, fashion-mnist: official addresses and digests.
const std::vector<RemoteSource>& remote_sources();

/// Called with bytes so far and in all (0: unknown).
using FetchProgress = std::function<void(const std::string& file, double done, double total)>;

/// Downloads into `folder` (made if missing) and unpacks archives there. A partial file "NAME.part"
/// is continued with a range request; a finished file with the right digest is not fetched again. A
/// download reaches its final name only with the right digest: a wrong one is a failure and is
/// deleted (if it was continued from an older partial file, after one more try from the start).
/// `base_url`, if not empty, replaces everything before the last slash of each address (a mirror, a
/// test server).
void fetch(const RemoteSource& source, const std::filesystem::path& folder,
           const std::string& base_url, const FetchProgress& progress);

/// Unpacks a .tar.gz into a folder (made if missing). Refuses everything but plain files and
/// folders that stay inside. Each file gets its name only when it is complete.
void unpack_archive(const std::filesystem::path& archive, const std::filesystem::path& folder);

}  // namespace cmat::data
