/** flock(2) and fcntl(2) locks between processes. */
import type { Case } from '../../case.js';
import { lines, scripted } from '../../scripted.js';

export const lockCases: Case[] = ['f', 'w/f', 'new']
  .flatMap((path) => {
    const made = path === 'new' ? 'put new x' : '';
    return [
      scripted(
        `flock of ${path}: shared ones together, an exclusive one alone`,
        `
      ${made}
      a := open ${path} O_RDWR
      B: b := open ${path} O_RDONLY
      flock $a LOCK_SH|LOCK_NB
      B: flock $b LOCK_SH|LOCK_NB
      B: flock $b LOCK_EX|LOCK_NB = EAGAIN
      flock $a LOCK_UN
      B: flock $b LOCK_EX|LOCK_NB
      flock $a LOCK_SH|LOCK_NB = EAGAIN
      B: kill
      flock $a LOCK_EX|LOCK_NB
      `,
      ),
      scripted(
        `fcntl locks of ${path} stand between processes`,
        `
      ${made}
      a := open ${path} O_RDWR
      lock $a LOCK_EX|LOCK_NB
      B: lock $a LOCK_EX|LOCK_NB = EAGAIN|EACCES
      B: lock $a LOCK_SH|LOCK_NB = EAGAIN|EACCES
      B: get_lock $a LOCK_SH = LOCK_EX
      lock $a LOCK_UN
      B: lock $a LOCK_SH|LOCK_NB
      lock $a LOCK_SH|LOCK_NB
      lock $a LOCK_EX|LOCK_NB = EAGAIN|EACCES
      get_lock $a LOCK_EX = LOCK_SH
      B: kill
      lock $a LOCK_EX|LOCK_NB
      `,
      ),
      scripted(
        `ranges of ${path} are locked apart from each other`,
        `
      ${made}
      a := open ${path} O_RDWR
      lock $a LOCK_EX|LOCK_NB 0 10
      B: lock $a LOCK_EX|LOCK_NB 10 10
      B: lock $a LOCK_EX|LOCK_NB 5 1 = EAGAIN|EACCES
      lock $a LOCK_EX|LOCK_NB 15 1 = EAGAIN|EACCES
      B: lock $a LOCK_UN 10 10
      lock $a LOCK_EX|LOCK_NB 15 1
      `,
      ),
      scripted(
        `a process waits for the lock of ${path} until it is free`,
        `
      ${made}
      a := open ${path} O_RDWR
      lock $a LOCK_EX
      B& lock $a LOCK_EX
      B: blocked = yes
      lock $a LOCK_UN
      B: wait
      lock $a LOCK_SH|LOCK_NB = EAGAIN|EACCES
      `,
      ),
      scripted(
        `locks of an open file description of ${path}`,
        `
      ${made}
      a := open ${path} O_RDWR
      b := open ${path} O_RDWR
      ofd_lock $a LOCK_EX
      ofd_lock $b LOCK_EX = EAGAIN|EACCES
      close $a
      ofd_lock $b LOCK_EX
      flock $b LOCK_EX
      c := open ${path} O_RDONLY
      flock $c LOCK_SH|LOCK_NB = EAGAIN
      flock $b LOCK_UN
      flock $c LOCK_SH|LOCK_NB
      flock $b LOCK_EX|LOCK_NB = EAGAIN
      flock $b LOCK_SH|LOCK_NB
      `,
      ),
    ];
  })
  .concat([
    scripted(
      'all names of a file are locked as one, and a lock does not outlive its descriptors',
      `
    a := open l1 O_RDWR
    b := open d/l3 O_RDWR
    flock $a LOCK_EX
    flock $b LOCK_EX|LOCK_NB = EAGAIN
    close $a
    flock $b LOCK_EX|LOCK_NB
    ${lines(['l1', 'l2'], (path) => `c := open ${path} O_RDWR\nflock $c LOCK_SH|LOCK_NB = EAGAIN\nclose $c`)}
    unlink l1
    c := open l2 O_RDWR
    flock $c LOCK_SH|LOCK_NB = EAGAIN
    `,
    ),
    scripted(
      'a directory can be flocked',
      `
    a := open d O_RDONLY|O_DIRECTORY
    b := open d O_RDONLY|O_DIRECTORY
    flock $a LOCK_EX
    flock $b LOCK_SH|LOCK_NB = EAGAIN
    close $a
    flock $b LOCK_SH|LOCK_NB
    `,
    ),
  ]);
