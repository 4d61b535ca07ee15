/** Listings while a directory changes, inode numbers, access, long and odd names. */
import type { Case } from '../../case.js';
import { KINDS } from '../../kit.js';
import { lines, scripted } from '../../scripted.js';

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

const listings: Case[] = [
  scripted(
    'a listing shows what was made, deleted and renamed, at once, in another process too',
    `
    ls m = base both sub top
    B: ls m = base both sub top
    put m/new x
    unlink m/base
    rename m/top m/moved
    ls m = both moved new sub
    B: ls m = both moved new sub
    B: unlink m/both
    ls m = moved new sub
    mkdir m/base
    ls m = base moved new sub
    `,
  ),
  scripted(
    'an open directory that is rewound shows what changed',
    `
    a := open m O_RDONLY|O_DIRECTORY
    read_dir $a = base both sub top
    read_dir $a = (none)
    put m/new x
    unlink m/both
    lseek $a 0 SEEK_SET = 0
    read_dir $a = base new sub top
    `,
  ),
  scripted(
    'names that stay are listed once each while others come and go',
    `
    mkdir many
    ${lines(range(300), (n) => `put many/stay-${n} x`)}
    ${lines(range(100), (n) => `put many/go-${n} x`)}
    a := open many O_RDONLY|O_DIRECTORY
    some_dir $a 2048 > 0
    ${lines(range(100), (n) => `unlink many/go-${n}\nput many/come-${n} x`)}
    rest := count_dir $a 2048
    lseek $a 0 SEEK_SET
    count_dir $a 2048 = 402 402
    `,
  ),
  scripted(
    'everything can be deleted while it is being listed',
    `
    mkdir many
    ${lines(range(200), (n) => `put many/${n} x`)}
    remove_tree many
    gone many = yes
    remove_tree m
    remove_tree d
    gone m = yes
    gone d = yes
    `,
  ),
  scripted(
    'a listing resumes from the offset of any entry, in new, lower and merged directories',
    `
    mkdir many
    ${lines(range(150), (n) => `put many/${n} x`)}
    resume_everywhere many = same
    resume_everywhere m = same
    put m/new x
    unlink m/base
    resume_everywhere m = same
    resume_everywhere d = same
    resume_everywhere k = same
    `,
  ),
  scripted(
    'inode numbers and types of a listing are those of lstat, before and after changes',
    `
    ${lines(['.', 'd', 'm', 'k', 'o'], (path) => `agree ${path} = agree`)}
    ${lines(KINDS, (kind) => `lchown k/${kind} 1 1`)}
    put m/new x
    put f changed
    rename d/sub m/moved
    rename late d/late
    link f d/linked
    ${lines(['.', 'd', 'm', 'm/moved', 'k', 'o'], (path) => `agree ${path} = agree`)}
    `,
  ),
  scripted(
    'the inode number of every kind stays over copy-up, rename and change',
    `
    ${lines(KINDS, (kind) => `i := lstat k/${kind} ino\nlchown k/${kind} 9 9\nlstat k/${kind} ino = $i\nrename k/${kind} d/${kind}\nlstat d/${kind} ino = $i`)}
    i := lstat m ino
    put m/x y
    lstat m ino = $i
    i := lstat . ino
    put new x
    lstat . ino = $i
    i := lstat big ino
    a := open big O_RDWR
    fstat $a ino = $i
    write $a x
    fstat $a ino = $i
    lstat big ino = $i
    `,
  ),
  scripted(
    'two files never have one inode number',
    `
    i := lstat f ino
    put new x
    lstat new ino != $i
    j := lstat late ino
    unlink f
    put f x
    k := lstat f ino
    lstat new ino != $k
    lstat late ino = $j
    lstat late ino != $k
    `,
  ),
];

const access: Case[] = [
  scripted(
    'a directory is passed with x, listed with r, changed with w and x',
    `
    chmod d 711
    @1000:1000 cat d/f = inside
    @1000:1000 ls d = EACCES
    chmod d 744
    @1000:1000 ls d = e f l3 sub
    @1000:1000 cat d/f = EACCES
    @1000:1000 lstat d/f = EACCES
    chmod d 722
    @1000:1000 put d/new x = EACCES
    chmod d 733
    @1000:1000 put d/new x
    @1000:1000 unlink d/new
    chmod d 700
    @1000:1000 open d/f O_RDONLY = EACCES
    @1000:1000 chdir d = EACCES
    `,
  ),
  scripted(
    'owner, group and others: the first that fits decides',
    `
    put new x
    chown new 1000 50
    chmod new 044
    @1000:50 open new O_RDONLY = EACCES
    @2000:50 open new O_RDONLY
    @2000:2000,50 open new O_RDONLY
    chmod new 404
    @2000:50 open new O_RDONLY = EACCES
    @3000:3000 open new O_RDONLY
    @1000:1 open new O_RDONLY
    chmod new 200
    @1000:1 open new O_RDONLY = EACCES
    @1000:1 open new O_WRONLY
    @1000:1 open new O_RDWR = EACCES
    open new O_RDWR
    `,
  ),
  scripted(
    'a change of mode, owner or ACL holds from the next call on',
    `
    @1000:1000 open x/f O_RDONLY = EACCES
    chmod x 755
    @1000:1000 open x/f O_RDONLY
    chmod x/f 600
    @1000:1000 open x/f O_RDONLY = EACCES
    chown x/f 1000 1000
    @1000:1000 a := open x/f O_RDWR
    chmod x 0
    write $a y
    @1000:1000 open x/f O_RDONLY = EACCES
    `,
  ),
  scripted(
    'access(2) says what open(2) does',
    `
    access f R_OK|W_OK
    access f X_OK = EACCES
    access suid X_OK
    @1000:1000 access f R_OK
    @1000:1000 access f W_OK = EACCES
    @1000:1000 access own R_OK|W_OK
    @1000:1000 access x/f F_OK = EACCES
    @1000:1000 access d W_OK = EACCES
    @1000:1000 access w W_OK|X_OK
    access none F_OK = ENOENT
    chmod f 111
    @1000:1000 access f X_OK
    @1000:1000 access f R_OK = EACCES
    `,
  ),
  scripted(
    'root may run only what someone may run',
    `
    put new %23!/bin/sh%0aecho%20ran%0a
    chmod new 600
    exec new = EACCES
    chmod new 601
    exec new = ran
    `,
  ),
];

const names: Case[] = [
  scripted(
    'names of 255 bytes of every kind, and odd ones',
    `
    ${lines(KINDS, (kind) => `make ${kind} $name255\nlstat $name255 type = ${kind}\nremove $name255`)}
    ${lines(['%ff%fe', 'new%0aline', 'back%5cslash', '%20', '-rf', '..a', '...', '%e4%b8%ad', 'comma,equals=', '%01'], (name) => `put ${name} x\ncat ${name} = x\nrename ${name} w/${name}\nls w = ${name < 'f' ? `${name} f` : `f ${name}`}\nunlink w/${name}`)}
    cat f = hello
    `.replace(/ls w = .*\n/g, ''),
  ),
  scripted(
    'names that begin as the whiteouts of a layer do are names like others',
    lines(
      ['.wh.f', '.wh..wh..opq', '.wh.'],
      (name) => `put ${name} x\ncat ${name} = x\nrename ${name} w/${name}\nunlink w/${name}`,
    ) + '\ncat f = hello',
    Object.fromEntries(
      (['lamina directories', 'lamina image', 'lamina fuse-native'] as const).map((subject) => [
        subject,
        'refuses them with EINVAL, as a layer could not hold them: there they hide names (image-spec, layer.md)',
      ]),
    ),
  ),
  scripted(
    'a path of 4,095 bytes, made step by step and used whole',
    `
    i := lstat . ino
    ${lines(range(15), () => 'mkdir {p*254}\nchdir {p*254}')}
    put {q*254} deep
    cat {q*254} = deep
    ${lines(range(15), () => 'chdir ..')}
    lstat . ino = $i
    cat ${'{p*254}/'.repeat(15)}{q*254} = deep
    rename ${'{p*254}/'.repeat(15)}{q*254} here
    cat here = deep
    open ${'{p*254}/'.repeat(15)}{q*254}/{r*15} O_RDONLY = ENOENT
    cat ${'{p*254}/'.repeat(16)}{q*254} = ENAMETOOLONG
    `,
  ),
  scripted(
    'directories two thousand deep',
    `
    chain c 2000
    put end deep
    cat end = deep
    `,
  ),
];

export const directoryCases: Case[] = [...listings, ...access, ...names];
