/**
 * The life of a mount that lamina-fuse makes as fuse-overlayfs does or as mount(8)'s helper: when the program returns, what
 * ends it, and what mount(8), umount(8) and fstab(5) make of it.
 */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DropIn, PROGRAMS, shell, shellOk } from '../helpers/side-by-side.js';
import type { CommandOutcome, Program } from '../helpers/side-by-side.js';
import { needs, requirement } from '../helpers/require.js';
import { parseMountOptions } from '../../src/mount/options.js';
import { isServerBuilt } from '../helpers/server-binary.js';

const able =
  needs('root', '/dev/fuse', 'kernel overlayfs', 'command fuse-overlayfs', 'command unshare') &&
  requirement('the built server (npm run build)', isServerBuilt());

const COMPLETE = 'lowerdir=l,upperdir=u,workdir=w';

/** Waits until `test` holds; fails after ten seconds. */
async function until(test: () => boolean): Promise<void> {
  for (let tries = 0; tries < 1000; ++tries) {
    if (test()) return;
    await setTimeout(10);
  }
  throw new Error('it did not come to be within ten seconds');
}

/** Processes whose command line holds `text`. */
function processesOf(text: string): number {
  return spawnSync('pgrep', ['-f', '--', text], { encoding: 'utf8' }).stdout.split('\n').filter(Boolean)
    .length;
}

describe.skipIf(!able)('the life of a mount', () => {
  let bench: DropIn;
  beforeEach(() => {
    bench = new DropIn('echo a > a');
  });
  afterEach(() => bench.remove());

  const foreground = async (program: Program): Promise<ChildProcess> => {
    const child = spawn(PROGRAMS[program], ['-f', '-o', COMPLETE, 'm'], { cwd: bench.base, stdio: 'ignore' });
    await until(() => bench.options() !== undefined);
    return child;
  };

  it('returns once it is mounted, lets go of its streams, and ends with umount', async () => {
    // spawnSync returns when the pipes are closed by all that hold them.
    expect(bench.run('lamina', '-o', `${COMPLETE},fsname=${bench.base}`, 'm')).toMatchObject({
      status: 0,
      stdout: '',
      stderr: '',
    });
    expect(readFileSync(join(bench.mnt, 'a'), 'utf8')).toBe('a\n');
    expect(processesOf(bench.base)).toBeGreaterThan(0);
    bench.umount();
    await until(() => processesOf(bench.base) === 0);
  });

  it('is unmounted by fusermount3, as podman does it', async () => {
    bench.mount('lamina', `fsname=${bench.base}`);
    shellOk('fusermount3 -u m', bench.base);
    expect(bench.options()).toBeUndefined();
    await until(() => processesOf(bench.base) === 0);
  });

  it.each(['lamina', 'fuse-overlayfs'] as const)(
    'stays in the foreground with -f until umount (%s)',
    async (program) => {
      const child = await foreground(program);
      expect(child.exitCode).toBeNull();
      bench.umount();
      if (child.exitCode === null) await once(child, 'exit');
      expect(child.exitCode).toBe(0);
    },
  );

  it.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('is unmounted by %s to -f', async (signal) => {
    const child = await foreground('lamina');
    child.kill(signal);
    await once(child, 'exit');
    expect(child.exitCode).toBe(0);
    await until(() => bench.options() === undefined);
  });

  it('is unmounted by SIGTERM to the process in the background', async () => {
    bench.mount('lamina', `fsname=${bench.base}`);
    shellOk('pkill -TERM --oldest -f -- "$1"', '/', `fsname=${bench.base}`);
    await until(() => bench.options() === undefined && processesOf(bench.base) === 0);
  });

  it('takes a stack of many directories and odd names', () => {
    const names = Array.from({ length: 300 }, (_, index) => `layer ${index}`);
    for (const name of [...names, 'a:b', 'c,d']) {
      mkdirSync(join(bench.base, name));
      writeFileSync(join(bench.base, name, name), name);
    }
    const list = [...names, String.raw`a\:b`, String.raw`c\,d`].join(':');
    expect(bench.run('lamina', '-o', `lowerdir=${list},upperdir=u,workdir=w`, 'm').status).toBe(0);
    expect(bench.inside('ls | wc -l; cat a:b c,d')).toBe('302\na:bc,d');
  });

  it('makes the file of its counters when it is mounted, and none when it cannot be', () => {
    expect(bench.run('lamina', '-o', 'lowerdir=missing,upperdir=u,workdir=w,stats=s', 'm').status).toBe(1);
    expect(bench.run('lamina', '-o', `${COMPLETE},stats=s,unheard_of`, 'm').status).toBe(1);
    expect(bench.run('lamina', '-o', `${COMPLETE},stats=missing/s`, 'm').status).toBe(1);
    expect(readdirSync(bench.base)).not.toContain('s');
    // Below the mount point: the directory there is the one that was there before.
    expect(bench.run('lamina', '-o', `${COMPLETE},stats=m/s`, 'm').status).toBe(0);
    expect(readdirSync(bench.mnt)).toEqual(['a']);
    bench.umount();
    expect(readFileSync(join(bench.mnt, 's'), 'latin1').slice(0, 8)).toBe('LAMSTAT1');
  });

  it('shows lower files whose path no call could take whole', () => {
    const walk = (action: string): string =>
      shellOk(
        `python3 -c 'import os,sys
os.chdir(sys.argv[1])
for i in range(20):
    if sys.argv[2] == "make": os.mkdir("d" * 250)
    os.chdir("d" * 250)
if sys.argv[2] == "make":
    open("f", "w").write("deep")
    os.symlink("target", "l")
    os.setxattr("f", "user.k", b"v")
else:
    print(open("f").read(), os.readlink("l"), os.getxattr("f", "user.k"), sorted(os.listdir(".")))
    open("f", "a").write("er")
    print(open("f").read())
' ${action}`,
        bench.base,
      );
    walk('l make');
    bench.mount('lamina');
    expect(walk('m look')).toBe("deep target b'v' ['f', 'l']\ndeeper\n");
    bench.umount();
    // rm(1) goes down step by step.
    shellOk('rm -rf l/d* u/d*', bench.base);
  });

  it('counts the names of a lower file right after a crash between two steps of giving one', () => {
    shellOk('ln l/a l/b; ln l/a l/c; echo other > l/d', bench.base);
    bench.mount('lamina');
    expect(bench.inside('chmod 600 a; stat -c %h a')).toBe('3\n');
    bench.umount();
    // As the server leaves it that was killed when it had counted b, before b had its place.
    shellOk(
      `ln w/links/* w/work/naming-1-x; setfattr -n trusted.overlay.lamina.links -v 1 w/work/naming-1-x`,
      bench.base,
    );
    bench.mount('lamina');
    expect(bench.inside('stat -c "%h %a" a; stat -c "%h %a" b; stat -c "%h %a" c; stat -c "%h %a" a')).toBe(
      '3 600\n3 600\n3 600\n3 600\n',
    );
    bench.umount();
    // And when it had not counted yet.
    shellOk('rm -rf u w; mkdir u w', bench.base);
    bench.mount('lamina');
    bench.inside('chmod 640 a');
    bench.umount();
    shellOk('ln w/links/* w/work/naming-1-x', bench.base);
    bench.mount('lamina');
    expect(bench.inside('stat -c "%h %a" b; stat -c "%h %a" c; stat -c "%h %a" a')).toBe(
      '3 640\n3 640\n3 640\n',
    );
    expect(shellOk('ls w/links w/work', bench.base)).not.toContain('naming');
  });

  it('refuses an upper that another mount has', () => {
    expect(bench.mount('lamina').status).toBe(0);
    mkdirSync(join(bench.base, 'other'));
    const { status, stderr } = bench.run('lamina', '-o', COMPLETE, 'other');
    expect(status).toBe(1);
    expect(stderr).toMatch(/in use by another mount/);
  });
});

describe.skipIf(!able)('lower layers as containers/storage lays them out for a mount program', () => {
  // Layers that have been unpacked while a mount program is configured: whiteouts are files (image-spec, layer.md).
  const FILL = `mkdir -p 0/d/e 0/gone 0/opaque 1/d 1/opaque 2/d
    echo 0 | tee 0/d/f 0/d/g 0/d/e/x 0/gone/y 0/opaque/z 0/file >/dev/null
    touch 1/.wh.gone 1/d/.wh.f 1/opaque/.wh..wh..opq; echo 1 > 1/opaque/new
    echo 2 > 2/d/f; touch 2/.wh.file 2/d/.wh.e 2/.wh.never`;
  const SHOWN =
    'find . -printf "%p %y\\n" | sort; cat d/f d/g opaque/new; ls -A d; stat .wh.file d/.wh.f gone';

  it('hides what their file whiteouts hide, as fuse-overlayfs does', () => {
    const show = (program: Program): string => {
      const bench = new DropIn(FILL);
      try {
        expect(bench.run(program, '-o', 'lowerdir=l/2:l/1:l/0,upperdir=u,workdir=w', 'm').status).toBe(0);
        const first = bench.inside(SHOWN);
        const changes = 'mkdir gone; touch gone/n file; mv d dd; rm -r opaque; mkdir opaque; touch dd/e';
        return first + bench.inside(`${changes}; find . -printf "%p %y\\n" | sort`);
      } finally {
        bench.remove();
      }
    };
    const shown = show('lamina');
    expect(shown).toBe(show('fuse-overlayfs'));
    expect(shown).toMatch(/^\.\/opaque\/new f$/m);
    expect(shown.slice(0, shown.indexOf('stat:'))).not.toMatch(/gone|file|opaque\/z|\be\b/);
  });

  it('hides what is below a whiteout, not what its own layer has there', () => {
    const bench = new DropIn(
      'mkdir 0 0/both 1; echo 0 > 0/both/old; touch 1/.wh.both; mkdir 1/both; echo 1 > 1/both/new',
    );
    try {
      expect(bench.run('lamina', '-o', 'lowerdir=l/1:l/0', 'm').status).toBe(0);
      expect(bench.inside('ls -A . both')).toBe('.:\nboth\n\nboth:\nnew\n');
    } finally {
      bench.remove();
    }
  });
});

describe.skipIf(!able)('mount -t fuse.lamina', () => {
  let bench: DropIn;
  beforeEach(() => {
    bench = new DropIn('echo a > a');
    // /sbin of a mount namespace of its own, with the helper in it.
    for (const name of ['sbin', 'sbin-work', 'bin']) mkdirSync(join(bench.base, name));
    symlinkSync(PROGRAMS.lamina, join(bench.base, 'sbin/mount.fuse.lamina'));
  });
  afterEach(() => bench.remove());

  const inNamespace = (script: string): CommandOutcome =>
    shell(
      `unshare --mount --propagation private bash -c 'set -e
         mount -t overlay -o lowerdir=/usr/sbin,upperdir="$PWD/sbin",workdir="$PWD/sbin-work" overlay /usr/sbin
         mount --bind bin /usr/local/bin
         B=$PWD; O=lowerdir=$B/l,upperdir=$B/u,workdir=$B/w; eval "$1"' script "$1"`,
      bench.base,
      script,
    );
  const ok = (script: string): string => {
    const outcome = inNamespace(script);
    expect(outcome).toMatchObject({ status: 0, stderr: '' });
    return outcome.stdout;
  };
  const FLAGS = 'findmnt -n -o SOURCE,FSTYPE,VFS-OPTIONS m;';

  it('mounts a stack, as the options say', () => {
    const script = `mount -t fuse.lamina stack m -o $O,nodev; cat m/a; echo b > m/b; ${FLAGS} umount m; cat u/b`;
    expect(ok(script).replaceAll(/ +/g, ' ')).toBe('a\nlamina fuse.lamina rw,nodev,noatime\nb\n');
  });

  it('has the defaults of mount(8), and remounts', () => {
    const script = `mount -t fuse.lamina stack m -o $O; ${FLAGS} mount -o remount,ro m; ${FLAGS} mount -o remount,rw m; ${FLAGS}
      touch m/x; umount m`;
    expect(ok(script).replaceAll(/.*fuse.lamina +/g, '')).toBe('rw,noatime\nro,noatime\nrw,noatime\n');
  });

  it('mounts a line of fstab', () => {
    writeFileSync(
      join(bench.base, 'fstab'),
      `stack ${bench.mnt} fuse.lamina lowerdir=${bench.base}/l,ro,nosuid,noauto,nofail,x-systemd.requires=/ 0 0\n`,
    );
    const script = `mount --fstab $B/fstab $B/m; cat m/a; ${FLAGS} umount m`;
    expect(ok(script).replaceAll(/.*fuse.lamina +/g, '')).toBe('a\nro,nosuid,noatime\n');
  });

  it('checks without mounting for mount -f, and fails for what is not known', () => {
    expect(ok('mount -f -t fuse.lamina stack m -o $O; ls m')).toBe('');
    for (const options of ['$O,bogus', 'lowerdir=$B/none', 'upperdir=$B/u']) {
      expect(inNamespace(`mount -t fuse.lamina stack m -o ${options}`).status, options).not.toBe(0);
    }
  });

  it('hands an image to the lamina command', () => {
    writeFileSync(join(bench.base, 'bin/lamina'), '#!/bin/sh\nprintf "<%s>" "$@"\n', { mode: 0o755 });
    expect(ok('mount -t fuse.lamina "an image.tar" m -o ro,noexec,nofail,verify=none')).toBe(
      `<mount><--allow-other><-o><ro><-o><noexec><-o><verify=none><--><an image.tar><${bench.mnt}>`,
    );
  });

  it('hands on each option that lamina mount has, and refuses those of stacks', () => {
    writeFileSync(join(bench.base, 'bin/lamina'), '#!/bin/sh\nprintf "%s\\n" "$@"\n', { mode: 0o755 });
    // As mount(8) runs it.
    const helper = (options: string): CommandOutcome =>
      shell(
        'PATH=$PWD/bin:$PATH exec -a mount.fuse.lamina "$1" app.tar m -o "$2"',
        bench.base,
        PROGRAMS.lamina,
        options,
      );
    const options = [
      ...[
        'ro',
        'suid',
        'nosuid',
        'dev',
        'nodev',
        'exec',
        'noexec',
        'noatime',
        'allow_other',
        'verify=before',
      ],
      ...['threads=3', 'no_uring', 'passthrough', 'no_passthrough', 'upperdir=/u', String.raw`workdir=/w\,x`],
    ];
    const handed = helper(options.join(','));
    expect(handed).toMatchObject({ status: 0, stderr: '' });
    const words = handed.stdout.split('\n').filter((_, index, all) => all[index - 1] === '-o');
    expect(words).toEqual(options);
    expect(parseMountOptions(words, false, true)).toMatchObject({
      readOnly: true,
      noatime: true,
      threads: 3,
      upper: { upperDirectory: '/u', workDirectory: '/w,x' },
    });
    for (const option of ['squash_to_root', 'uidmapping=0:1:1', 'noacl', 'volatile', 'stats=s', 'context=c'])
      expect(helper(option)).toMatchObject({
        status: 1,
        stdout: '',
        stderr: expect.stringContaining(option),
      });
  });
});
