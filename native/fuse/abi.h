// The FUSE protocol, version 7, as far as this server speaks it: what the kernel writes to and reads from
// /dev/fuse and the io_uring entries. Layouts are the kernel's (include/uapi/linux/fuse.h,
// fs/fuse/dev_uring.c); the header of Debian 12 is too old for io_uring, so the records are written down here
// and their sizes checked.
#pragma once

#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>

namespace lamina::fuse {

inline constexpr uint32_t kMajor = 7;
// The newest minor version whose records these are.
inline constexpr uint32_t kMinor = 42;
inline constexpr uint64_t kRootId = 1;

enum Opcode : uint32_t {
  kLookup = 1,
  kForget = 2,
  kGetattr = 3,
  kSetattr = 4,
  kReadlink = 5,
  kSymlink = 6,
  kMknod = 8,
  kMkdir = 9,
  kUnlink = 10,
  kRmdir = 11,
  kRename = 12,
  kLink = 13,
  kOpen = 14,
  kRead = 15,
  kWrite = 16,
  kStatfs = 17,
  kRelease = 18,
  kFsync = 20,
  kSetxattr = 21,
  kGetxattr = 22,
  kListxattr = 23,
  kRemovexattr = 24,
  kFlush = 25,
  kInit = 26,
  kOpendir = 27,
  kReaddir = 28,
  kReleasedir = 29,
  kFsyncdir = 30,
  kAccess = 34,
  kCreate = 35,
  kInterrupt = 36,
  kDestroy = 38,
  kIoctl = 39,
  kNotifyReply = 41,
  kBatchForget = 42,
  kFallocate = 43,
  kReaddirplus = 44,
  kRename2 = 45,
  kLseek = 46,
  kCopyFileRange = 47,
  kSyncfs = 50,
  kTmpfile = 51,
  kStatx = 52,
};
inline constexpr uint32_t kOpcodeLimit = 64;

// INIT flags; those from bit 32 on travel in flags2.
inline constexpr uint64_t kAsyncRead = 1ULL << 0;
inline constexpr uint64_t kExportSupport = 1ULL << 4;
inline constexpr uint64_t kBigWrites = 1ULL << 5;
inline constexpr uint64_t kDontMask = 1ULL << 6;
inline constexpr uint64_t kDoReaddirplus = 1ULL << 13;
inline constexpr uint64_t kNoOpenSupport = 1ULL << 17;
inline constexpr uint64_t kParallelDirops = 1ULL << 18;
inline constexpr uint64_t kPosixAcl = 1ULL << 20;
inline constexpr uint64_t kAbortError = 1ULL << 21;
inline constexpr uint64_t kMaxPages = 1ULL << 22;
inline constexpr uint64_t kCacheSymlinks = 1ULL << 23;
inline constexpr uint64_t kNoOpendirSupport = 1ULL << 24;
inline constexpr uint64_t kExplicitInvalData = 1ULL << 25;
inline constexpr uint64_t kHandleKillprivV2 = 1ULL << 28;
inline constexpr uint64_t kSetxattrExt = 1ULL << 29;
inline constexpr uint64_t kInitExt = 1ULL << 30;
inline constexpr uint64_t kPassthrough = 1ULL << 37;
inline constexpr uint64_t kOverIoUring = 1ULL << 41;

struct InHeader {
  uint32_t len;
  uint32_t opcode;
  uint64_t unique;
  uint64_t nodeid;
  uint32_t uid;
  uint32_t gid;
  uint32_t pid;
  uint16_t total_extlen;
  uint16_t padding;
};
static_assert(sizeof(InHeader) == 40);

struct OutHeader {
  uint32_t len;
  int32_t error;
  uint64_t unique;
};
static_assert(sizeof(OutHeader) == 16);

struct InitIn {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint32_t flags2;
  uint32_t unused[11];
};
static_assert(sizeof(InitIn) == 64);
// What kernels before 5.17 (7.36) send: no flags2.
inline constexpr size_t kInitInCompat = 16;

struct InitOut {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint16_t max_background;
  uint16_t congestion_threshold;
  uint32_t max_write;
  uint32_t time_gran;
  uint16_t max_pages;
  uint16_t map_alignment;
  uint32_t flags2;
  uint32_t max_stack_depth;
  uint32_t unused[6];
};
static_assert(sizeof(InitOut) == 64);

struct Attr {
  uint64_t ino;
  uint64_t size;
  uint64_t blocks;
  uint64_t atime;
  uint64_t mtime;
  uint64_t ctime;
  uint32_t atimensec;
  uint32_t mtimensec;
  uint32_t ctimensec;
  uint32_t mode;
  uint32_t nlink;
  uint32_t uid;
  uint32_t gid;
  uint32_t rdev;
  uint32_t blksize;
  uint32_t flags;
};
static_assert(sizeof(Attr) == 88);

struct EntryOut {
  uint64_t nodeid;
  uint64_t generation;
  uint64_t entry_valid;
  uint64_t attr_valid;
  uint32_t entry_valid_nsec;
  uint32_t attr_valid_nsec;
  Attr attr;
};
static_assert(sizeof(EntryOut) == 128);

struct AttrOut {
  uint64_t attr_valid;
  uint32_t attr_valid_nsec;
  uint32_t dummy;
  Attr attr;
};
static_assert(sizeof(AttrOut) == 104);

// READ, READDIR and READDIRPLUS.
struct ReadIn {
  uint64_t fh;
  uint64_t offset;
  uint32_t size;
  uint32_t read_flags;
  uint64_t lock_owner;
  uint32_t flags;
  uint32_t padding;
};
static_assert(sizeof(ReadIn) == 40);

struct Kstatfs {
  uint64_t blocks;
  uint64_t bfree;
  uint64_t bavail;
  uint64_t files;
  uint64_t ffree;
  uint32_t bsize;
  uint32_t namelen;
  uint32_t frsize;
  uint32_t padding;
  uint32_t spare[6];
};
static_assert(sizeof(Kstatfs) == 80);

// GETXATTR and LISTXATTR; size 0 asks for the length, answered by GetxattrOut.
struct GetxattrIn {
  uint32_t size;
  uint32_t padding;
};
struct GetxattrOut {
  uint32_t size;
  uint32_t padding;
};

// Which members of SetattrIn count.
inline constexpr uint32_t kFattrMode = 1U << 0;
inline constexpr uint32_t kFattrUid = 1U << 1;
inline constexpr uint32_t kFattrGid = 1U << 2;
inline constexpr uint32_t kFattrSize = 1U << 3;
inline constexpr uint32_t kFattrAtime = 1U << 4;
inline constexpr uint32_t kFattrMtime = 1U << 5;
inline constexpr uint32_t kFattrAtimeNow = 1U << 7;
inline constexpr uint32_t kFattrMtimeNow = 1U << 8;
inline constexpr uint32_t kFattrKillSuidgid = 1U << 11;

struct SetattrIn {
  uint32_t valid;
  uint32_t padding;
  uint64_t fh;
  uint64_t size;
  uint64_t lock_owner;
  uint64_t atime;
  uint64_t mtime;
  uint64_t ctime;
  uint32_t atimensec;
  uint32_t mtimensec;
  uint32_t ctimensec;
  uint32_t mode;
  uint32_t unused4;
  uint32_t uid;
  uint32_t gid;
  uint32_t unused5;
};
static_assert(sizeof(SetattrIn) == 88);

// Followed by the name.
struct MknodIn {
  uint32_t mode;
  uint32_t rdev;
  uint32_t umask;
  uint32_t padding;
};
static_assert(sizeof(MknodIn) == 16);

// Followed by the name.
struct MkdirIn {
  uint32_t mode;
  uint32_t umask;
};
static_assert(sizeof(MkdirIn) == 8);

// CREATE and TMPFILE; followed by the name.
struct CreateIn {
  uint32_t flags;
  uint32_t mode;
  uint32_t umask;
  uint32_t open_flags;
};
static_assert(sizeof(CreateIn) == 16);

struct OpenOut {
  uint64_t fh;
  uint32_t open_flags;
  int32_t backing_id;
};
static_assert(sizeof(OpenOut) == 16);
inline constexpr uint32_t kFopenKeepCache = 1U << 1;
inline constexpr uint32_t kFopenNoflush = 1U << 5;
inline constexpr uint32_t kFopenPassthrough = 1U << 7;

struct OpenIn {
  uint32_t flags;
  uint32_t open_flags;
};

// An unasked message to the kernel: its code stands where a reply has its error.
enum Notification : int32_t { kNotifyInvalInode = 2 };
struct NotifyInvalInodeOut {
  uint64_t ino;
  // Negative: the attributes alone.
  int64_t off;
  int64_t len;
};

// A file whose data the kernel reads and writes itself (kernel: fs/fuse/backing.c).
struct BackingMap {
  int32_t fd;
  uint32_t flags;
  uint64_t padding;
};
static_assert(sizeof(BackingMap) == 16);

// Followed by the old and the new name.
struct RenameIn {
  uint64_t newdir;
};
struct Rename2In {
  uint64_t newdir;
  uint32_t flags;
  uint32_t padding;
};
static_assert(sizeof(Rename2In) == 16);

// Followed by the new name.
struct LinkIn {
  uint64_t oldnodeid;
};

inline constexpr uint32_t kWriteKillSuidgid = 1U << 2;
// Followed by the data.
struct WriteIn {
  uint64_t fh;
  uint64_t offset;
  uint32_t size;
  uint32_t write_flags;
  uint64_t lock_owner;
  uint32_t flags;
  uint32_t padding;
};
static_assert(sizeof(WriteIn) == 40);
struct WriteOut {
  uint32_t size;
  uint32_t padding;
};

struct FsyncIn {
  uint64_t fh;
  uint32_t fsync_flags;
  uint32_t padding;
};
inline constexpr uint32_t kFsyncDataOnly = 1U << 0;

// With SETXATTR_EXT; followed by the name and the value.
struct SetxattrIn {
  uint32_t size;
  uint32_t flags;
  uint32_t setxattr_flags;
  uint32_t padding;
};
static_assert(sizeof(SetxattrIn) == 16);
inline constexpr uint32_t kSetxattrAclKillSgid = 1U << 0;

struct FallocateIn {
  uint64_t fh;
  uint64_t offset;
  uint64_t length;
  uint32_t mode;
  uint32_t padding;
};
static_assert(sizeof(FallocateIn) == 32);

struct CopyFileRangeIn {
  uint64_t fh_in;
  uint64_t off_in;
  uint64_t nodeid_out;
  uint64_t fh_out;
  uint64_t off_out;
  uint64_t len;
  uint64_t flags;
};
static_assert(sizeof(CopyFileRangeIn) == 56);

struct ForgetIn {
  uint64_t nlookup;
};
// Followed by `count` of ForgetOne.
struct BatchForgetIn {
  uint32_t count;
  uint32_t dummy;
};
struct ForgetOne {
  uint64_t nodeid;
  uint64_t nlookup;
};

struct LseekIn {
  uint64_t fh;
  uint64_t offset;
  uint32_t whence;
  uint32_t padding;
};
struct LseekOut {
  uint64_t offset;
};

// Followed by the name; the whole is padded to a multiple of 8.
struct Dirent {
  uint64_t ino;
  uint64_t off;
  uint32_t namelen;
  uint32_t type;
};
static_assert(sizeof(Dirent) == 24);

struct DirentPlus {
  EntryOut entry;
  Dirent dirent;
};
static_assert(sizeof(DirentPlus) == 152);

// A read of /dev/fuse must offer at least this (FUSE_MIN_READ_BUFFER), and room for a whole WRITE of
// max_write bytes.
inline constexpr size_t kMinReadBuffer = 8192;
// Nothing is ever written to a read-only image; this keeps request buffers at the minimum.
inline constexpr uint32_t kMaxWriteReadOnly = 4096;
// What one WRITE carries: MAX_PAGES pages.
inline constexpr uint32_t kMaxWrite = 256 * 4096;

inline constexpr unsigned long kDevIocClone = _IOR(229, 0, uint32_t);
inline constexpr unsigned long kDevIocBackingOpen = _IOW(229, 1, BackingMap);
inline constexpr unsigned long kDevIocBackingClose = _IOW(229, 2, uint32_t);

// One io_uring entry's header: the request's and the reply's header, the operation's own record, and the
// ring's part.
struct UringEntInOut {
  uint64_t flags;
  uint64_t commit_id;
  uint32_t payload_size;
  uint32_t padding;
  uint64_t reserved;
};
struct UringReqHeader {
  union {
    InHeader in;
    OutHeader out;
    uint8_t bytes[128];
  };
  uint8_t op_in[128];
  UringEntInOut ring;
};
static_assert(sizeof(UringReqHeader) == 288);

enum UringCommand : uint32_t {
  kUringRegister = 1,
  kUringCommitAndFetch = 2,
};

struct UringCmdReq {
  uint64_t flags;
  uint64_t commit_id;
  uint16_t qid;
  uint8_t padding[6];
};
static_assert(sizeof(UringCmdReq) == 24);

}  // namespace lamina::fuse
