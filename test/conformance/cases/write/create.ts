/** Making files: open(2) with O_CREAT, mkdir(2), mknod(2), mkfifo(3), symlink(2), bind(2). */
import type { Case } from '../../case.js';
import { KINDS, NON_DIRECTORIES } from '../../kit.js';
import { lines, scripted } from '../../scripted.js';

/** A call that makes one file of a kind at `path`, with a mode where it takes one. */
const MAKERS: Record<string, (path: string, mode?: string) => string> = {
  open: (path, mode = '644') => `open ${path} O_CREAT|O_EXCL|O_WRONLY ${mode}`,
  mkdir: (path, mode = '755') => `mkdir ${path} ${mode}`,
  mkfifo: (path, mode = '644') => `mkfifo ${path} ${mode}`,
  'mknod file': (path, mode = '644') => `mknod ${path} file ${mode}`,
  'mknod char': (path, mode = '644') => `mknod ${path} char ${mode} 1:3`,
  'mknod block': (path, mode = '644') => `mknod ${path} block ${mode} 7:201`,
  'mknod socket': (path, mode = '644') => `mknod ${path} socket ${mode}`,
  symlink: (path) => `symlink target ${path}`,
};
const MAKER_NAMES = Object.keys(MAKERS);
const KIND_OF: Record<string, string> = {
  open: 'file',
  mkdir: 'dir',
  mkfifo: 'fifo',
  'mknod file': 'file',
  'mknod char': 'char',
  'mknod block': 'block',
  'mknod socket': 'socket',
  symlink: 'symlink',
};
/** Those whose mode is theirs to choose. */
const WITH_MODE = MAKER_NAMES.filter((name) => name !== 'symlink');

const perMaker: Case[] = MAKER_NAMES.flatMap((name) => {
  const make = MAKERS[name]!;
  const isForRoot = /char|block/.test(name);
  const by = (user: string): string => (isForRoot ? '' : `@${user} `);
  const cases = [
    scripted(
      `${name}: what is made has its kind, its maker's ids and one name, and its directory's times move`,
      `
      moved d ${make('d/new')} = mtime,ctime
      lstat d/new type uid gid = ${KIND_OF[name]} 0 0
      ${by('1000:100')}${make('w/new')}
      lstat w/new type uid gid = ${KIND_OF[name]} ${isForRoot ? '0 0' : '1000 100'}
      moved w/new lstat w/new = none
      `,
    ),
    scripted(
      `${name}: EEXIST over every kind of lower file, and nothing is touched`,
      `
      before := lstat k ctime
      ${lines(KINDS, (kind) => `${make(`k/${kind}`)} = EEXIST\nlstat k/${kind} type = ${kind}`)}
      ${make('k/full')} = EEXIST
      ${make('dangling')} = EEXIST
      ${make('loop')} = EEXIST
      ${make('.')} = EEXIST
      lstat k ctime = $before
      cat k/file = kind
      `,
    ),
    scripted(
      `${name}: over each kind that was deleted before`,
      lines(
        NON_DIRECTORIES,
        (kind) => `
        unlink k/${kind}
        ${make(`k/${kind}`)}
        lstat k/${kind} type = ${KIND_OF[name]}
        remove k/${kind}
        gone k/${kind} = yes
        ${make(`k/${kind}`)}
        `,
      ) + `\nremove_tree k/full\n${make('k/full')}\nlstat k/full type = ${KIND_OF[name]}`,
    ),
    scripted(
      `${name}: ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG and EACCES on the way there`,
      `
      ${make('none/new')} = ENOENT
      ${make('f/new')} = ENOTDIR
      ${make('k/fifo/new')} = ENOTDIR
      ${make('s/new')} = ENOTDIR
      ${make('loop/new')} = ELOOP
      ${make('dangling/new')} = ENOENT
      ${make("''")} = ENOENT
      ${make('$name256')} = ENAMETOOLONG
      ${make('d/{n*256}')} = ENAMETOOLONG
      @1000:1000 ${make('d/new')} = ${isForRoot ? 'EACCES|EPERM' : 'EACCES'}
      @1000:1000 ${make('x/new')} = EACCES
      ${make('$name255')}
      lstat $name255 type = ${KIND_OF[name]}
      `,
    ),
  ];
  if (!WITH_MODE.includes(name)) return cases;
  return [
    ...cases,
    scripted(
      `${name}: the mode is what was asked without the umask`,
      `
      ${make('a', '0')}
      lstat a mode = 0000
      ${make('b', '777')}
      lstat b mode = 0777
      umask 27
      ${make('c', '777')}
      lstat c mode = 0750
      umask 777
      ${make('g', '777')}
      lstat g mode = 0000
      umask 0
      ${make('h', '1751')}
      lstat h mode = 1751
      `,
    ),
    scripted(
      `${name}: in a setgid directory the group is the directory's`,
      `
      ${make('sg/new', '644')}
      lstat sg/new gid mode = 100 ${KIND_OF[name] === 'dir' ? '2644' : '0644'}
      ${by('1000:1000')}${make('sg/by-user', '755')}
      lstat sg/by-user uid gid mode = ${isForRoot ? 0 : 1000} 100 ${KIND_OF[name] === 'dir' ? '2755' : '0755'}
      `,
    ),
  ];
});

const opening: Case[] = [
  scripted(
    'O_CREAT without O_EXCL opens what is there and leaves it as it was',
    `
    before := lstat f ctime
    a := open f O_RDWR|O_CREAT 600
    read $a 10 = hello
    lstat f mode = 0644
    b := open s O_RDWR|O_CREAT 600
    read $b 10 = hello
    c := open dangling O_RDWR|O_CREAT 640
    lstat nowhere type mode = file 0640
    lstat dangling type = symlink
    open d O_RDONLY|O_CREAT = EISDIR
    open d O_RDWR = EISDIR
    open d O_WRONLY = EISDIR
    open d O_RDONLY|O_TRUNC = EISDIR
    open loop O_RDONLY|O_CREAT = ELOOP
    `,
  ),
  scripted(
    'O_NOFOLLOW, O_DIRECTORY and O_PATH',
    `
    open s O_RDWR|O_NOFOLLOW = ELOOP
    open s O_RDWR|O_CREAT|O_NOFOLLOW = ELOOP
    open f O_RDONLY|O_DIRECTORY = ENOTDIR
    open sd O_RDONLY|O_DIRECTORY
    open sd O_RDONLY|O_DIRECTORY|O_NOFOLLOW = ENOTDIR
    a := open s O_PATH|O_NOFOLLOW
    fstat $a type = symlink
    b := open f O_PATH
    read $b 1 = EBADF
    fchmod $b 600 = EBADF
    `,
  ),
  scripted(
    'O_TRUNC empties lower and upper files, through links too, and moves their times',
    `
    moved f open f O_WRONLY|O_TRUNC = mtime,ctime
    lstat f size = 0
    cat f = ''
    open l1 O_RDWR|O_TRUNC
    cat d/l3 = ''
    lstat l2 size nlink = 0 3
    put f again
    open f O_RDWR|O_CREAT|O_TRUNC
    cat f = ''
    open xa O_WRONLY|O_TRUNC
    lstat xa mode uid gid size = 0640 3 4 0
    listxattr xa = trusted.t user.one user.two
    `,
  ),
  scripted(
    'O_TRUNC with O_RDONLY truncates for who may write, and fails for who may not',
    `
    @2000:2000 open f O_RDONLY|O_TRUNC = EACCES
    cat f = hello
    @2000:2000 open f O_WRONLY|O_TRUNC = EACCES
    @1000:1000 open p/f O_RDONLY|O_TRUNC
    cat p/f = ''
    `,
  ),
  scripted(
    'a new file may be opened for writing whatever its mode says',
    `
    @1000:1000 a := open w/new O_CREAT|O_RDWR 0
    write $a text = 4
    pread $a 4 0 = text
    @1000:1000 open w/new O_RDONLY = EACCES
    @1000:1000 b := open w/ro O_CREAT|O_WRONLY 444
    write $b text = 4
    @1000:1000 open w/ro O_WRONLY = EACCES
    `,
  ),
  scripted(
    'O_EXCL refuses what exists, and makes what was deleted, once',
    `
    open f O_CREAT|O_EXCL = EEXIST
    open s O_CREAT|O_EXCL = EEXIST
    open dangling O_CREAT|O_EXCL = EEXIST
    unlink f
    a := open f O_CREAT|O_EXCL|O_RDWR 600
    open f O_CREAT|O_EXCL = EEXIST
    fstat $a size mode nlink = 0 0600 1
    unlink nowhere = ENOENT
    `,
  ),
  scripted(
    'devices and FIFOs open as what they are: no content of the filesystem',
    `
    a := open k/char O_RDWR
    read $a 10 = ''
    write $a x = 1
    b := open k/fifo O_RDONLY|O_NONBLOCK
    c := open k/fifo O_WRONLY
    write $c through = 7
    read $b 10 = through
    open k/socket O_RDWR = ENXIO
    mkfifo new
    e := open new O_RDWR
    write $e x = 1
    lstat new size = 0
    `,
  ),
  scripted(
    'mknod: device numbers are kept, also large ones, and survive what changes the inode',
    `
    mknod c char 600 259:1000000
    lstat c type rdev mode = char 259:1000000 0600
    chmod k/block 600
    lstat k/block type rdev mode = block 7:200 0600
    chown k/char 5 6
    lstat k/char type rdev uid gid = char 1:3 5 6
    rename k/block moved
    lstat moved type rdev = block 7:200
    `,
  ),
  scripted(
    'mknod of a device is for root alone; a FIFO and a socket for everyone',
    `
    @1000:1000 mknod w/c char 644 1:3 = EPERM
    @1000:1000 mknod w/b block 644 7:0 = EPERM
    gone w/c = yes
    @1000:1000 mknod w/p fifo
    @1000:1000 mknod w/s socket
    @1000:1000 mknod w/f2 file
    mknod w/d dir = EPERM
    `,
  ),
  scripted(
    'a device 0:0 cannot be made, because that is how a hidden name is written',
    `
    mknod c char 600 0:0 = EPERM
    gone c = yes
    mknod b block 600 0:0
    lstat b type rdev = block 0:0
    `,
    { 'plain directory': 'has no names to hide' },
  ),
  scripted(
    'a bound socket is a name of its kind, bound once',
    `
    bind new
    lstat new type = socket
    bind new = EADDRINUSE
    bind k/socket = EADDRINUSE
    unlink k/socket
    bind k/socket
    lstat k/socket type = socket
    `,
  ),
  scripted(
    'symlinks hold any text to 4,095 bytes, and are not resolved when made',
    `
    symlink {x*4095} long
    readlink long = {x*4095}
    lstat long size mode type = 4095 0777 symlink
    symlink {x*4096} longer = ENAMETOOLONG
    symlink '' nothing = ENOENT
    symlink %ff%0a/../.. odd
    readlink odd = %ff%0a/../..
    symlink d/f there
    cat there = inside
    symlink there again
    cat again = inside
    symlink e new/ = ENOENT
    `,
  ),
  scripted(
    'a trailing slash asks for a directory',
    `
    mkdir new/
    lstat new type = dir
    open other/ O_CREAT|O_WRONLY = EISDIR
    open f/ O_RDONLY = ENOTDIR
    mknod other/ file = ENOENT
    mkdir f/ = EEXIST
    rmdir new/
    `,
  ),
  scripted(
    'mkdir counts in the link count of the parent, and rmdir back',
    `
    mkdir new
    lstat new nlink = 2
    mkdir new/a
    mkdir new/b
    lstat new nlink = 4
    rmdir new/a
    lstat new nlink = 3
    `,
  ),
  scripted(
    'a new directory is empty, where a lower one of that name was as well',
    `
    mkdir new
    ls new = (none)
    remove_tree d
    mkdir d
    ls d = (none)
    open d/f O_RDONLY = ENOENT
    open d/sub/deep O_RDONLY = ENOENT
    put d/f mine
    ls d = f
    remove_tree d
    mkdir d
    ls d = (none)
    remove_tree m
    mkdir m
    ls m = (none)
    mkdir m/sub
    ls m/sub = (none)
    `,
  ),
  scripted(
    'O_TMPFILE: a file without a name, which may be given one',
    `
    a := open d O_TMPFILE|O_RDWR 640
    ls d = e f l3 sub
    write $a secret = 6
    fstat $a nlink mode size = 0 0640 6
    flink $a d/named
    fstat $a nlink = 1
    cat d/named = secret
    b := open d O_TMPFILE|O_RDWR|O_EXCL
    flink $b d/other = ENOENT
    open d O_TMPFILE|O_RDONLY = EINVAL
    open f O_TMPFILE|O_RDWR = ENOTDIR
    @1000:1000 open d O_TMPFILE|O_RDWR = EACCES
    `,
  ),
];

export const createCases: Case[] = [...perMaker, ...opening];
