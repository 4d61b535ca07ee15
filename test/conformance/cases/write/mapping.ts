/** mmap(2) and execve(2): pages of lower and new files, and none that is stale after a copy-up. */
import type { Case } from '../../case.js';
import { scripted } from '../../scripted.js';

export const mappingCases: Case[] = [
  scripted(
    'a shared map writes into a lower file',
    `
    a := open big O_RDWR
    m := mmap $a PROT_READ|PROT_WRITE MAP_SHARED 70001
    h := peek $m 0 10
    pread $a 10 0 = $h
    poke $m 5000 mapped
    pread $a 6 5000 = mapped
    pwrite $a WRITTEN 6000 = 7
    peek $m 6000 7 = WRITTEN
    msync $m
    munmap $m
    b := open big O_RDONLY
    pread $b 6 5000 = mapped
    pread $b 7 6000 = WRITTEN
    lstat big size = $bigSize
    `,
  ),
  scripted(
    'msync moves mtime and ctime',
    `
    a := open big O_RDWR
    m := mmap $a PROT_READ|PROT_WRITE MAP_SHARED 8192
    t := lstat big mtime
    poke $m 0 x
    msync $m
    lstat big mtime != $t
    `,
  ),
  scripted(
    'a private map keeps its changes to itself',
    `
    a := open big O_RDONLY
    m := mmap $a PROT_READ|PROT_WRITE MAP_PRIVATE 70001
    before := pread $a 3 100
    poke $m 100 xyz
    peek $m 100 3 = xyz
    pread $a 3 100 = $before
    munmap $m
    lstat big size = $bigSize
    `,
  ),
  scripted(
    'two processes share a map of a new file',
    `
    a := open new O_CREAT|O_RDWR
    ftruncate $a 8192
    m := mmap $a PROT_READ|PROT_WRITE MAP_SHARED 8192
    poke $m 0 parent
    B: b := open new O_RDWR
    B: n := mmap $b PROT_READ|PROT_WRITE MAP_SHARED 8192
    B: peek $n 0 6 = parent
    B: poke $n 4096 child
    peek $m 4096 5 = child
    `,
  ),
  scripted(
    'a map outlives its descriptor and its name',
    `
    a := open f O_RDWR
    m := mmap $a PROT_READ|PROT_WRITE MAP_SHARED 4096
    close $a
    poke $m 0 J
    cat f = Jello
    unlink f
    poke $m 1 E
    peek $m 0 5 = JEllo
    msync $m
    munmap $m
    `,
  ),
  scripted(
    'a page that was cached from the lower file is not shown once the file has changed',
    `
    s := sum big
    put big NEW O_WRONLY
    a := open big O_RDONLY
    pread $a 3 0 = NEW
    m := mmap $a PROT_READ MAP_SHARED 70001
    peek $m 0 3 = NEW
    put big AGAIN O_WRONLY
    peek $m 0 5 = AGAIN
    pread $a 5 0 = AGAIN
    `,
  ),
  scripted(
    'a map made before the copy-up shows what is written after it',
    `
    a := open big O_RDONLY
    m := mmap $a PROT_READ MAP_SHARED 70001
    h := peek $m 0 5
    put big HELLO O_WRONLY
    peek $m 0 5 = HELLO
    `,
    { 'kernel overlayfs': 'a map made before the copy-up stays with the lower file (overlayfs.rst)' },
  ),
  scripted(
    'truncation is seen in a map, and what comes back after it is zero',
    `
    a := open big O_RDWR
    m := mmap $a PROT_READ|PROT_WRITE MAP_SHARED 70001
    peek $m 5000 1 != %00
    ftruncate $a 5000
    ftruncate $a 70001
    peek $m 4999 1 != %00
    peek $m 5000 3 = %00%00%00
    poke $m 5001 x
    pread $a 3 5000 = %00x%00
    fallocate $a PUNCH_HOLE|KEEP_SIZE 0 4096
    peek $m 0 3 = %00%00%00
    `,
  ),
  scripted(
    'writing through a map of a file opened for reading is EACCES',
    `
    a := open f O_RDONLY
    mmap $a PROT_READ|PROT_WRITE MAP_SHARED 4096 = EACCES
    mmap $a PROT_READ|PROT_WRITE MAP_PRIVATE 4096
    b := open f O_WRONLY
    mmap $b PROT_WRITE MAP_SHARED 4096 = EACCES
    `,
  ),
  scripted(
    'a program runs once it is written, and what was changed is what runs',
    `
    copy /bin/echo new
    exec new text = text
    put w/script #!/bin/sh%0aecho%20one%0a O_CREAT|O_WRONLY
    exec w/script = EACCES
    chmod w/script 755
    exec w/script = one
    put w/script #!/bin/sh%0aecho%20two%0a O_WRONLY|O_TRUNC
    exec w/script = two
    rename w/script w/moved
    exec w/moved = two
    link w/moved w/linked
    exec w/linked = two
    `.replaceAll('#!/', '%23!/'),
  ),
  scripted(
    'a file that is open for writing does not run',
    `
    copy /bin/echo new
    a := open new O_WRONLY
    exec new x = ETXTBSY
    close $a
    exec new x = x
    `,
  ),
];
