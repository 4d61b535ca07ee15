/** Taking names away: unlink(2), rmdir(2), and what is then seen of the layers below. */
import type { Case } from '../../case.js';
import { KINDS, NON_DIRECTORIES } from '../../kit.js';
import { lines, scripted } from '../../scripted.js';

export const removeCases: Case[] = [
  scripted(
    'a lower file of each kind is deleted, stays so, and its directory moves its times',
    lines(
      NON_DIRECTORIES,
      (kind) => `
      moved k unlink k/${kind} = mtime,ctime
      gone k/${kind} = yes
      unlink k/${kind} = ENOENT
      chmod k/${kind} 600 = ENOENT
      `,
    ) + '\nls k = dir full',
  ),
  scripted(
    'a new file of each kind is deleted',
    lines(
      NON_DIRECTORIES,
      (kind) => `
      make ${kind} new
      moved . unlink new = mtime,ctime
      gone new = yes
      `,
    ),
  ),
  scripted(
    'each kind is replaced by each kind, when the old one is removed first',
    lines(KINDS, (old) =>
      lines(
        KINDS,
        (kind) => `
        remove k/${old}
        make ${kind} k/${old}
        lstat k/${old} type = ${kind}
        `,
      ),
    ) + '\nls k = block char dir fifo file full socket symlink',
  ),
  scripted(
    'unlink of a directory is EISDIR, rmdir of anything else ENOTDIR',
    `
    unlink d = EISDIR
    unlink e = EISDIR
    unlink m = EISDIR
    mkdir new
    unlink new = EISDIR
    ${lines(NON_DIRECTORIES, (kind) => `rmdir k/${kind} = ENOTDIR`)}
    rmdir sd = ENOTDIR
    rmdir dangling = ENOTDIR
    unlink sd
    ls d = e f l3 sub
    `,
  ),
  scripted(
    'rmdir of what is not empty is ENOTEMPTY, and nothing is lost',
    `
    rmdir d = ENOTEMPTY|EEXIST
    rmdir m = ENOTEMPTY|EEXIST
    rmdir m/sub = ENOTEMPTY|EEXIST
    rmdir o = ENOTEMPTY|EEXIST
    moved d rmdir d = Directory_not_empty none
    ls d = e f l3 sub
    ls m = base both sub top
    mkdir new
    put new/a x
    rmdir new = ENOTEMPTY|EEXIST
    unlink new/a
    rmdir new
    gone new = yes
    `,
  ),
  scripted(
    'a lower directory is empty once its names are deleted, and can be removed',
    `
    unlink d/f
    unlink d/l3
    rmdir d/e
    unlink d/sub/deep
    ls d = sub
    ls d/sub = (none)
    rmdir d/sub
    ls d = (none)
    moved . rmdir d = mtime,ctime
    gone d = yes
    open d/f O_RDONLY = ENOENT
    ls . != d
    `,
  ),
  scripted(
    'a merged directory as well, and what comes after shows none of it',
    `
    remove_tree m
    gone m = yes
    mkdir m
    ls m = (none)
    open m/base O_RDONLY = ENOENT
    open m/top O_RDONLY = ENOENT
    open m/sub/base O_RDONLY = ENOENT
    mkdir m/sub
    put m/sub/new x
    ls m/sub = new
    remove_tree o
    make file o
    cat o = ''
    `,
  ),
  scripted(
    'what lower layers hide stays hidden when the directory changes',
    `
    gone m/gone = yes
    put m/new x
    ls m = base both new sub top
    put m/gone mine
    cat m/gone = mine
    unlink m/gone
    gone m/gone = yes
    put o/new x
    ls o = new own
    gone o/base = yes
    chmod o 700
    ls o = new own
    rename o o2
    ls o2 = new own
    gone o2/base = yes
    `,
  ),
  scripted(
    'rmdir of ., .. and a root of nothing',
    `
    rmdir d/. = EINVAL
    rmdir d/sub/.. = ENOTEMPTY|EEXIST
    rmdir '' = ENOENT
    unlink '' = ENOENT
    unlink d/. = EISDIR|EPERM|EINVAL
    unlink d/.. = EISDIR|EPERM|EINVAL
    `,
  ),
  scripted(
    'ENOENT, ENOTDIR, ELOOP and ENAMETOOLONG on the way',
    lines(
      ['unlink', 'rmdir'],
      (call) => `
      ${call} none = ENOENT
      ${call} none/none = ENOENT
      ${call} dangling/x = ENOENT
      ${call} f/x = ENOTDIR
      ${call} k/fifo/x = ENOTDIR
      ${call} loop/x = ELOOP
      ${call} $name256 = ENAMETOOLONG
      ${call} $name255 = ENOENT
      `,
    ) + '\nunlink f/ = ENOTDIR\nunlink sd/ = ENOTDIR\nrmdir sd/ = ENOTDIR',
  ),
  scripted(
    'a name is removed by who may write to its directory, whoever owns the file',
    `
    @1000:1000 unlink f = EACCES
    @1000:1000 rmdir e = EACCES
    @1000:1000 unlink x/f = EACCES
    @2000:2000 unlink p/f = EACCES
    lstat p/f type = file
    put p/root-file x
    chmod p/root-file 0
    @1000:1000 unlink p/root-file
    @1000:1000 unlink p/f
    ls p = (none)
    @2000:2000 unlink w/f
    `,
  ),
  scripted(
    'in a sticky directory only the owner of the file or of the directory removes a name',
    `
    @2000:2000 unlink t/u1 = EPERM|EACCES
    @2000:2000 rmdir t/d1 = EPERM|EACCES
    @2000:2000 rename t/u1 w/u1 = EPERM|EACCES
    @2000:2000 rename w/f t/u1 = EPERM|EACCES
    @1000:1000 unlink t/u1
    @1000:1000 rmdir t/d1
    chown t 2000 2000
    put t/new x
    chown t/new 1000 1000
    @2000:2000 unlink t/new
    @2000:2000 unlink t/u2
    ls t = (none)
    `,
  ),
  scripted(
    'the working directory may be removed, and nothing can be made in it any more',
    `
    mkdir new
    chdir new
    rmdir ../new
    mkdir x = ENOENT
    put x y = ENOENT
    symlink x y = ENOENT
    lstat . type = dir
    `,
  ),
  scripted(
    'an open directory that is removed cannot be listed, and its attributes can still be read',
    `
    a := open e O_RDONLY|O_DIRECTORY
    b := open d O_RDONLY|O_DIRECTORY
    rmdir e
    fstat $a type = dir
    read_dir $a = ENOENT
    remove_tree d
    read_dir $b = ENOENT
    fstat $b type = dir
    `,
  ),
  scripted(
    'removing one of several names keeps the others, and counts',
    `
    moved l2 unlink l1 = ctime
    lstat l2 nlink = 2
    lstat d/l3 nlink = 2
    cat d/l3 = linked
    unlink d/l3
    lstat l2 nlink = 1
    put l2 changed
    cat l2 = changed
    unlink l2
    gone l2 = yes
    put l1 new
    lstat l1 nlink = 1
    `,
  ),
  scripted(
    'made and removed again a hundred times, over a lower name and a new one',
    lines(
      Array.from({ length: 100 }, (_, index) => index),
      (index) =>
        index % 2 === 0
          ? `unlink f\nmkdir f\nrmdir f\nput f ${index}`
          : `cat f = ${index - 1}\nput new ${index}\nunlink new`,
    ) + '\ncat f = 98\ngone new = yes',
  ),
];
