// Lets whoever reads the upper directory make all changes wait, so that it reads one moment's state. Lies in
// memory that the supervisor and its servers share.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace lamina {

class Hold {
 public:
  // A request that changes something, by a server's thread: waits while changes are held, and is counted as
  // long as this lives.
  class Change {
   public:
    explicit Change(Hold* hold) : hold_(hold) {
      if (hold_ != nullptr) hold_->enter();
    }
    ~Change() {
      if (hold_ != nullptr) hold_->changing_.fetch_sub(1);
    }
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;

   private:
    Hold* hold_;
  };

  // The supervisor's side. begin() lets no further change begin; is_quiet() tells when the last one that had
  // begun is over; end() lets them all go on.
  void begin() {
    holder_.store(getpid());
    held_.store(1);
  }
  [[nodiscard]] bool is_quiet() const { return changing_.load() == 0; }
  void end();
  // Before another server takes the place of one that was killed within changes.
  void server_is_gone() { changing_.store(0); }

 private:
  void enter();

  // A futex.
  std::atomic<uint32_t> held_;
  std::atomic<uint32_t> changing_;
  // Whose end ends the hold.
  std::atomic<int32_t> holder_;
};

}  // namespace lamina
