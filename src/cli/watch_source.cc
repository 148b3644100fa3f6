#include "cli/watch_source.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <fstream>
#include <map>
#include <thread>
#include <unordered_set>
#include <vector>

#include "cli/pages.h"
#include "media/live.h"
#include "media/video.h"

namespace onsight::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kStillWritten{1000};  // who writes a picture rarely pauses for so long

std::string time_of_day() {
  const auto now = std::chrono::system_clock::now();
  const auto ms = std::chrono::duration_cast<milliseconds>(now.time_since_epoch()).count();
  const auto seconds = static_cast<std::time_t>(ms / 1000);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:03}Z", text, ms % 1000);
}

std::string time_in(double seconds) {
  const auto ms = static_cast<int64_t>(std::llround(seconds * 1e3));
  return fmt::format("{}:{:02}:{:02}.{:03}", ms / 3'600'000, ms / 60'000 % 60, ms / 1000 % 60, ms % 1000);
}

class Watcher {
 public:
  Watcher(const std::string& source, const WatchOptions& options, const std::function<Status(Look)>& decide)
      : source_(source), options_(options), decide_(decide) {}

  Status run() {
    if (media::is_live_source(source_)) return watch_live();
    std::error_code error;
    if (fs::is_directory(source_, error)) return watch_folder();
    const fs::file_time_type written = modified(source_);
    const auto picture = load_picture(source_);
    if (picture && !is_gif()) return watch_picture(*picture, written);
    auto video = media::Video::open(Path(source_));
    if (picture && (!video || (*video)->facts().frames == 1)) return watch_picture(*picture, written);
    if (!video) return bad_input("{}: expected a picture or a video ({})", source_, video.error().message);
    return watch_video(**video);
  }

 private:
  // Until the time has come; false where it has to end.
  bool sleep_until(Clock::time_point time) const {
    while (!options_.stop()) {
      const auto left = time - Clock::now();
      if (left <= Clock::duration::zero()) return true;
      std::this_thread::sleep_for(std::min<Clock::duration>(left, milliseconds(50)));
    }
    return false;
  }

  // The next look that is due: those that were missed are left out.
  void step() { due_ = std::max(due_ + options_.every, Clock::now()); }

  // Which may be a picture, or move.
  bool is_gif() const {
    char head[4] = "";
    std::ifstream(source_, std::ios::binary).read(head, sizeof head);
    return std::string_view(head, sizeof head) == "GIF8";
  }

  Status watch_video(const media::Video& video) {
    const media::VideoFacts& facts = video.facts();
    // What a container says of its length may be anything.
    const int64_t most = std::min(facts.frames, media::VideoLimits().max_frames);
    // Never oftener than there are frames.
    const double step = std::max(1 / facts.fps, static_cast<double>(options_.every.count()) / 1e3);
    std::vector<int64_t> frames;
    std::vector<double> times;
    for (double time = 0; std::ssize(frames) < most && time < video.time_of(facts.frames);
         time = static_cast<double>(frames.size()) * step) {
      frames.push_back(video.frame_at(time));
      times.push_back(time);
    }
    Status decided;
    const Status read = video.read(frames, [&](size_t i, media::Image image) {
      if (options_.stop()) return false;
      decided = decide_(
          {.picture = std::make_shared<const media::Image>(std::move(image)), .time = time_in(times[i]), .file = {}});
      return decided.has_value();
    });
    if (!decided) return decided;
    return options_.stop() ? Status() : read;
  }

  Status watch_picture(Picture picture, fs::file_time_type seen) {
    bool lost = false;
    for (due_ = Clock::now(); sleep_until(due_); step()) {
      if (const auto now = modified(source_); lost || now != seen) {
        // What is being written is looked at when it is whole.
        if (auto next = load_picture(source_)) {
          picture = *std::move(next);
          seen = now;
          lost = false;
        } else if (!lost) {
          lost = true;
          options_.complain(next.error().message);
        }
      }
      if (!lost) TRY_STATUS(decide_({.picture = picture.image, .time = time_of_day(), .file = {}}));
    }
    return {};
  }

  static fs::file_time_type modified(const Path& file) {
    std::error_code error;
    const auto time = fs::last_write_time(file, error);
    return error ? fs::file_time_type::min() : time;
  }

  // Each picture once, in the order in which they were written.
  Status watch_folder() {
    struct Seen {
      int64_t bytes = -1, modified = -1;
      Clock::time_point since = {};  // when it was seen so first
      bool done = false;
    };
    std::map<std::string, Seen> seen;
    std::string complained;
    for (due_ = Clock::now(); sleep_until(due_); step()) {
      auto [pages, errors, notes] = find_pages({source_}, /*documents=*/false);
      if (!errors.empty() && errors[0] != complained) options_.complain(errors[0]);
      complained = errors.empty() ? "" : errors[0];
      std::stable_sort(pages.begin(), pages.end(),
                       [](const Page& a, const Page& b) { return a.modified < b.modified; });
      for (const Page& found : pages) {
        if (options_.stop()) return {};
        // It may have been written while others were looked at.
        const PageList again = find_pages({found.file}, /*documents=*/false);
        if (again.pages.empty()) continue;
        const Page& page = again.pages[0];
        Seen& before = seen[page.file];
        const bool same = before.bytes == page.bytes && before.modified == page.modified;
        if (same && before.done) continue;
        if (!same) before = {page.bytes, page.modified, Clock::now()};
        const auto picture = load_page(page);
        // One that cannot be read may still be written: it is looked at again until it stays as it is for a while.
        const bool stays = Clock::now() - before.since >= kStillWritten;
        if (!picture && stays) options_.complain(picture.error().message);
        before.done = picture.has_value() || stays;
        if (picture) TRY_STATUS(decide_({.picture = picture->image, .time = time_of_day(), .file = page.file}));
      }
      if (!errors.empty()) continue;  // those that are not in the list may be there
      std::unordered_set<std::string_view> there;
      for (const Page& page : pages) there.insert(page.file);
      std::erase_if(seen, [&](const auto& entry) { return !there.contains(entry.first); });
    }
    return {};
  }

  Status watch_live() {
    constexpr milliseconds kFirstPause{500};
    milliseconds pause = kFirstPause;
    bool reached = false, lost = false;
    due_ = Clock::now();
    while (!options_.stop()) {
      Status ended;
      if (auto live = media::Live::open(source_, options_.stop)) {
        if (lost) {
          options_.complain(fmt::format("{}: there again", media::shown_source(source_)));
          due_ = Clock::now();
        }
        reached = true;
        lost = false;
        pause = kFirstPause;
        TRY(ended, look_at(**live));
        if ((*live)->was_picture()) continue;  // the next is fetched when it is due
      } else {
        ended = tl::unexpected(std::move(live).error());
      }
      if (options_.stop()) break;
      if (!reached) return ended;
      lost = true;
      if (pause == kFirstPause) options_.complain(ended.error().message + ", trying again");
      if (!sleep_until(Clock::now() + pause)) break;
      pause = std::min(2 * pause, options_.longest_pause);
    }
    return {};
  }

  // Until it is lost, which comes back as a value; what `decide` says is an error.
  Result<Status> look_at(media::Live& live) {
    for (; sleep_until(due_); step()) {
      auto image = live.newest(options_.stop);
      if (!image) return Status(tl::unexpected(std::move(image).error()));
      TRY_STATUS(decide_(
          {.picture = std::make_shared<const media::Image>(*std::move(image)), .time = time_of_day(), .file = {}}));
    }
    return Status();
  }

  const std::string& source_;
  const WatchOptions& options_;
  const std::function<Status(Look)>& decide_;
  Clock::time_point due_;
};

}  // namespace

Status expect_source(const std::string& source) {
  if (media::is_live_source(source)) return media::expect_live_source(source);
  std::error_code error;
  if (fs::exists(source, error)) return {};
  return bad_input("{}: expected a file, a folder, a stream (rtsp:, http:) or a camera (/dev/video0)", source);
}

Status watch_source(const std::string& source, const WatchOptions& options, const std::function<Status(Look)>& decide) {
  return Watcher(source, options, decide).run();
}

}  // namespace onsight::cli
