/** Hard links: link(2), and names that share a lower inode before and after it is copied. */
import type { Case } from '../../case.js';
import { NON_DIRECTORIES } from '../../kit.js';
import { lines, scripted } from '../../scripted.js';

const LINKED = ['l1', 'l2', 'd/l3'];

/** A change made through one name and what all names must then show. */
const CHANGES: readonly (readonly [
  what: string,
  change: (path: string) => string,
  field: string,
  value: string,
])[] = [
  ['chmod', (path) => `chmod ${path} 4711`, 'mode', '4711'],
  ['chown', (path) => `chown ${path} 11 12`, 'uid gid', '11 12'],
  ['truncate', (path) => `truncate ${path} 3`, 'size', '3'],
  ['utimens', (path) => `utimens ${path} 5 7000000001`, 'mtime', '7000000001'],
  ['write', (path) => `put ${path} changed`, 'size', '7'],
  ['append', (path) => `put ${path} more O_WRONLY|O_APPEND`, 'size', '10'],
];

export const linkCases: Case[] = [
  scripted(
    'the names of a lower file are one inode, before and after it is copied up, whatever was looked at first',
    `
    i := lstat d/l3 ino
    ${lines(LINKED, (path) => `lstat ${path} ino nlink = $i 3`)}
    put l2 changed
    ${lines(LINKED, (path) => `lstat ${path} ino nlink size = $i 3 7\ncat ${path} = changed`)}
    agree .
    agree d
    `,
  ),
  ...CHANGES.flatMap(([what, change, field, value]) =>
    LINKED.map((path) =>
      scripted(
        `${what} through ${path} is seen through all names`,
        `
        i := lstat l1 ino
        ${change(path)}
        ${lines(LINKED, (other) => `lstat ${other} ino nlink = $i 3\nlstat ${other} ${field} = ${value}`)}
        unlink ${path}
        ${lines(
          LINKED.filter((other) => other !== path),
          (other) => `lstat ${other} ${field} = ${value}\nlstat ${other} nlink = 2`,
        )}
        `,
      ),
    ),
  ),
  scripted(
    'setxattr through one name is seen through all',
    `
    setxattr l2 user.k v
    ${lines(LINKED, (path) => `getxattr ${path} user.k = v`)}
    removexattr d/l3 user.k
    ${lines(LINKED, (path) => `getxattr ${path} user.k = ENODATA`)}
    `,
  ),
  scripted(
    'a descriptor of one name and the others show the same bytes',
    `
    a := open l1 O_RDWR
    b := open d/l3 O_RDWR
    write $a XX = 2
    read $b 10 = XXnked
    pwrite $b YY 4 = 2
    pread $a 10 0 = XXnkYY
    cat l2 = XXnkYY
    unlink l1
    pwrite $a Z 0 = 1
    cat l2 = ZXnkYY
    fstat $a nlink = 2
    `,
  ),
  scripted(
    'each kind of lower file gets a second name',
    lines(
      NON_DIRECTORIES,
      (kind) => `
      i := lstat k/${kind} ino
      moved k/${kind} link k/${kind} d/${kind} = ctime
      lstat d/${kind} type ino nlink = ${kind} $i 2
      lstat k/${kind} ino nlink = $i 2
      unlink k/${kind}
      lstat d/${kind} ino nlink = $i 1
      `,
    ),
  ),
  scripted(
    'each kind of new file gets a second name, and a directory none',
    lines(
      NON_DIRECTORIES,
      (kind) => `
      make ${kind} new
      moved d link new d/${kind} = mtime,ctime
      lstat d/${kind} type nlink = ${kind} 2
      unlink new
      `,
    ) + '\nlink d lx = EPERM\nlink m lx = EPERM\nmkdir new\nlink new lx = EPERM\ngone lx = yes',
  ),
  scripted(
    'EEXIST, ENOENT, ENOTDIR, ENAMETOOLONG, EXDEV',
    `
    link f late = EEXIST
    link f d = EEXIST
    link f f = EEXIST
    link f dangling = EEXIST
    link none x = ENOENT
    link f none/x = ENOENT
    link f f/x = ENOTDIR
    link f/x y = ENOTDIR
    link loop/x y = ELOOP
    link f $name256 = ENAMETOOLONG
    link f $name255
    link f /dev/shm/x = EXDEV
    lstat f nlink = 2
    `,
  ),
  scripted(
    'a symlink is linked itself, unless it is to be followed',
    `
    link s t2
    readlink t2 = f
    lstat t2 nlink = 2
    link s t3 AT_SYMLINK_FOLLOW
    lstat t3 type nlink = file 2
    link dangling x AT_SYMLINK_FOLLOW = ENOENT
    `,
  ),
  scripted(
    'links to files of every depth, and to one of the names of a lower file',
    `
    link d/sub/deep here
    put here changed
    cat d/sub/deep = changed
    link l2 l4
    ${lines([...LINKED, 'l4'], (path) => `lstat ${path} nlink = 4`)}
    unlink l2
    put l4 x
    cat d/l3 = x
    rename d dd
    lstat dd/l3 nlink = 3
    cat dd/l3 = x
    `,
  ),
  scripted(
    'a name that was deleted is linked to anew',
    `
    unlink late
    link f late
    cat late = hello
    lstat late nlink = 2
    unlink k/fifo
    link f k/fifo
    lstat k/fifo type nlink = file 3
    remove_tree d
    link f d
    cat d = hello
    `,
  ),
  scripted(
    'permission: to write to the directory, and for others a file that one may read and write',
    `
    @1000:1000 link f w/f2 = EPERM
    @1000:1000 link p/f d/x = EACCES
    @1000:1000 link p/f w/mine
    @1000:1000 link x/f w/x = EACCES
    @2000:2000 link suid w/suid = EPERM
    lstat w/mine nlink = 2
    `,
  ),
  scripted(
    'renaming one of several names keeps the inode and the count',
    `
    i := lstat l1 ino
    rename l1 moved
    lstat moved ino nlink = $i 3
    rename moved f
    lstat f ino nlink = $i 3
    lstat l2 nlink = 3
    cat f = linked
    put f both
    cat l2 = both
    cat d/l3 = both
    `,
  ),
  scripted(
    'many names of one file',
    `
    ${lines(
      Array.from({ length: 60 }, (_, n) => n),
      (n) => `link l1 w/n${n}`,
    )}
    lstat l2 nlink = 63
    ${lines(
      Array.from({ length: 60 }, (_, n) => n),
      (n) => `unlink w/n${n}`,
    )}
    lstat d/l3 nlink = 3
    `,
  ),
];
