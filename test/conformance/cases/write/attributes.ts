/** chmod(2), chown(2), utimensat(2), and what clears the setuid, setgid and capability bits. */
import type { Case } from '../../case.js';
import { KINDS } from '../../kit.js';
import { lines, scripted } from '../../scripted.js';

const WITH_MODE = KINDS.filter((kind) => kind !== 'symlink');

const modes: Case[] = [
  scripted(
    'chmod of every kind, lower and new, for each bit; nothing else changes but ctime',
    lines(
      WITH_MODE,
      (kind) => `
      i := lstat k/${kind} ino
      t := lstat k/${kind} mtime
      moved k/${kind} chmod k/${kind} 4755 = ctime
      ${lines(['0', '1', '20', '400', '1000', '2000', '4000', '7777'], (mode) => `chmod k/${kind} ${mode}\nlstat k/${kind} mode = ${mode.padStart(4, '0')}`)}
      lstat k/${kind} type ino mtime = ${kind} $i $t
      make ${kind} new
      chmod new 1234
      lstat new mode = 1234
      remove new
      `,
    ),
  ),
  scripted(
    'chmod of a large lower file keeps its content, and of a merged directory its entries',
    `
    s := sum big
    t := lstat big mtime
    chmod big 600
    sum big = $s
    lstat big mode size mtime = 0600 $bigSize $t
    a := open big O_RDWR
    pwrite $a X 5000 = 1
    pread $a 1 5000 = X
    lstat big size = $bigSize
    sum big != $s
    chmod m 711
    ls m = base both sub top
    lstat m mode = 0711
    chmod . 711
    lstat . mode = 0711
    `,
  ),
  scripted(
    'chmod follows symlinks; by descriptor as well',
    `
    chmod s 600
    lstat f mode = 0600
    lstat s mode = 0777
    chmod dangling 600 = ENOENT
    chmod loop 600 = ELOOP
    chmod f/x 600 = ENOTDIR
    a := open xa O_RDONLY
    fchmod $a 604
    lstat xa mode = 0604
    b := open d O_RDONLY|O_DIRECTORY
    fchmod $b 750
    lstat d mode = 0750
    `,
  ),
  scripted(
    'chmod is for the owner',
    `
    @2000:2000 chmod f 777 = EPERM
    @2000:2000 chmod p/f 777 = EPERM
    @2000:2000 chmod x/f 777 = EACCES
    @1000:1000 chmod p/f 777
    @1000:1000 chmod own 4711
    lstat own mode = 4711
    lstat f mode = 0644
    moved f chmod none 1 = No_such_file_or_directory none
    `,
  ),
  scripted(
    'who is not in the group of a file cannot make it setgid',
    `
    chown own 1000 50
    @1000:1000 chmod own 2755
    lstat own mode = 0755
    @1000:1000,50 chmod own 2755
    lstat own mode = 2755
    chown p 1000 50
    @1000:1000 chmod p 2755
    lstat p mode = 0755
    @1000:1000 chmod p/f 1644
    lstat p/f mode = 1644
    `,
  ),
];

const owners: Case[] = [
  scripted(
    'chown of every kind, lower and new; a symlink too, when not followed',
    lines(
      KINDS,
      (kind) => `
      i := lstat k/${kind} ino
      moved k/${kind} lchown k/${kind} 21 22 = ctime
      lstat k/${kind} type uid gid ino = ${kind} 21 22 $i
      lchown k/${kind} -1 23
      lstat k/${kind} uid gid = 21 23
      lchown k/${kind} 24 -1
      lstat k/${kind} uid gid = 24 23
      make ${kind} new
      lchown new 3000000000 4000000000
      lstat new uid gid = 3000000000 4000000000
      remove new
      `,
    ),
  ),
  scripted(
    'chown follows symlinks, and by descriptor',
    `
    chown s 31 32
    lstat f uid gid = 31 32
    lstat s uid gid = 0 0
    chown dangling 1 1 = ENOENT
    lchown dangling 1 1
    lstat dangling uid = 1
    a := open big O_RDONLY
    s := sum big
    fchown $a 33 34
    lstat big uid gid size = 33 34 $bigSize
    sum big = $s
    chown none 1 1 = ENOENT
    chown f/x 1 1 = ENOTDIR
    chown loop 1 1 = ELOOP
    `,
  ),
  scripted(
    'an owner gives a file to a group it is in, and to nobody else',
    `
    @1000:1000,50 chown own -1 50
    lstat own gid = 50
    @1000:1000,50 chown own 1000 1000
    @1000:1000 chown own -1 50 = EPERM
    @1000:1000 chown own 2000 -1 = EPERM
    @2000:2000 chown own -1 2000 = EPERM
    @2000:2000 chown f 2000 2000 = EPERM
    @1000:1000 chown own -1 -1
    lstat own uid gid = 1000 1000
    `,
  ),
  scripted(
    'chown by an owner clears setuid, setgid of what may be run by the group, and capabilities',
    `
    @1000:1000,50 chown suid -1 50
    lstat suid mode gid = 0777 50
    chmod suid 6777
    chown suid 1000 1000
    lstat suid mode = 0777
    chown cap 1 1
    getxattr cap security.capability = ENODATA
    chmod suid 2644
    chown suid 1000 1000
    lstat suid mode = 2644
    chmod sg 6777
    chown sg 0 7
    lstat sg mode gid = 6777 7
    `,
  ),
];

const privileges: Case[] = [
  ...[
    ['write', 'write $a x'],
    ['pwrite', 'pwrite $a x 1'],
    ['ftruncate', 'ftruncate $a 2'],
    ['fallocate', 'fallocate $a ALLOCATE 0 4096'],
  ].map(([what, call]) =>
    scripted(
      `${what} by another user clears setuid and setgid`,
      `
      @2000:2000 a := open suid O_RDWR
      @2000:2000 ${call}
      lstat suid mode = 0777
      fstat $a mode = 0777
      `,
    ),
  ),
  ...[
    ['write', 'write $a x'],
    ['append', 'put own x O_WRONLY|O_APPEND'],
    ['ftruncate', 'ftruncate $a 2'],
    ['fallocate', 'fallocate $a ALLOCATE 0 4096'],
    ['copy_file_range', 'copy_file_range $b $a 3 0 0'],
  ].flatMap(([what, call]) =>
    ['4755', '2755', '6755'].map((mode) =>
      scripted(
        `${what} by its owner clears the bits ${mode} of a file that is in the upper already`,
        `
        put own before
        chmod own ${mode}
        b := open f O_RDONLY
        @1000:1000 a := open own O_RDWR
        @1000:1000 ${call}
        lstat own mode = 0755
        chmod own ${mode}
        @1000:1000 ${call}
        lstat own mode = 0755
        fstat $a mode = 0755
        `,
      ),
    ),
  ),
  scripted(
    'a setuid program that another user has changed does not run as its owner',
    `
    copy /usr/bin/id program
    chmod program 4757
    exec_as 1000 program -u = 0
    @2000:2000 a := open program O_WRONLY
    @2000:2000 pwrite $a x 100000
    close $a
    statx_mode program = 0757
    exec_as 1000 program -u = 1000
    copy /usr/bin/id other
    chmod other 4757
    @2000:2000 a := open other O_WRONLY
    @2000:2000 pwrite $a x 100000
    close $a
    exec_as 1000 other -u = 1000
    `,
  ),
  scripted(
    'writing through a descriptor that was opened before the bits were set clears them',
    `
    put new x
    chown new 1000 1000
    chmod new 755
    @1000:1000 a := open new O_RDWR
    @1000:1000 write $a y
    chmod new 6755
    @1000:1000 write $a z
    lstat new mode = 0755
    `,
  ),
  scripted(
    'writing to a file that is in the upper already clears its capabilities',
    `
    put new x
    chmod new 755
    setxattr new security.capability $capability
    a := open new O_RDWR
    write $a y
    getxattr new security.capability = ENODATA
    setxattr new security.capability $capability
    write $a z
    getxattr new security.capability = ENODATA
    `,
  ),
  scripted(
    'writing clears file capabilities, whoever writes',
    `
    getxattr cap security.capability = $capability
    a := open cap O_WRONLY
    getxattr cap security.capability = $capability
    write $a x
    getxattr cap security.capability = ENODATA
    `,
  ),
  scripted(
    'truncating clears file capabilities',
    `
    truncate cap 1
    getxattr cap security.capability = ENODATA
    `,
  ),
  scripted(
    'root keeps setuid and setgid when it writes and truncates',
    `
    a := open suid O_RDWR
    write $a x
    lstat suid mode = 6777
    truncate suid 2
    lstat suid mode = 6777
    `,
  ),
  scripted(
    "setuid that is given while another user has the file open goes at that user's next write",
    `
    chmod suid 777
    @2000:2000 a := open suid O_WRONLY
    @2000:2000 write $a x
    chmod suid 6777
    lstat suid mode = 6777
    @2000:2000 write $a y
    lstat suid mode = 0777
    `,
  ),
  scripted(
    'setuid that is given while root has the file open stays when root writes',
    `
    chmod suid 777
    a := open suid O_RDWR
    write $a x
    chmod suid 6777
    write $a y
    lstat suid mode = 6777
    `,
  ),
  scripted(
    'a file that was written is read as it is by whoever opens it next, again and again',
    `
    put w/log one
    cat w/log = one
    a := open w/log O_WRONLY|O_APPEND
    write $a two
    cat w/log = onetwo
    b := open w/log O_RDONLY
    write $a three
    read $b 100 = onetwothree
    close $a
    close $b
    cat w/log = onetwothree
    a := open w/log O_WRONLY
    pwrite $a XXX 0
    close $a
    cat w/log = XXXtwothree
    `,
  ),
  scripted(
    'O_TRUNC by another user clears them as well',
    `
    @2000:2000 open suid O_RDWR|O_TRUNC
    lstat suid mode size = 0777 0
    `,
  ),
  scripted(
    'a new setuid file keeps its bits until it is written to by others',
    `
    @1000:1000 a := open w/new O_CREAT|O_RDWR 6755
    fstat $a mode = 6755
    @1000:1000 write $a x
    fstat $a mode = 0755
    `,
  ),
  scripted(
    'chmod, rename, link and utimens keep capabilities and bits',
    `
    chmod cap 755
    link cap cap2
    rename cap2 cap3
    utimens cap 1 1
    getxattr cap3 security.capability = $capability
    link suid s2
    rename s2 s3
    lstat s3 mode = 6777
    `,
  ),
];

const times: Case[] = [
  scripted(
    'utimens of every kind, lower and new, to the nanosecond',
    lines(
      KINDS,
      (kind) => `
      i := lstat k/${kind} ino
      moved k/${kind} utimens k/${kind} 1000000001 2000000002 = mtime,ctime
      lstat k/${kind} type atime mtime ino = ${kind} 1000000001 2000000002 $i
      make ${kind} new
      utimens new 3 4
      lstat new mtime = 4
      remove new
      `,
    ),
  ),
  scripted(
    'times before 1970 and after 2038, omitted ones, and now',
    `
    utimens f 0 0
    lstat f mtime = 0
    utimens f 4200000000999999999 4200000000999999998
    lstat f atime mtime = 4200000000999999999 4200000000999999998
    utimens f omit 5
    lstat f atime mtime = 4200000000999999999 5
    utimens f 6 omit
    lstat f atime mtime = 6 5
    moved f utimens f omit omit = none
    utimens f now now
    lstat f mtime > 1700000000000000000
    utimens big omit 9
    lstat big mtime size = 9 $bigSize
    `,
  ),
  scripted(
    'symlinks themselves, descriptors, directories',
    `
    utimens s 1 2
    lstat s mtime = 2
    lstat f mtime != 2
    a := open xa O_RDONLY
    futimens $a 3 4
    lstat xa mtime mode = 4 0640
    utimens m 5 6
    lstat m mtime = 6
    ls m = base both sub top
    put m/new x
    lstat m mtime != 6
    b := open d O_RDONLY|O_DIRECTORY
    futimens $b 7 8
    lstat d mtime = 8
    `,
  ),
  scripted(
    'any time is for the owner; now for who may write',
    `
    @2000:2000 utimens f 1 1 = EPERM
    @2000:2000 utimens f now now = EACCES
    @2000:2000 utimens w/f now now
    @2000:2000 utimens w/f 1 1 = EPERM
    @2000:2000 utimens w/f now omit = EPERM
    @1000:1000 utimens own 1 2
    lstat own mtime = 2
    @1000:1000 utimens own now now
    chmod own 0
    @1000:1000 utimens own 5 6
    utimens none 1 1 = ENOENT
    utimens f/x 1 1 = ENOTDIR
    `,
  ),
  scripted(
    'a write moves mtime and ctime, a read neither, a change of attributes ctime',
    `
    moved f put f x O_WRONLY = mtime,ctime
    moved f put f x O_WRONLY|O_APPEND = mtime,ctime
    moved f cat f = none
    moved f truncate f 1 = mtime,ctime
    moved f chmod f 600 = ctime
    moved f chown f 1 1 = ctime
    moved f setxattr f user.k v = ctime
    moved f removexattr f user.k = ctime
    moved f link f g = ctime
    moved f unlink g = ctime
    `,
  ),
  scripted(
    'mtime set after a write stays as it was set',
    `
    a := open new O_CREAT|O_RDWR
    write $a text
    utimens new 1 1111111111
    lstat new mtime = 1111111111
    close $a
    lstat new mtime = 1111111111
    b := open f O_RDWR
    write $b text
    futimens $b 1 2222222222
    close $b
    lstat f mtime = 2222222222
    `,
  ),
  scripted(
    'a copy-up leaves times as they were but for what changed',
    `
    t := lstat xa mtime
    chmod xa 600
    lstat xa mtime = $t
    setxattr xa user.k v
    lstat xa mtime = $t
    t2 := lstat d mtime
    t3 := lstat d/sub mtime
    put d/sub/deep changed
    lstat d mtime = $t2
    lstat d/sub mtime = $t3
    chmod d/f 600
    lstat d mtime = $t2
    put d/new x
    lstat d mtime != $t2
    a := open d/l3 O_WRONLY
    lstat l1 mtime = 1700000000000000000
    `,
  ),
];

export const attributeCases: Case[] = [...modes, ...owners, ...privileges, ...times];
