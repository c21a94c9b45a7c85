#include "cmat/data/fetch.h"

#include <curl/curl.h>

#include <exception>
#include <fstream>
#include <memory>

#include "cmat/core/error.h"
#include "cmat/core/files.h"

namespace cmat::data {
namespace {

namespace fs = std::filesystem;

constexpr long connect_seconds = 30, stalled_seconds = 60;

std::string file_name(const std::string& url) { return url.substr(url.rfind('/') + 1); }

/// One transfer into a partial file: what curl's callbacks share.
struct Transfer {
  fs::path part;
  std::string name;
  const FetchProgress& progress;
  CURL* curl = nullptr;
  std::ofstream out;
  double offset = 0;  ///< bytes that were there before and are kept
  bool started = false, disk_error = false;
  std::exception_ptr thrown;
};

long response_code(CURL* curl) {
  long code = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
  return code;
}

size_t on_data(char* data, size_t size, size_t count, void* self) {
  Transfer& transfer = *static_cast<Transfer*>(self);
  const long code = response_code(transfer.curl);
  // The body of an error is a page for people: it must not end up in the file.
  if (code != 200 && code != 206) return size * count;
  if (!transfer.started) {
    transfer.started = true;
    // 200 in answer to a range request: the server sends everything, from the start.
    if (code == 200) transfer.offset = 0;
    const auto mode = code == 200 ? std::ios::trunc : std::ios::app;
    transfer.out.open(transfer.part, std::ios::binary | std::ios::out | mode);
  }
  transfer.out.write(data, static_cast<std::streamsize>(size * count));
  transfer.disk_error = !transfer.out;
  return transfer.disk_error ? 0 : size * count;
}

int on_progress(void* self, curl_off_t total, curl_off_t done, curl_off_t, curl_off_t) {
  Transfer& transfer = *static_cast<Transfer*>(self);
  if (!transfer.started || !transfer.progress) return 0;
  try {
    transfer.progress(transfer.name, transfer.offset + static_cast<double>(done),
                      total > 0 ? transfer.offset + static_cast<double>(total) : 0);
    return 0;
  } catch (...) {
    // An exception must not unwind through curl's C frames.
    transfer.thrown = std::current_exception();
    return 1;
  }
}

using Curl = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;

Curl make_curl(const std::string& url, Transfer& transfer, char* message) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  Curl curl(ready == CURLE_OK ? curl_easy_init() : nullptr, &curl_easy_cleanup);
  if (!curl) failure("libcurl does not start: check its installation");
  CURL* c = curl.get();
  curl_easy_setopt(c, CURLOPT_URL, url.c_str());
  curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(c, CURLOPT_MAXREDIRS, 10L);
  curl_easy_setopt(c, CURLOPT_USERAGENT, "cmat");
  curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, connect_seconds);
  curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, stalled_seconds);
  curl_easy_setopt(c, CURLOPT_ERRORBUFFER, message);
  curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, &on_data);
  curl_easy_setopt(c, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, &on_progress);
  curl_easy_setopt(c, CURLOPT_XFERINFODATA, &transfer);
  transfer.curl = c;
  return curl;
}

std::uintmax_t size_or_zero(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return error ? 0 : size;
}

/// Completes `part`. Returns whether bytes of an earlier call are part of it.
bool download(const std::string& url, const fs::path& part, const FetchProgress& progress) {
  Transfer transfer{
      .part = part, .name = file_name(url), .progress = progress, .out = {}, .thrown = {}};
  char message[CURL_ERROR_SIZE] = "";
  const Curl curl = make_curl(url, transfer, message);
  const auto present = size_or_zero(part);
  transfer.offset = static_cast<double>(present);
  // Not CURLOPT_RESUME_FROM: with it curl gives up on a server that ignores ranges.
  const std::string range = text(present, "-");
  if (present > 0) curl_easy_setopt(curl.get(), CURLOPT_RANGE, range.c_str());

  const CURLcode result = curl_easy_perform(curl.get());
  transfer.out.close();
  if (transfer.thrown) std::rethrow_exception(transfer.thrown);
  if (transfer.disk_error || (transfer.started && !transfer.out)) {
    failure("cannot write ", part.string(),
            ": check the folder and its free space, then run it again");
  }
  const long code = response_code(curl.get());
  if (result != CURLE_OK) {
    failure("the download of ", url, " broke off with ", size_or_zero(part), " bytes received (",
            *message ? message : curl_easy_strerror(result), "): run it again to continue there");
  }
  if (code == 416 && present > 0) return true;  // nothing is left to send
  if (code != 200 && code != 206) {
    failure("the server answered ", code, " for ", url,
            ": check the address, or name a mirror with --base-url");
  }
  if (!transfer.started) std::ofstream(part, std::ios::trunc);  // the whole file is empty
  return code == 206 && present > 0;
}

/// The file under its final name, with the right digest.
void fetch_file(const RemoteFile& file, const std::string& url, const fs::path& folder,
                const FetchProgress& progress) {
  const fs::path final_path = folder / file_name(url);
  if (fs::exists(final_path) && md5_hex_of_file(final_path) == file.md5) return;

  const fs::path part = final_path.string() + ".part";
  bool continued = download(url, part, progress);
  std::string digest = md5_hex_of_file(part);
  if (continued && digest != file.md5) {
    // The older part may be of another version of the file: it gets one chance without it.
    fs::remove(part);
    continued = download(url, part, progress);
    digest = md5_hex_of_file(part);
  }
  if (digest != file.md5) {
    fs::remove(part);
    failure("what ", url, " sends has the MD5 digest ", digest, " and not ", file.md5,
            ", so it was deleted: try again, or name another mirror with --base-url");
  }
  fs::rename(part, final_path);
}

std::string address(const RemoteFile& file, std::string base_url) {
  if (base_url.empty()) return file.url;
  while (!base_url.empty() && base_url.back() == '/') base_url.pop_back();
  return base_url + "/" + file_name(file.url);
}

}  // namespace

const std::vector<RemoteSource>& remote_sources() {
  static const std::vector<RemoteSource> sources = [] {
    const std::string toronto = "https://www.cs.toronto.edu/~kriz/";
    const std::string mnist = "https://ossci-datasets.s3.amazonaws.com/mnist/";
    const std::string fashion = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/";
    return std::vector<RemoteSource>{
        {"cifar10",
         {{toronto + "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", true}}},
        {"cifar100",
         {{toronto + "cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", true}}},
        {"mnist",
         {{mnist + "train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"},
          {mnist + "train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"},
          {mnist + "t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"},
          {mnist + "t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"}}},
        {"fashion-mnist",
         {{fashion + "train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"},
          {fashion + "train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"},
          {fashion + "t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"},
          {fashion + "t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"}}},
    };
  }();
  return sources;
}

void fetch(const RemoteSource& source, const fs::path& folder, const std::string& base_url,
           const FetchProgress& progress) {
  try {
    fs::create_directories(folder);
    for (const RemoteFile& file : source.files) {
      const std::string url = address(file, base_url);
      fetch_file(file, url, folder, progress);
      if (file.is_archive) unpack_archive(folder / file_name(url), folder);
    }
  } catch (const fs::filesystem_error& error) {
    failure("cannot write into ", folder.string(), " (", error.code().message(),
            "): check the folder and its free space");
  }
}

}  // namespace cmat::data
