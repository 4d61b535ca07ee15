/** A root filesystem of Debian's busybox-static: one program under many names, users and groups of its own. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const BUSYBOX = '/bin/busybox';

export function hasBusybox(): boolean {
  return existsSync(BUSYBOX);
}

export const PASSWD = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/sh
worker:x:1234:2345:A worker:/home/worker:/bin/sh
`;
export const GROUP = `root:x:0:
daemon:x:1:
workers:x:2345:
audio:x:29:daemon,worker
video:x:44:worker
`;

/** Fills `directory`, which is made. */
export function busyboxRoot(directory: string): string {
  for (const name of ['bin', 'etc', 'root', 'tmp', 'home/worker', 'var'])
    mkdirSync(join(directory, name), { recursive: true });
  copyFileSync(BUSYBOX, join(directory, 'bin/busybox'));
  const applets = execFileSync(BUSYBOX, ['--list'], { encoding: 'utf8' }).trim().split('\n');
  for (const applet of applets)
    if (applet !== 'busybox') symlinkSync('busybox', join(directory, 'bin', applet));
  writeFileSync(join(directory, 'etc/passwd'), PASSWD);
  writeFileSync(join(directory, 'etc/group'), GROUP);
  return directory;
}
