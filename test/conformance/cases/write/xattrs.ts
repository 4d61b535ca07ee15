/** xattr(7) and acl(5) that change. */
import type { Case } from '../../case.js';
import { KINDS } from '../../kit.js';
import { lines, scripted } from '../../scripted.js';

const SPECIAL = KINDS.filter((kind) => kind !== 'file' && kind !== 'dir');

const attributes: Case[] = [
  scripted(
    'attributes of a lower file are set, replaced and removed; the others and the content stay',
    `
    s := sum xa
    setxattr xa user.three 333
    listxattr xa = trusted.t user.one user.three user.two
    getxattr xa user.three = 333
    getxattr xa user.one = 1
    setxattr xa user.one changed
    getxattr xa user.one = changed
    removexattr xa user.two
    listxattr xa = trusted.t user.one user.three
    getxattr xa user.two = ENODATA
    sum xa = $s
    lstat xa mode uid gid size = 0640 3 4 10
    `,
  ),
  scripted(
    'XATTR_CREATE and XATTR_REPLACE',
    `
    setxattr xa user.one x XATTR_CREATE = EEXIST
    setxattr xa user.new x XATTR_REPLACE = ENODATA
    setxattr xa user.new x XATTR_CREATE
    setxattr xa user.one y XATTR_REPLACE
    getxattr xa user.one = y
    setxattr new user.k v = ENOENT
    put new x
    setxattr new user.k v XATTR_REPLACE = ENODATA
    setxattr new user.k v XATTR_CREATE
    setxattr new user.k v XATTR_CREATE = EEXIST
    setxattr xa user.one z XATTR_CREATE|XATTR_REPLACE = EINVAL|EEXIST
    removexattr xa user.none = ENODATA
    removexattr f user.none = ENODATA
    `,
  ),
  scripted(
    'values are bytes, also none and many; names have 255 bytes at most',
    `
    setxattr f user.bytes %00%0a%ff=%00
    getxattr f user.bytes = %00%0a%ff=%00
    setxattr f user.empty ''
    getxattr f user.empty = ''
    getxattr f user.empty 0 = 0
    getxattr f user.bytes 2 = ERANGE
    setxattr f user.{n*250} long
    getxattr f user.{n*250} = long
    setxattr f user.{n*251} x = ERANGE
    setxattr f user. x = EINVAL
    setxattr f nonsense x = EOPNOTSUPP
    setxattr f nonsense.x x = EOPNOTSUPP
    setxattr f user.huge {v*65537} = E2BIG|ENOSPC|ERANGE
    listxattr f = user.bytes user.empty user.{n*250}
    `,
  ),
  scripted(
    'a large value',
    `
    setxattr f user.large {v*3000}
    getxattr f user.large = {v*3000}
    link f g
    getxattr g user.large 0 = 3000
    rename f d/f2
    getxattr d/f2 user.large = {v*3000}
    `,
  ),
  scripted(
    'directories, new and merged, and devices, FIFOs and symlinks by root',
    `
    setxattr m user.k v
    getxattr m user.k = v
    ls m = base both sub top
    setxattr xd user.of-dir changed
    getxattr xd user.of-dir = changed
    removexattr xd user.of-dir
    listxattr xd = (none)
    ${lines(SPECIAL, (kind) => `setxattr k/${kind} user.k v = EPERM\nsetxattr k/${kind} trusted.k v\ngetxattr k/${kind} trusted.k = v\nlstat k/${kind} type = ${kind}\nremovexattr k/${kind} trusted.k\nlistxattr k/${kind} = (none)`)}
    `,
  ),
  scripted(
    'the names of trusted attributes are listed for root alone, of lower and upper files',
    `
    @2000:2000 listxattr xa = user.one user.two
    setxattr xa user.one up
    @2000:2000 listxattr xa = user.one user.two
    listxattr xa = trusted.t user.one user.two
    `,
  ),
  scripted(
    'user attributes go by the permissions of the file; trusted ones are for root',
    `
    @2000:2000 setxattr f user.k v = EACCES
    @2000:2000 setxattr w/f user.k v
    @2000:2000 getxattr w/f user.k = v
    @2000:2000 getxattr own user.k = EACCES
    @2000:2000 setxattr w/f trusted.k v = EPERM
    @2000:2000 getxattr xa trusted.t = ENODATA
    @2000:2000 setxattr f security.k v = EPERM
    @1000:1000 setxattr own user.k v
    @1000:1000 removexattr own user.k
    @2000:2000 setxattr t user.k v = EPERM
    `,
  ),
  scripted(
    'by descriptor',
    `
    a := open xa O_RDONLY
    fsetxattr $a user.k v
    fgetxattr $a user.k = v
    getxattr xa user.k = v
    fremovexattr $a user.k
    flistxattr $a = trusted.t user.one user.two
    `,
  ),
  scripted(
    'they come along with copy-up, rename and link, and go with the file',
    `
    put xa other O_WRONLY
    listxattr xa = trusted.t user.one user.two
    rename xa moved
    link moved linked
    listxattr linked = trusted.t user.one user.two
    unlink moved
    unlink linked
    put xa new
    listxattr xa = (none)
    rename xd n
    getxattr n user.of-dir = d
    chmod n 700
    getxattr n user.of-dir = d
    remove_tree n
    mkdir xd
    listxattr xd = (none)
    `,
  ),
  scripted(
    'the attributes of the union itself do not show',
    `
    put f x
    chmod big 600
    rename d n
    remove_tree m
    mkdir m
    rename xd m/xd
    ${lines(['f', 'big', 'n', 'm', 'o', 'l1', '.'], (path) => `listxattr ${path} = (none)`)}
    listxattr m/xd = user.of-dir
    getxattr n trusted.overlay.redirect = ENODATA|EOPNOTSUPP
    getxattr m trusted.overlay.opaque = ENODATA|EOPNOTSUPP
    `,
  ),
  scripted(
    'names of a union inside the union are its own: opaque and whiteout of another mount pass through',
    `
    setxattr d trusted.overlay.opaque y
    getxattr d trusted.overlay.opaque = y
    listxattr d = trusted.overlay.opaque
    ls d = e f l3 sub
    setxattr big trusted.overlay.metacopy ''
    getxattr big trusted.overlay.metacopy = ''
    setxattr d trusted.overlay.redirect /nowhere
    ls d = e f l3 sub
    setxattr f trusted.overlay.overlay.x 1
    getxattr f trusted.overlay.overlay.x = 1
    listxattr f = trusted.overlay.overlay.x
    setxattr d user.overlay.opaque y
    getxattr d user.overlay.opaque = y
    removexattr d trusted.overlay.opaque
    listxattr d = trusted.overlay.redirect user.overlay.opaque
    rename d n
    listxattr n = trusted.overlay.redirect user.overlay.opaque
    ls n = e f l3 sub
    `,
  ),
];

const lists: Case[] = [
  scripted(
    'an ACL of a lower file is enforced and survives copy-up',
    `
    @1234:99 open acl O_RDONLY
    @1235:99 open acl O_RDONLY = EACCES
    put acl by%20hand O_WRONLY
    getxattr acl system.posix_acl_access = $acl
    lstat acl mode = 0640
    @1234:99 open acl O_RDONLY
    @1235:99 open acl O_RDONLY = EACCES
    @1234:99 open acl O_WRONLY = EACCES
    `,
  ),
  scripted(
    'setting an ACL sets the mode, chmod changes its mask, and removing it leaves the mode',
    `
    setxattr f system.posix_acl_access $acl
    getxattr f system.posix_acl_access = $acl
    lstat f mode = 0640
    @1234:99 open f O_RDONLY
    @1235:99 open f O_RDONLY = EACCES
    chmod f 600
    @1234:99 open f O_RDONLY = EACCES
    chmod f 640
    @1234:99 open f O_RDONLY
    removexattr f system.posix_acl_access
    getxattr f system.posix_acl_access = ENODATA
    @1234:99 open f O_RDONLY = EACCES
    lstat f mode = 0640
    `,
  ),
  scripted(
    'ACLs that say nothing or nonsense',
    `
    setxattr f system.posix_acl_access nonsense = EINVAL|EOPNOTSUPP
    setxattr f system.posix_acl_default $defaultAcl = EACCES
    setxattr s system.posix_acl_access $acl = EOPNOTSUPP
    @2000:2000 setxattr f system.posix_acl_access $acl = EPERM
    listxattr f = (none)
    `,
  ),
  scripted(
    'the default ACL of a directory becomes that of what is made in it, in place of the umask',
    `
    umask 77
    put da/file x
    lstat da/file mode = 0664
    @1000:99 open da/file O_RDWR
    getxattr da/file system.posix_acl_default = EOPNOTSUPP|ENODATA
    mkdir da/dir 777
    lstat da/dir mode = 0775
    getxattr da/dir system.posix_acl_default = $defaultAcl
    mkfifo da/fifo 600
    lstat da/fifo mode = 0600
    symlink x da/link
    getxattr da/link system.posix_acl_access = EOPNOTSUPP|ENODATA
    mkdir da/dir/below 777
    getxattr da/dir/below system.posix_acl_default = $defaultAcl
    put plain x
    lstat plain mode = 0600
    `,
  ),
  scripted(
    'a default ACL is set on lower and new directories, and removed',
    `
    setxattr d system.posix_acl_default $defaultAcl
    getxattr d system.posix_acl_default = $defaultAcl
    lstat d mode = 0755
    put d/new x
    lstat d/new mode = 0664
    ls d = e f l3 new sub
    removexattr d system.posix_acl_default
    umask 22
    put d/other x
    getxattr d/other system.posix_acl_access = ENODATA
    mkdir nd
    setxattr nd system.posix_acl_default $defaultAcl
    mkdir nd/x 777
    getxattr nd/x system.posix_acl_default = $defaultAcl
    `,
  ),
];

export const writeXattrCases: Case[] = [...attributes, ...lists];
