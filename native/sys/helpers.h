// Threads for work that may take long, so that what is quick need not wait behind it. Made when they are
// needed, and kept.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

#include "sys/thread.h"

namespace lamina {

class Helpers {
 public:
  // `begin` is called once by each thread, before its first work.
  explicit Helpers(std::function<void()> begin, size_t max_threads)
      : begin_(std::move(begin)), max_threads_(max_threads) {}

  // Does `work` on a helper; false when there is none, and the caller has to.
  bool run(std::function<void()> work) {
    const std::lock_guard guard(mutex_);
    if (idle_ <= waiting_.size() && threads_ < max_threads_) {
      if (start_thread([this] { serve(); }) == 0) ++threads_;
    }
    if (threads_ == 0) return false;
    waiting_.push_back(std::move(work));
    changed_.notify_one();
    return true;
  }

 private:
  void serve() {
    begin_();
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      while (waiting_.empty()) changed_.wait(lock);
      --idle_;
      const std::function<void()> work = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      work();
      lock.lock();
    }
  }

  std::function<void()> begin_;
  size_t max_threads_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  size_t idle_ = 0;
  size_t threads_ = 0;
};

}  // namespace lamina
