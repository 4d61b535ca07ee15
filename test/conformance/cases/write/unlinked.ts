/** Files that are open and have no name any more. */
import type { Case } from '../../case.js';
import { scripted } from '../../scripted.js';

export const unlinkedCases: Case[] = [
  scripted(
    'a lower file is read, written and measured after its last name is gone',
    `
    a := open f O_RDWR
    unlink f
    fstat $a nlink size type = 0 5 file
    read $a 10 = hello
    write $a more = 4
    pread $a 20 0 = hellomore
    fstat $a size nlink = 9 0
    ftruncate $a 3
    pread $a 20 0 = hel
    fsync $a
    put f new
    cat f = new
    pread $a 20 0 = hel
    `,
  ),
  scripted(
    'the same for a descriptor that was opened for reading, of a file never copied up',
    `
    a := open big O_RDONLY
    s := sum big
    h := pread $a 100 50000
    unlink big
    pread $a 100 50000 = $h
    fstat $a size = $bigSize
    put big other
    pread $a 100 50000 = $h
    `,
  ),
  scripted(
    'the link count of a lower file without names is 0, though it never was copied up',
    `
    a := open f O_RDONLY
    b := open d/sub/deep O_RDONLY
    c := open k/file O_RDONLY
    unlink f
    remove_tree d
    rename late k/file
    fstat $a nlink = 0
    fstat $b nlink = 0
    fstat $c nlink = 0
    `,
    { 'kernel overlayfs': 'shows the link count of the lower file (overlayfs.rst, Inode properties)' },
  ),
  scripted(
    'a new file',
    `
    a := open new O_CREAT|O_RDWR 640
    write $a text
    unlink new
    gone new = yes
    fstat $a nlink size mode = 0 4 0640
    pread $a 10 0 = text
    write $a more
    fstat $a size = 8
    fchmod $a 600
    fchown $a 1 2
    futimens $a 3 4
    fstat $a mode uid gid mtime = 0600 1 2 4
    fsetxattr $a user.k v
    fgetxattr $a user.k = v
    fallocate $a ALLOCATE 0 10000
    fstat $a size = 10000
    `,
  ),
  scripted(
    'attributes of an unlinked lower file change through its descriptor',
    `
    a := open xa O_RDWR
    unlink xa
    fgetxattr $a user.one = 1
    fsetxattr $a user.one changed
    fgetxattr $a user.one = changed
    flistxattr $a = trusted.t user.one user.two
    fchmod $a 604
    fchown $a 7 8
    futimens $a 1 2
    fstat $a mode uid gid mtime size = 0604 7 8 2 10
    pread $a 20 0 = attributes
    `,
  ),
  scripted(
    'an unlinked file cannot be linked to a name again',
    `
    a := open new O_CREAT|O_RDWR
    write $a text
    unlink new
    flink $a new = ENOENT
    b := open f O_RDWR
    unlink f
    flink $b f = ENOENT
    gone f = yes
    `,
  ),
  scripted(
    'by /proc/self/fd a file that still has a name gets another',
    `
    a := open f O_RDONLY
    flink $a g
    cat g = hello
    fstat $a nlink = 2
    unlink f
    flink $a h
    lstat h nlink = 2
    `,
  ),
  scripted(
    'two descriptors of one unlinked file share it; the name made again is another file',
    `
    a := open new O_CREAT|O_RDWR
    b := open new O_RDWR
    i := fstat $a ino
    unlink new
    put new other
    write $a shared = 6
    pread $b 10 0 = shared
    cat new = other
    lstat new ino != $i
    fstat $b ino nlink = $i 0
    close $a
    pread $b 10 0 = shared
    `,
  ),
  scripted(
    'one that was unlinked in a directory that is gone as well',
    `
    a := open d/f O_RDWR
    b := open d/sub/deep O_RDONLY
    remove_tree d
    pread $a 10 0 = inside
    write $a X = 1
    pread $a 10 0 = Xnside
    pread $b 10 0 = deep
    fstat $a nlink = 0
    mkdir d
    put d/f new
    pread $a 10 0 = Xnside
    `,
  ),
  scripted(
    'with several names, it has none only when the last is gone',
    `
    a := open l1 O_RDWR
    unlink l1
    fstat $a nlink = 2
    unlink l2
    write $a X
    cat d/l3 = Xinked
    fstat $a nlink = 1
    unlink d/l3
    fstat $a nlink = 0
    pread $a 10 0 = Xinked
    `,
  ),
  scripted(
    'a second process keeps it',
    `
    a := open new O_CREAT|O_RDWR
    write $a text
    B: pread $a 10 0 = text
    unlink new
    close $a
    B: fstat $a nlink = 0
    B: pread $a 10 0 = text
    B: write $a X = 1
    B: pread $a 10 0 = textX
    `,
  ),
  scripted(
    'a hundred at once, each with its own bytes',
    Array.from(
      { length: 100 },
      (_, n) => `f${n} := open n${n} O_CREAT|O_RDWR\nwrite $f${n} text-${n}\nunlink n${n}`,
    ).join('\n') +
      '\n' +
      Array.from({ length: 100 }, (_, n) => `pread $f${n} 20 0 = text-${n}\nfstat $f${n} nlink = 0`).join(
        '\n',
      ),
  ),
  scripted(
    'its path in /proc opens it again',
    `
    a := open new O_CREAT|O_RDWR
    write $a text
    unlink new
    chdir /proc/self/fd
    b := open $a O_RDWR
    read $b 10 = text
    pwrite $b X 0 = 1
    pread $a 10 0 = Xext
    truncate $a 2
    fstat $b size = 2
    `,
  ),
];
