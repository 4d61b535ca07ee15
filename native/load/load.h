// `lamina-fuse load`: the load that `lamina bench` and bench/ put on a mount. One process, plain system
// calls.
#pragma once

#include <string>
#include <vector>

namespace lamina::load {

// Reads its list of paths (one a line, relative to DIR) first, enters DIR, runs, and prints one JSON line:
// seconds, operations, bytes. Any result other than the expected one ends the program with status 1: a
// subject cannot win by failing fast.
//
//   load stat DIR LIST [TIMES]       lstat of every path, through the list TIMES times; bytes: sizes of files
//   load negative DIR LIST [TIMES]   lstat of paths that are not there
//   load walk DIR [SKIP]             readdir of every directory but those in SKIP; descends by its types
//   load list DIR [SKIP]             as `ls -lR` asks: also lstat, readlink and the ACL of every name
//   load read-all DIR LIST           open, read to the end, close
//   load open-read-close DIR LIST N  N times: open, read up to 4 KiB, close, through the list round and round
//   load first-read FILE             read to the end in 1 MiB pieces
//   load first-byte FILE             open, read one byte
int load_command(const std::vector<std::string>& arguments);

}  // namespace lamina::load
