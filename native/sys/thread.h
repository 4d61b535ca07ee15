// Starting a thread that is never joined. std::thread would throw where pthread_create(3) fails.
#pragma once

#include <pthread.h>

#include <memory>
#include <utility>

namespace lamina {

// Runs `body` on a thread. Returns 0 or a positive errno.
template <typename Body>
int start_thread(Body body) {
  // Address space, not memory: what lies below a deep directory is found by recursion.
  constexpr size_t kStackSize = 16 * 1024 * 1024;
  auto owned = std::make_unique<Body>(std::move(body));
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackSize);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  const int error = pthread_create(
      &thread, &attributes,
      [](void* argument) -> void* {
        const std::unique_ptr<Body> own(static_cast<Body*>(argument));
        (*own)();
        return nullptr;
      },
      owned.get());
  pthread_attr_destroy(&attributes);
  // The thread owns the body from here on.
  if (error == 0) [[maybe_unused]]
    auto* released = owned.release();
  return error;
}

}  // namespace lamina
