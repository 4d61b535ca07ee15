/**
 * The command line of fuse-overlayfs: each option is taken or refused by lamina-fuse as it is by Debian's fuse-overlayfs,
 * run side by side, and means the same.
 */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { byBoth, DropIn, shellOk } from '../helpers/side-by-side.js';
import type { Program } from '../helpers/side-by-side.js';
import { needs, requirement } from '../helpers/require.js';
import { isServerBuilt } from '../helpers/server-binary.js';

const able =
  needs('root', '/dev/fuse', 'command fuse-overlayfs', 'command setfacl', 'command setfattr') &&
  requirement('the built server (npm run build)', isServerBuilt());

const LOWER =
  'echo a > a; echo b > b; mkdir d; echo c > d/c; ln -s a s; chown 1:2 a; chown 50:60 b; chown -R 3:4 d; chown -h 5:6 s';

/** Mount flags that an option can change; the rest of the table's words are the programs' own. */
const FLAGS = ['ro', 'rw', 'nosuid', 'nodev', 'noexec', 'allow_other', 'default_permissions'];

const COMPLETE = 'lowerdir=l,upperdir=u,workdir=w';

describe.skipIf(!able)('options that fuse-overlayfs knows', () => {
  const outcome = (args: readonly string[]) =>
    byBoth(LOWER, (bench, program) => {
      const { status } = bench.run(program, ...args);
      const flags = bench.options()?.filter((option) => FLAGS.includes(option));
      return { status, flags, shown: flags && bench.inside('stat -c "%n %u:%g %a %F" . a b d/c s') };
    });

  it.each([
    [''],
    ['uidmapping=0:1000:1:1:2000:100,gidmapping=0:2000:100'],
    ['uidmapping=:0:1000:100'],
    ['uidmapping=x'],
    ['uidmapping=0:1000'],
    ['gidmapping=0:1:x'],
    ['squash_to_root'],
    ['squash_to_uid=7'],
    ['squash_to_gid=7'],
    ['squash_to_uid=x'],
    ['squash_to_root,squash_to_uid=7'],
    ['squash_to_gid=7,squash_to_root'],
    ['squash_to_uid=5,uidmapping=0:1000:10'],
    ['static_nlink'],
    ['noacl'],
    ['volatile'],
    ['timeout=5'],
    ['threaded=1,fsync=0,fast_ino=1,writeback=0'],
    ['xattr_permissions=2'],
    ['xattr_permissions=9'],
    ['xino=off'],
    ['redirect_dir=off'],
    ['plugins=nothing'],
    ['ro'],
    ['nosuid,nodev,noexec'],
    ['suid,dev,exec'],
    ['noatime'],
    ['max_write=4096,max_idle_threads=2,clone_fd'],
    ['fsname=other,subtype=other'],
  ])('takes or refuses "%s" alike', (options) => {
    const both = outcome(['-o', options === '' ? COMPLETE : `${COMPLETE},${options}`, 'm']);
    expect(both.lamina).toEqual(both['fuse-overlayfs']);
  });

  it.each([
    [['-o', 'lowerdir=l,workdir=w', 'm']],
    [['-o', 'lowerdir=l:d,upperdir=u,workdir=w', 'm']],
    [['-olowerdir=l,upperdir=u,workdir=w', 'm']],
    [['-o', 'lowerdir=l', '-o', 'upperdir=u,workdir=w', 'm']],
    [['m', '-o', COMPLETE]],
    [['--debug', '-o', COMPLETE, 'm']],
    [['-o', 'lowerdir=l,upperdir=u', 'm']],
    [['-o', 'upperdir=u,workdir=w', 'm']],
    [['-o', 'lowerdir=none,upperdir=u,workdir=w', 'm']],
    [['-o', 'lowerdir=l,upperdir=none,workdir=w', 'm']],
    [['-o', 'lowerdir=l,upperdir=u,workdir=none', 'm']],
    [['-o', COMPLETE, 'none']],
    [['-o', COMPLETE]],
    [['-o']],
    [['m']],
    [[]],
    [['--help']],
    [['-h']],
    [['--version']],
    [['-V']],
  ])('has the exit status of fuse-overlayfs for %j', (args) => {
    const both = outcome(args);
    const blank = ({ status, flags, shown }: (typeof both)['lamina']) => ({
      status,
      // Without an upper it shows "rw", and answers EROFS to everything.
      flags: args.some((arg) => arg.includes('upperdir')) ? flags : flags !== undefined,
      shown,
    });
    expect(blank(both.lamina)).toEqual(blank(both['fuse-overlayfs']));
  });

  // fuse-overlayfs says that it ignores them, and mounts.
  it.each([
    [['-o', `${COMPLETE},bogus`, 'm']],
    [['-o', `${COMPLETE},bogus=1`, 'm']],
    [['--bogus', '-o', COMPLETE, 'm']],
  ])('refuses %j, which nobody knows', (args) => {
    const { lamina } = outcome(args);
    expect(lamina).toEqual({ status: 1, flags: undefined, shown: undefined });
  });
});

/** Changes of every kind, by root and by another user, and what is then shown. */
const CHANGES = `chown 1010:2010 b; touch new; mkdir nd; ln -s x ns; mkfifo nf; echo x >> a; mv d e; mv e/c e/cc; chmod 4711 a
  chown -h 1005:2005 s; chown 99:99 nd; ln a al; chmod 777 nd
  setpriv --reuid 1001 --regid 2001 --clear-groups sh -c 'touch e/x nd/x; touch nd/y; chmod 600 nd/y'; chgrp 2007 nd/y
  chmod g+s nd; touch nd/z; stat -c "%n %u:%g %a" . a b new nd ns nf e e/cc s al nd/x nd/y nd/z`;

describe.skipIf(!able)('what the options mean', () => {
  const same = (options: string, use: (bench: DropIn, program: Program) => string): void => {
    const both = byBoth(LOWER, (bench, program) => {
      expect(bench.mount(program, options).status).toBe(0);
      const shown = use(bench, program);
      expect(shown).not.toBe('');
      return shown;
    });
    expect(both.lamina).toBe(both['fuse-overlayfs']);
  };
  /** Owners and modes in the upper, without what each program leaves there for itself. */
  const onDisk = (bench: DropIn): string => {
    bench.umount();
    const find = String.raw`find . ! -name '.wh*' ! -type c -printf '%p %y %U:%G %m\n' | sort`;
    return shellOk(find, join(bench.base, 'u'));
  };

  it.each([
    'uidmapping=0:1000:100,gidmapping=0:2000:100',
    'uidmapping=0:0:1:1:1000:99,gidmapping=0:0:1:1:2000:99',
    'volatile',
  ])('shows and stores owners alike with %s', (options) =>
    same(options, (bench) => bench.inside(CHANGES) + onDisk(bench)),
  );

  // On disk we keep a lower file's owner at its copy-up; fuse-overlayfs writes the squashed one to some of them.
  it.each([
    'squash_to_root',
    'squash_to_uid=1001,squash_to_gid=2001',
    'squash_to_uid=1001',
    'squash_to_root,squash_to_gid=2001',
    'squash_to_uid=1001,uidmapping=0:1000:100,gidmapping=0:2000:100',
  ])('shows owners alike with %s', (options) => same(options, (bench) => bench.inside(CHANGES)));

  it('hides all attributes with noxattrs', () => {
    same('noxattrs=1', (bench) =>
      bench.inside('setfattr -n user.x -v y a; getfattr -n user.x a; getfattr -d -m - a; getfattr -d -m - d'),
    );
  });

  it('keeps ACLs, and knows none with noacl', () => {
    const script = 'setfacl -m u:7:r a && getfacl -n a | grep user:7';
    same('', (bench) => bench.inside(script));
    const both = byBoth(LOWER, (bench, program) => {
      expect(bench.mount(program, 'noacl').status).toBe(0);
      return bench.inside(`getfacl -n a; ${script}`);
    });
    expect(both.lamina).toMatch(/^# file: a[^]*Operation not supported\n$/);
  });

  // Debian's fuse-overlayfs still writes an attribute of its own; this is containers/storage's (pkg/idtools).
  it('keeps owners and modes in an attribute with xattr_permissions=2', () => {
    const bench = new DropIn(LOWER);
    try {
      const options = 'xattr_permissions=2';
      expect(bench.mount('lamina', options).status).toBe(0);
      bench.inside(
        'chown 1010:2010 b; chmod 4711 b; mkdir nd; chmod 1777 nd; mkfifo -m 640 p; mknod -m 600 t c 4 7',
      );
      bench.umount();
      const read =
        'for f in b nd p t; do getfattr --only-values -n user.containers.override_stat u/$f; echo; done';
      expect(shellOk(read, bench.base)).toBe(
        '1010:2010:4711:file\n0:0:1777:dir\n0:0:0640:pipe\n0:0:0600:char-4-7\n',
      );
      expect(shellOk('stat -c "%u:%g %a %F" u/b u/t', bench.base)).toBe(
        '0:0 600 regular file\n0:0 600 regular empty file\n',
      );
      // Without the option too: the upper's root says how its owners are kept.
      for (const again of [options, '']) {
        expect(bench.mount('lamina', again).status).toBe(0);
        expect(bench.inside('stat -c "%n %u:%g %a %F %t:%T" b nd p t; getfattr -m - b')).toBe(
          'b 1010:2010 4711 regular file 0:0\nnd 0:0 1777 directory 0:0\np 0:0 640 fifo 0:0\n' +
            't 0:0 600 character special file 4:7\n',
        );
        bench.umount();
      }
      // As a lower layer as well.
      expect(bench.run('lamina', '-o', 'lowerdir=u:l', 'm').status).toBe(0);
      expect(bench.inside('stat -c "%n %u:%g %a %F" b p; getfattr -m - b')).toBe(
        'b 1010:2010 4711 regular file\np 0:0 640 fifo\n',
      );
    } finally {
      bench.remove();
    }
  });
});
