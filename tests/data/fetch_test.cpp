#include "cmat/data/fetch.h"

#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <set>

#include "cmat/core/files.h"
#include "data/helpers.h"
#include "data/make_archive.h"
#include "golden_file.h"

namespace cmat::data {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::TemporaryFolder;

/// range_server.py as a child process, which ends when its standard input is closed.
class Server {
 public:
  Server(const fs::path& folder, const fs::path& log, const std::vector<std::string>& options) {
    int input[2], output[2];
    if (pipe(input) != 0 || pipe(output) != 0) throw std::runtime_error("no pipe");
    const std::string script = (test::source_dir() / "tests/data/range_server.py").string();
    std::vector<std::string> words = {"python3", script, folder.string(), log.string()};
    words.insert(words.end(), options.begin(), options.end());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    child_ = fork();
    if (child_ == 0) {
      dup2(input[0], 0);
      dup2(output[1], 1);
      for (const int end : {input[0], input[1], output[0], output[1]}) close(end);
      execvp("python3", arguments.data());
      _exit(127);
    }
    close(input[0]);
    close(output[1]);
    input_ = input[1];
    char digit = 0;
    while (::read(output[0], &digit, 1) == 1 && digit != '\n') port_ += digit;
    close(output[0]);
    if (port_.empty()) throw std::runtime_error("python3 does not run " + script);
  }
  ~Server() {
    close(input_);
    waitpid(child_, nullptr, 0);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::string url() const { return "http://127.0.0.1:" + port_; }

 private:
  pid_t child_ = -1;
  int input_ = -1;
  std::string port_;
};

class FetchTest : public ::testing::Test {
 protected:
  FetchTest() {
    setenv("no_proxy", "127.0.0.1", 1);
    fs::create_directories(served());
    for (int i = 0; i < 300000; ++i) contents_ += static_cast<char>(i * 7 + i / 1000);
    test::write(served() / "file.gz", contents_);
  }

  fs::path served() const { return folder_ / "served"; }
  fs::path target() const { return folder_ / "target"; }
  std::string requests() const { return test::read(folder_ / "log"); }

  RemoteSource source(const std::string& name = "file.gz", bool is_archive = false) const {
    const std::string md5 =
        fs::exists(served() / name) ? md5_hex_of_file(served() / name) : std::string(32, '0');
    return {"test", {{"http://official.invalid/deep/" + name, md5, is_archive}}};
  }

  void serve(const std::vector<std::string>& options = {}) {
    server_ = std::make_unique<Server>(served(), folder_ / "log", options);
  }
  void run(const RemoteSource& what, const FetchProgress& progress = {}) const {
    fetch(what, target(), server_->url(), progress);
  }
  void expect_fetched() const {
    EXPECT_EQ(test::read(target() / "file.gz"), contents_);
    EXPECT_FALSE(fs::exists(target() / "file.gz.part"));
  }

  TemporaryFolder folder_;
  std::string contents_;
  std::unique_ptr<Server> server_;
};

TEST_F(FetchTest, DownloadsAWholeFileAndReportsProgress) {
  serve();
  double last = 0;
  run(source(), [&](const std::string& file, double done, double total) {
    EXPECT_EQ(file, "file.gz");
    EXPECT_GE(done, last);
    EXPECT_TRUE(total == 300000 || total == 0) << total;
    last = done;
  });
  expect_fetched();
  EXPECT_EQ(last, 300000);
  EXPECT_EQ(requests(), "/file.gz -\n");
}

TEST_F(FetchTest, ABaseUrlMayEndInASlash) {
  serve();
  fetch(source(), target(), server_->url() + "/", {});
  expect_fetched();
}

TEST_F(FetchTest, ResumesAfterACut) {
  serve({"--cut", "100000"});
  expect_error(ErrorKind::failure, {"/file.gz broke off with 100000 bytes", "run it again"},
               [&] { run(source()); });
  EXPECT_FALSE(fs::exists(target() / "file.gz"));
  EXPECT_EQ(test::read(target() / "file.gz.part"), contents_.substr(0, 100000));
  double first = -1;
  run(source(), [&](const std::string&, double done, double total) {
    if (first < 0) first = done;
    EXPECT_TRUE(total == 300000 || total == 0) << total;
  });
  expect_fetched();
  EXPECT_GE(first, 100000);
  EXPECT_EQ(requests(), "/file.gz -\n/file.gz bytes=100000-\n");
}

TEST_F(FetchTest, StartsAgainIfTheServerIgnoresTheRange) {
  serve({"--ignore-range"});
  test::write(target() / "file.gz.part", contents_.substr(0, 5000));
  double last = 0;
  run(source(), [&](const std::string&, double done, double total) {
    EXPECT_TRUE(total == 300000 || total == 0) << total;
    last = done;
  });
  EXPECT_EQ(last, 300000);
  expect_fetched();
  EXPECT_EQ(requests(), "/file.gz bytes=5000-\n");
}

TEST_F(FetchTest, TakesAPartialFileThatIsComplete) {
  serve();
  test::write(target() / "file.gz.part", contents_);
  run(source());
  expect_fetched();
  EXPECT_EQ(requests(), "/file.gz bytes=300000-\n");
}

TEST_F(FetchTest, APartialFileOfSomethingElseIsReplaced) {
  serve();
  for (const std::size_t size : {5000u, 300000u, 300001u}) {
    fs::remove(target() / "file.gz");
    test::write(target() / "file.gz.part", std::string(size, 'x'));
    run(source());
    expect_fetched();
  }
}

TEST_F(FetchTest, AWrongDigestKeepsNothing) {
  serve();
  RemoteSource wrong = source();
  wrong.files[0].md5 = std::string(32, 'a');
  expect_error(ErrorKind::failure,
               {"/file.gz", md5_hex_of_file(served() / "file.gz"), wrong.files[0].md5, "deleted"},
               [&] { run(wrong); });
  EXPECT_TRUE(fs::is_empty(target()));
}

TEST_F(FetchTest, AnEmptyFileIsAWrongDigest) {
  serve();
  RemoteSource empty = source();
  test::write(served() / "file.gz", "");
  expect_error(ErrorKind::failure, {"/file.gz", "MD5"}, [&] { run(empty); });
  EXPECT_TRUE(fs::is_empty(target()));
}

TEST_F(FetchTest, APageThatIsNotThereKeepsNothing) {
  serve();
  expect_error(ErrorKind::failure, {"404", "/absent.gz", "--base-url"},
               [&] { run(source("absent.gz")); });
  EXPECT_TRUE(fs::is_empty(target()));
}

TEST_F(FetchTest, AnErrorPageDoesNotTouchThePartialFile) {
  serve();
  test::write(target() / "absent.gz.part", "begun");
  expect_error(ErrorKind::failure, {"404"}, [&] { run(source("absent.gz")); });
  EXPECT_EQ(test::read(target() / "absent.gz.part"), "begun");
}

TEST_F(FetchTest, AFinishedFileIsNotFetchedAgain) {
  serve();
  test::write(target() / "file.gz", contents_);
  run(source());
  EXPECT_EQ(requests(), "");
  test::write(target() / "file.gz", "damaged");
  run(source());
  expect_fetched();
}

TEST_F(FetchTest, NoServerIsAFailure) {
  serve();
  const std::string url = server_->url();
  server_.reset();
  expect_error(ErrorKind::failure, {url + "/file.gz", "run it again"},
               [&] { fetch(source(), target(), url, {}); });
}

TEST_F(FetchTest, OnlyHttpIsSpoken) {
  const std::string url = "file://" + served().string();
  expect_error(ErrorKind::failure, {url}, [&] { fetch(source(), target(), url, {}); });
  EXPECT_FALSE(fs::exists(target() / "file.gz"));
}

TEST_F(FetchTest, AnExceptionOfTheCallbackStopsTheDownload) {
  serve();
  EXPECT_THROW(
      run(source(), [](const std::string&, double, double) { throw std::out_of_range("stop"); }),
      std::out_of_range);
}

TEST_F(FetchTest, UnpacksAnArchiveAndRepairsItsFiles) {
  test::make_archive(served() / "set.tar.gz", {{.name = "set/", .type = AE_IFDIR},
                                               {.name = "set/train.bin", .contents = contents_},
                                               {.name = "set/test.bin", .contents = "test"}});
  serve();
  run(source("set.tar.gz", true));
  EXPECT_EQ(test::read(target() / "set/train.bin"), contents_);
  EXPECT_EQ(test::read(target() / "set/test.bin"), "test");
  EXPECT_TRUE(fs::exists(target() / "set.tar.gz"));
  test::write(target() / "set/test.bin", "damaged");
  run(source("set.tar.gz", true));
  EXPECT_EQ(test::read(target() / "set/test.bin"), "test");
  EXPECT_EQ(requests(), "/set.tar.gz -\n");
}

TEST_F(FetchTest, OfficialAddressesAreWellFormed) {
  std::set<std::string> digests;
  for (const RemoteSource& remote : remote_sources()) {
    for (const RemoteFile& file : remote.files) {
      EXPECT_TRUE(file.url.starts_with("http")) << file.url;
      EXPECT_TRUE(file.url.ends_with(".gz")) << file.url;
      EXPECT_EQ(file.is_archive, file.url.ends_with(".tar.gz")) << file.url;
      EXPECT_EQ(file.md5.size(), 32u) << file.url;
      EXPECT_EQ(file.md5.find_first_not_of("0123456789abcdef"), std::string::npos) << file.url;
      digests.insert(file.md5);
    }
  }
  EXPECT_EQ(digests.size(), 10u);  // no digest was copied twice
}

}  // namespace
}  // namespace cmat::data
