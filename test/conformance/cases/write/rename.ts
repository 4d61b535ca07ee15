/** rename(2), renameat2(2): everything over everything, lower directories with all that is in them. */
import type { Case } from '../../case.js';
import { KINDS, NON_DIRECTORIES } from '../../kit.js';
import { lines, scripted } from '../../scripted.js';

const moving: Case[] = [
  scripted(
    'each kind of lower file moves: the same inode and attributes under the new name, none under the old',
    lines(
      NON_DIRECTORIES,
      (kind) => `
      i := lstat k/${kind} ino
      rename k/${kind} d/${kind}
      gone k/${kind} = yes
      lstat d/${kind} type ino nlink = ${kind} $i 1
      rename d/${kind} k/${kind}
      lstat k/${kind} type ino = ${kind} $i
      gone d/${kind} = yes
      `,
    ) +
      `
      cat k/file = kind
      readlink k/symlink = target
      lstat k/char rdev mode = 1:3 0666
      rename xa d/xa
      lstat d/xa mode uid gid mtime size = 0640 3 4 1500000000987654321 10
      listxattr d/xa = trusted.t user.one user.two
      `,
  ),
  scripted(
    'each kind of new file moves',
    lines(
      KINDS,
      (kind) => `
      make ${kind} new
      i := lstat new ino
      rename new d/moved
      lstat d/moved type ino = ${kind} $i
      gone new = yes
      remove d/moved
      `,
    ),
  ),
  scripted(
    'both directories and the file itself move their times; a rename within one moves that one',
    `
    moved d rename f d/new = mtime,ctime
    moved d rename d/new g = mtime,ctime
    moved . rename g h = mtime,ctime
    moved h lstat h = none
    `,
  ),
  scripted(
    'a file over each kind of file that is not a directory',
    lines(
      NON_DIRECTORIES,
      (kind) => `
      put new ${kind}
      i := lstat new ino
      rename new k/${kind}
      cat k/${kind} = ${kind}
      lstat k/${kind} ino nlink = $i 1
      gone new = yes
      `,
    ) + '\nls k = block char dir fifo file full socket symlink',
  ),
  scripted(
    'each kind over a lower file',
    lines(
      NON_DIRECTORIES,
      (kind) => `
      put over x
      rename k/${kind} over
      lstat over type = ${kind}
      unlink over
      gone k/${kind} = yes
      `,
    ) + '\nrename late f\ncat f = late\ngone late = yes',
  ),
  scripted(
    'a directory over a file is ENOTDIR, a file over a directory EISDIR',
    `
    ${lines(NON_DIRECTORIES, (kind) => `rename e k/${kind} = ENOTDIR\nrename k/${kind} e = EISDIR`)}
    rename d f = ENOTDIR
    rename f m = EISDIR
    rename f d = EISDIR
    mkdir new
    rename new f = ENOTDIR
    rename f new = EISDIR
    cat f = hello
    `,
  ),
  scripted(
    'a directory over an empty one replaces it; over one with something in it is ENOTEMPTY',
    `
    rename e d = ENOTEMPTY|EEXIST
    rename e m = ENOTEMPTY|EEXIST
    rename d m = ENOTEMPTY|EEXIST
    i := lstat d ino
    rename d e
    lstat e ino = $i
    gone d = yes
    ls e = e f l3 sub
    cat e/sub/deep = deep
    mkdir new
    rename new d
    ls d = (none)
    mkdir new
    rename e new
    ls new = e f l3 sub
    gone e = yes
    `,
  ),
  scripted(
    'a directory over a lower one that was emptied shows nothing of the old one',
    `
    remove_tree m/sub
    unlink m/base
    unlink m/both
    unlink m/top
    rename d m
    ls m = e f l3 sub
    gone m/base = yes
    open m/base O_RDONLY = ENOENT
    unlink m/sub/deep
    ls m/sub = (none)
    `,
  ),
];

const directories: Case[] = [
  scripted(
    'a lower directory moves with all that is in it',
    `
    i := lstat d ino
    j := lstat d/f ino
    t := lstat d mtime
    rename d n
    gone d = yes
    open d/f O_RDONLY = ENOENT
    ls n = e f l3 sub
    lstat n ino type mtime = $i dir $t
    lstat n/f ino = $j
    cat n/f = inside
    cat n/sub/deep = deep
    lstat n/l3 nlink = 3
    mkdir d
    ls d = (none)
    `,
  ),
  scripted(
    'it can be changed there, and moved again, into others and back',
    `
    rename d n
    put n/f changed
    cat n/f = changed
    unlink n/sub/deep
    ls n/sub = (none)
    put n/sub/new x
    chmod n/e 700
    rename n e/n
    ls e/n = e f l3 sub
    cat e/n/f = changed
    rename e/n/sub s2
    ls s2 = new
    rename s2 e/n/e/s3
    ls e/n/e/s3 = new
    rename e/n d
    ls d = e f l3
    ls d/e = s3
    lstat d/e mode = 0700
    cat d/e/s3/new = x
    gone e/n = yes
    `,
  ),
  scripted(
    'a merged directory keeps what each layer gave it',
    `
    rename m n
    ls n = base both sub top
    cat n/both = above
    ls n/sub = base top
    gone n/gone = yes
    put n/gone mine
    rename n/sub n/sub2
    ls n/sub2 = base top
    gone n/sub = yes
    mkdir n/sub
    ls n/sub = (none)
    rename n m
    ls m = base both gone sub sub2 top
    ls m/sub2 = base top
    `,
  ),
  scripted(
    'a lower directory moves into a new one, a new one into a lower one, and both again',
    `
    mkdir new
    rename d new/d
    rename new e/new
    ls e/new/d = e f l3 sub
    cat e/new/d/sub/deep = deep
    put e/new/d/sub/deep changed
    rename e/new/d/sub e/sub
    cat e/sub/deep = changed
    rename e m/e
    cat m/e/new/d/f = inside
    rename m mm
    cat mm/e/sub/deep = changed
    ls mm = base both e sub top
    `,
  ),
  scripted(
    'directories swap their names by way of a third',
    `
    rename d tmp
    rename m d
    rename tmp m
    ls d = base both sub top
    ls m = e f l3 sub
    cat d/sub/base = base
    cat m/sub/deep = deep
    rename d/sub tmp
    rename m/sub d/sub
    rename tmp m/sub
    ls d/sub = deep
    ls m/sub = base top
    `,
  ),
  scripted(
    'a name that was moved away can be made again, and the other does not show through',
    `
    rename d n
    mkdir d
    put d/f new
    mkdir d/sub
    ls d = f sub
    ls d/sub = (none)
    cat n/f = inside
    ls n/sub = deep
    remove_tree d
    rename n d
    cat d/f = inside
    ls d/sub = deep
    `,
  ),
  scripted(
    'a moved directory can be emptied and removed',
    `
    rename m n
    rename n/sub n/s
    remove_tree n
    gone n = yes
    gone m = yes
    mkdir n
    mkdir m
    ls n = (none)
    ls m = (none)
    `,
  ),
  scripted(
    'a directory cannot move into itself or below itself',
    `
    rename d d/sub/new = EINVAL
    rename d d/new = EINVAL
    rename d d/sub = EINVAL|ENOTEMPTY
    rename m m/sub/x = EINVAL
    rename d/sub d = ENOTEMPTY|EEXIST
    mkdir a
    mkdir a/b
    rename a a/b/c = EINVAL
    rename d a/b/d
    rename a a/b/d/a = EINVAL
    ls a/b/d = e f l3 sub
    `,
  ),
  scripted(
    '. and .. cannot be renamed, and . is not replaced',
    `
    rename d/. x = EBUSY|EINVAL
    rename d/sub/.. x = EBUSY|EINVAL|ENOTEMPTY
    rename e d/. = EBUSY|EINVAL
    rename e d/sub/.. = EBUSY|EINVAL|ENOTEMPTY
    `,
  ),
  scripted(
    'an open file, an open directory and the working directory move along',
    `
    a := open d/f O_RDWR
    b := open d O_RDONLY|O_DIRECTORY
    chdir d
    rename ../d ../n
    pwrite $a X 0 = 1
    cat f = Xnside
    cat ../n/f = Xnside
    put new y
    fchdir $b
    cat new = y
    read_dir $b = e f l3 new sub
    ls ../n = e f l3 new sub
    `,
  ),
  scripted(
    'names of 255 bytes move, and none of 256',
    `
    rename d $name255
    ls $name255 = e f l3 sub
    rename $name255 $name256 = ENAMETOOLONG
    rename $name256 x = ENAMETOOLONG
    rename $name255 d
    rename f d/{m*255}
    cat d/{m*255} = hello
    `,
  ),
];

const flags: Case[] = [
  scripted(
    'RENAME_NOREPLACE moves to where nothing is, and is EEXIST over anything',
    `
    ${lines(KINDS, (kind) => `rename f k/${kind} RENAME_NOREPLACE = EEXIST\nrename k/${kind} f RENAME_NOREPLACE = EEXIST`)}
    rename f f RENAME_NOREPLACE = EEXIST
    rename d e RENAME_NOREPLACE = EEXIST
    rename f dangling RENAME_NOREPLACE = EEXIST
    cat f = hello
    rename f g RENAME_NOREPLACE
    cat g = hello
    rename d n RENAME_NOREPLACE
    ls n = e f l3 sub
    unlink k/file
    rename g k/file RENAME_NOREPLACE
    cat k/file = hello
    rename none x RENAME_NOREPLACE = ENOENT
    `,
  ),
  scripted(
    'RENAME_EXCHANGE swaps files, directories and one for the other',
    `
    i := lstat f ino
    j := lstat late ino
    rename f late RENAME_EXCHANGE
    cat f = late
    cat late = hello
    lstat f ino = $j
    lstat late ino = $i
    rename d m RENAME_EXCHANGE
    ls d = base both sub top
    ls m = e f l3 sub
    cat m/sub/deep = deep
    rename f d RENAME_EXCHANGE
    ls f = base both sub top
    cat d = late
    rename k/symlink k/full RENAME_EXCHANGE
    readlink k/full = target
    ls k/symlink = child
    put new x
    rename new k/fifo RENAME_EXCHANGE
    lstat new type = fifo
    cat k/fifo = x
    mkdir nd
    rename nd m RENAME_EXCHANGE
    ls m = (none)
    ls nd = e f l3 sub
    `,
  ),
  scripted(
    'RENAME_EXCHANGE wants both names, and no directory below the other',
    `
    rename f none RENAME_EXCHANGE = ENOENT
    rename none f RENAME_EXCHANGE = ENOENT
    rename d d/sub RENAME_EXCHANGE = EINVAL
    rename d/sub d RENAME_EXCHANGE = EINVAL
    rename f f RENAME_EXCHANGE
    rename f late RENAME_EXCHANGE|RENAME_NOREPLACE = EINVAL
    cat f = hello
    `,
  ),
  scripted(
    'RENAME_EXCHANGE between directories carries hard links and open files',
    `
    a := open l1 O_RDWR
    rename l1 d/f RENAME_EXCHANGE
    write $a X = 1
    cat l2 = Xinked
    cat d/f = Xinked
    cat l1 = inside
    lstat d/f nlink = 3
    lstat l1 nlink = 1
    `,
  ),
];

const errors: Case[] = [
  scripted(
    'two names of one file: nothing happens, and both stay',
    `
    rename l1 l2
    lstat l1 nlink = 3
    lstat l2 nlink = 3
    rename f f
    cat f = hello
    rename d d
    ls d = e f l3 sub
    link f g
    rename f g
    cat f = hello
    cat g = hello
    rename l1 f
    lstat f nlink = 3
    gone l1 = yes
    `,
  ),
  scripted(
    'ENOENT, ENOTDIR, ELOOP and EXDEV on the way',
    `
    rename none x = ENOENT
    rename none/x y = ENOENT
    rename f none/x = ENOENT
    rename f/x y = ENOTDIR
    rename f k/fifo/x = ENOTDIR
    rename loop/x y = ELOOP
    rename f loop/x = ELOOP
    rename f dangling/x = ENOENT
    rename '' x = ENOENT
    rename f '' = ENOENT
    rename f /dev/shm/x = EXDEV
    rename f e/ = ENOTDIR|EISDIR
    rename f/ x = ENOTDIR
    rename f x/ = ENOTDIR
    cat f = hello
    moved d rename none d/x = No_such_file_or_directory none
    `,
  ),
  scripted(
    'symlinks are moved and replaced themselves',
    `
    rename s t2
    readlink t2 = f
    rename t2 dangling
    readlink dangling = f
    rename f sd
    cat sd = hello
    ls d = e f l3 sub
    rename d dangling = ENOTDIR
    `,
  ),
  scripted(
    'both directories must be writable, and a moved directory too, as its .. changes',
    `
    @1000:1000 rename f w/f2 = EACCES
    @1000:1000 rename w/f d/f2 = EACCES
    @1000:1000 rename p/f d/f2 = EACCES
    @1000:1000 rename p/f w/f2
    cat w/f2 = p
    mkdir w/rootdir 755
    @1000:1000 rename w/rootdir p/x = EACCES
    @1000:1000 rename w/rootdir w/other
    mkdir w/mine 755
    chown w/mine 1000 1000
    @1000:1000 rename w/mine p/mine
    ls p = mine
    `,
  ),
  scripted(
    'sticky directories hold for the moved name and for the replaced one',
    `
    @2000:2000 rename t/u1 t/x = EPERM|EACCES
    @2000:2000 rename t/u2 t/u1 = EPERM|EACCES
    @2000:2000 rename t/u2 t/u1 RENAME_EXCHANGE = EPERM|EACCES
    @2000:2000 rename t/u2 t/x
    @1000:1000 rename t/u1 t/y
    @1000:1000 rename t/d1 t/d2
    ls t = d2 x y
    @1000:1000 rename t/d2 w/d2
    `,
  ),
  scripted(
    'what is replaced but open lives on without a name',
    `
    a := open f O_RDWR
    put new other
    rename new f
    read $a 10 = hello
    fstat $a nlink = 0
    pwrite $a more 5 = 4
    pread $a 20 0 = hellomore
    cat f = other
    b := open k/file O_RDONLY
    rename late k/file
    read $b 10 = kind
    `,
  ),
  scripted(
    'a file that is renamed to and fro a hundred times between layers is the same file',
    lines(
      Array.from({ length: 50 }, (_, index) => index),
      () => 'rename f d/g\nrename d dd\nrename dd/g f\nrename dd d',
    ) + '\ncat f = hello\nls d = e f l3 sub\ncat d/sub/deep = deep',
  ),
];

export const renameCases: Case[] = [
  ...moving,
  ...directories,
  ...flags,
  scripted(
    'RENAME_WHITEOUT moves a name and leaves a hidden one, which is no name',
    `
    rename f moved RENAME_WHITEOUT
    cat moved = hello
    gone f = yes
    put f again
    cat f = again
    `,
    {
      'plain directory': 'leaves a visible character device 0:0 (rename(2))',
      'kernel overlayfs': 'takes NOREPLACE and EXCHANGE only (ovl_rename2)',
    },
  ),
  ...errors,
];
