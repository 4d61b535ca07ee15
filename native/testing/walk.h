// Asks an image everything it can be asked: what the fuzzers do with every TOC that validates.
#pragma once

#include "overlay/image.h"
#include "toc/toc.h"

namespace lamina::testing {

// Performs every operation on every inode, each reply in a buffer of exactly `room` bytes.
void walk_everything(const toc::Toc& toc, overlay::Image& image, size_t room);

}  // namespace lamina::testing
