/** Bytes: write(2), truncate(2), fallocate(2), lseek(2), copy_file_range(2), O_APPEND, O_DIRECT, fsync(2). */
import type { Case } from '../../case.js';
import { lines, scripted } from '../../scripted.js';

const writing: Case[] = [
  scripted(
    'a write into a large lower file changes those bytes alone',
    `
    a := open big O_RDWR
    head := pread $a 100 0
    tail := pread $a 100 69900
    pwrite $a XYZ 40000 = 3
    pread $a 3 40000 = XYZ
    pread $a 100 0 = $head
    pread $a 100 69900 = $tail
    lstat big size = $bigSize
    b := open big O_RDONLY
    pread $b 3 40000 = XYZ
    `,
  ),
  scripted(
    'writes at the end, over the end and behind the end of a lower file',
    `
    a := open f O_RDWR
    pwrite $a XX 4 = 2
    cat f = hellXX
    pwrite $a end 10 = 3
    cat f = hellXX%00%00%00%00end
    lstat f size = 13
    b := open big O_RDWR
    pwrite $b z 200000 = 1
    lstat big size = 200001
    pread $b 3 199998 = %00%00z
    pread $b 1 100000 = %00
    pread $b 10 200001 = ''
    `,
  ),
  scripted(
    'an old descriptor for reading sees what another one wrote',
    `
    a := open f O_RDONLY
    b := open f O_RDONLY
    pread $a 5 0 = hello
    put f HELLO O_WRONLY
    pread $a 5 0 = HELLO
    pread $b 5 0 = HELLO
    truncate f 2
    pread $a 5 0 = HE
    fstat $a size = 2
    `,
  ),
  scripted(
    'offsets of a descriptor: read, write, lseek, past the end too',
    `
    a := open f O_RDWR
    read $a 2 = he
    write $a LL = 2
    read $a 5 = o
    lseek $a 0 SEEK_END = 5
    lseek $a -2 SEEK_CUR = 3
    lseek $a -9 SEEK_SET = EINVAL
    lseek $a 100 SEEK_SET = 100
    lstat f size = 5
    write $a x = 1
    lstat f size = 101
    cat f != x
    write $a '' = 0
    read $a 0 = ''
    `,
  ),
  scripted(
    'O_APPEND writes at the end wherever the offset is, pwrite too',
    `
    a := open f O_RDWR|O_APPEND
    lseek $a 0 SEEK_SET
    write $a 1 = 1
    cat f = hello1
    lseek $a 0 SEEK_SET
    read $a 2 = he
    write $a 2 = 1
    cat f = hello12
    lseek $a 0 SEEK_CUR = 7
    pwrite $a 3 0 = 1
    cat f = hello123
    put f 4 O_WRONLY|O_APPEND
    write $a 5 = 1
    cat f = hello12345
    `,
  ),
  scripted(
    'two processes that append to a lower file lose nothing of each other',
    `
    B& append_many f aaaaaaaaaaaaaaaaaaaa 300
    C& append_many f bbbbbbbbbb 300
    append_many f c 300
    B: wait
    C: wait
    word_counts f = a6000 b3000 c300 e1 h1 l2 o1
    lstat f size = 9305
    `,
  ),
  scripted(
    'many sizes and offsets about pages and requests',
    `
    a := open new O_CREAT|O_RDWR
    ${lines([0, 1, 4095, 4096, 4097, 65_535, 131_072, 1_048_577], (at) => `pwrite $a {w*5000} ${at} = 5000\npread $a 5000 ${at} = {w*5000}`)}
    lstat new size = 1053577
    pread $a 3 500000 = %00%00%00
    `,
  ),
  scripted(
    'a descriptor that is not for writing writes nothing',
    `
    a := open f O_RDONLY
    write $a x = EBADF
    ftruncate $a 0 = EINVAL|EBADF
    b := open f O_WRONLY
    read $b 1 = EBADF
    c := open d O_RDONLY|O_DIRECTORY
    read $c 1 = EISDIR
    write $c x = EBADF
    cat f = hello
    `,
  ),
  scripted(
    'O_DIRECT: whole blocks in and out, of lower and new files, coherent with the cache',
    `
    cat f = hello
    put new ''
    direct_write new 8192 0 = 8192
    lstat new size = 8192
    cat new = {d*8192}
    direct_read new 4096 4096 = {d*4096}
    s := sum big
    direct_read big 4096 0 != ''
    direct_write big 4096 4096 = 4096
    a := open big O_RDWR
    pread $a 2 4095 != dd
    pread $a 2 8190 = dd
    lstat big size = $bigSize
    pwrite $a XX 8190 = 2
    direct_read big 4096 4096 = {d*4094}XX
    direct_write big 4096 8192 = 4096
    pread $a 4 8190 = XXdd
    `,
  ),
  scripted(
    'fsync, fdatasync and syncfs succeed on what can be opened',
    `
    a := open f O_RDWR
    write $a x
    fsync $a
    fdatasync $a
    syncfs $a
    b := open d O_RDONLY|O_DIRECTORY
    fsync $b
    fdatasync $b
    c := open big O_RDONLY
    fsync $c
    d := open m O_RDONLY|O_DIRECTORY
    put m/x y
    fsync $d
    e := open new O_CREAT|O_RDWR|O_SYNC
    write $e x
    g := open new2 O_CREAT|O_RDWR|O_DSYNC
    write $g x
    `,
  ),
];

const truncating: Case[] = [
  scripted(
    'truncate of a lower file, shorter, longer and to nothing',
    `
    moved f truncate f 3 = mtime,ctime
    cat f = hel
    truncate f 6
    cat f = hel%00%00%00
    truncate f 0
    cat f = ''
    truncate f 2
    cat f = %00%00
    truncate big 5000
    lstat big size = 5000
    truncate big $bigSize
    a := open big O_RDONLY
    pread $a 3 4999 != %00%00%00
    pread $a 3 5000 = %00%00%00
    truncate l2 1
    cat d/l3 = l
    truncate z 100000
    lstat z size = 100000
    `,
  ),
  scripted(
    'shorter by less than a page leaves no old bytes behind the end',
    `
    a := open big O_RDWR
    pread $a 10 4000 != {%00*10}
    ftruncate $a 4000
    ftruncate $a 9000
    pread $a 4 4000 = %00%00%00%00
    pread $a 4 8996 = %00%00%00%00
    pwrite $a X 6000 = 1
    ftruncate $a 6001
    pread $a 5 5999 = %00X
    ftruncate $a 20000
    pread $a 3 6000 = X%00%00
    `.replace('{%00*10}', '%00'.repeat(10)),
  ),
  scripted(
    'the same length still moves mtime and ctime by truncate and ftruncate',
    `
    moved f truncate f 5 = mtime,ctime
    a := open f O_RDWR
    moved f ftruncate $a 5 = mtime,ctime
    cat f = hello
    `,
  ),
  scripted(
    'errors: directories, negative and enormous lengths, the way there, permissions',
    `
    truncate d 0 = EISDIR
    truncate m 0 = EISDIR
    truncate f -1 = EINVAL
    truncate none 0 = ENOENT
    truncate f/x 0 = ENOTDIR
    truncate loop 0 = ELOOP
    truncate dangling 0 = ENOENT
    truncate k/fifo 0 = EINVAL
    truncate k/char 0 = EINVAL
    @1000:1000 truncate f 0 = EACCES
    @1000:1000 truncate x/f 0 = EACCES
    @1000:1000 truncate own 1
    truncate s 1
    cat f = h
    `,
  ),
  scripted(
    'a file that is being run cannot be truncated or opened for writing',
    `
    copy /bin/sleep w/sleep
    B& exec w/sleep 2
    sleep 0.3
    truncate w/sleep 0 = ETXTBSY
    open w/sleep O_WRONLY = ETXTBSY
    B: kill
    `,
    {},
  ),
  scripted(
    'a terabyte of hole, and bytes at its end',
    `
    truncate new 0 = ENOENT
    a := open new O_CREAT|O_RDWR
    ftruncate $a 1024G
    pwrite $a end 1000000000000 = 3
    pread $a 5 999999999999 = %00end%00
    fstat $a size = 1099511627776
    ftruncate $a 10
    fstat $a size = 10
    `,
  ),
];

const space: Case[] = [
  scripted(
    'fallocate makes room, longer or not',
    `
    a := open f O_RDWR
    fallocate $a ALLOCATE 0 10000
    lstat f size = 10000
    fstat $a allocated > 9999
    pread $a 7 0 = hello%00%00
    fallocate $a KEEP_SIZE 0 100000
    lstat f size = 10000
    fallocate $a ALLOCATE 0 0 = EINVAL
    fallocate $a ALLOCATE -1 5 = EINVAL
    b := open f O_RDONLY
    fallocate $b ALLOCATE 0 10 = EBADF
    moved f fallocate $a ALLOCATE 0 20000 = mtime,ctime
    `,
  ),
  scripted(
    'fallocate punches holes in lower and new files',
    `
    a := open big O_RDWR
    moved big fallocate $a PUNCH_HOLE|KEEP_SIZE 4096 8192 = mtime,ctime
    lstat big size = $bigSize
    pread $a 4 4096 = %00%00%00%00
    pread $a 4 12284 = %00%00%00%00
    pread $a 2 4095 != %00%00
    pread $a 2 12287 != %00%00
    fallocate $a PUNCH_HOLE|KEEP_SIZE 100 50
    pread $a 3 100 = %00%00%00
    fallocate $a PUNCH_HOLE 0 10 = EOPNOTSUPP|EINVAL
    fallocate $a PUNCH_HOLE|KEEP_SIZE 60000 1M
    lstat big size = $bigSize
    pread $a 1 70000 = %00
    b := open new O_CREAT|O_RDWR
    pwrite $b {x*20000} 0
    fallocate $b PUNCH_HOLE|KEEP_SIZE 8192 4096
    pread $b 3 8191 = x%00%00
    pread $b 3 12286 = %00%00x
    `,
  ),
  scripted(
    'copy_file_range between lower and new files',
    `
    a := open big O_RDONLY
    b := open new O_CREAT|O_RDWR
    copy_file_range $a $b 50000 100 0 = 50000
    lstat new size = 50000
    x := pread $a 1000 40000
    pread $b 1000 39900 = $x
    c := open f O_RDWR
    copy_file_range $c $b 2 1 49999 = 2
    pread $b 5 49999 = el
    copy_file_range $b $c 3 0 5 = 3
    lstat f size = 8
    copy_file_range $a $b 10 100000 0 = 0
    copy_file_range $a $a 10 0 20 = EBADF
    d := open big O_RDWR
    copy_file_range $d $d 100 0 50 = EINVAL
    copy_file_range $d $d 100 0 1000 = 100
    y := pread $d 100 0
    pread $d 100 1000 = $y
    `,
  ),
  scripted(
    'sendfile out of a lower file and into a new one',
    `
    a := open big O_RDONLY
    b := open new O_CREAT|O_RDWR
    sendfile $b $a 70001 = 70001
    s := sum big
    sum new = $s
    `,
  ),
  scripted(
    'SEEK_DATA and SEEK_HOLE tell the holes of lower and new files',
    `
    a := open sparse O_RDONLY
    segments $a = 262144-327680 786432-851968
    lseek $a 0 SEEK_HOLE = 0
    lseek $a 300000 SEEK_DATA = 300000
    lseek $a 300000 SEEK_HOLE = 327680
    lseek $a 900000 SEEK_DATA = ENXIO
    lseek $a 2M SEEK_DATA = ENXIO
    lseek $a 900000 SEEK_HOLE = 900000
    b := open new O_CREAT|O_RDWR
    ftruncate $b 1M
    segments $b = (none)
    pwrite $b x 0
    lseek $b 0 SEEK_HOLE = 4096
    lseek $b 0 SEEK_DATA = 0
    c := open f O_RDONLY
    lseek $c 0 SEEK_HOLE = 5
    `,
  ),
  scripted(
    'a sparse lower file stays sparse when it is copied up',
    `
    chmod sparse 600
    lstat sparse allocated < 500000
    a := open sparse O_RDWR
    pwrite $a {x*4096} 524288 = 4096
    segments $a = 262144-327680 524288-528384 786432-851968
    lstat sparse size = 1048576
    pwrite $a x 0
    lstat sparse allocated < 500000
    lstat sparse allocated > 131071
    pread $a 4 500000 = %00%00%00%00
    `,
    { 'kernel overlayfs': 'copies in pieces of 1 MiB, and with one the holes in it (ovl_copy_up_file)' },
  ),
  scripted(
    'st_blocks of what was written covers it',
    `
    a := open new O_CREAT|O_RDWR
    write $a {x*100000}
    fsync $a
    fstat $a allocated > 99999
    ftruncate $a 0
    fstat $a blocks = 0
    `,
  ),
  scripted(
    'statfs says writable, names of 255 bytes and free space',
    lines(['.', 'f', 'd', 'm'], (path) => `statfs ${path} = 255 rw free`),
  ),
];

export const contentCases: Case[] = [...writing, ...truncating, ...space];
