/**
 * lamina-fuse without root: by a plain user through fusermount3, by root of a user namespace as rootless podman has it, and
 * where whiteout devices cannot be made. What is shown is what was asked for, and is still there after a remount.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { TemporaryUser } from '../helpers/container-tools.js';
import { DropIn, PROGRAMS, shell, shellOk } from '../helpers/side-by-side.js';
import { needs, requirement } from '../helpers/require.js';
import { isServerBuilt } from '../helpers/server-binary.js';

const able =
  needs(
    'root',
    '/dev/fuse',
    'kernel overlayfs',
    'command fusermount3',
    'command newuidmap',
    'command unshare',
    'command podman',
    'command getfattr',
    'command setcap',
  ) && requirement('the built server (npm run build)', isServerBuilt());

const NO_WHITEOUTS = fileURLToPath(new URL('../helpers/no_whiteouts.py', import.meta.url));

/** Type, mode, owner and name of everything, and the devices' numbers. */
const LIST = String.raw`find . ! -path . -printf '%p %y %m %U:%G\n' | sort; stat -c '%n %t:%T' dev* 2>/dev/null`;

describe.skipIf(!able)('a user without privileges', () => {
  let user: TemporaryUser;
  let directory = '';
  beforeAll(() => {
    user = new TemporaryUser();
    copyFileSync(PROGRAMS.lamina, join(user.home, 'lamina-fuse'));
  });
  afterAll(() => user.remove());
  beforeEach(() => {
    directory = join(user.home, 'd');
    for (const name of ['', 'l', 'u', 'w', 'm']) mkdirSync(join(directory, name));
    execFileSync('chown', ['-R', `${user.name}:`, directory]);
  });
  afterEach(() => {
    shell('while umount --lazy m 2>/dev/null; do :; done', directory);
    rmSync(directory, { recursive: true, force: true });
  });

  const asRoot = (script: string): string => shellOk(`set -e; ${script}`, directory);
  const as = (...args: string[]): Promise<string> => user.run(args);
  const MOUNT = '~/lamina-fuse -o lowerdir=l,upperdir=u,workdir=w m';

  describe('through fusermount3', () => {
    const inside = (script: string): Promise<string> =>
      as('bash', '-c', `cd ~/d; exec 2>&1; ${MOUNT} && (cd m; ${script}); fusermount3 -u m`);

    it('shows a lower tree of others, and keeps of it what it copies up', async () => {
      asRoot(`cd l; echo a > a; mkdir d; echo x > d/x; echo s > suid; chown 7:8 a suid d; chmod 4751 suid; mknod -m 666 dev c 5 1
        mknod -m 640 device b 7 9; mkfifo -m 622 fifo; ln -s a link; chmod 1777 .`);
      const list = `./a f 644 7:8\n./d d 755 7:8\n./d/x f 644 0:0\n./dev c 666 0:0\n./device b 640 0:0\n./fifo p 622 0:0
./link l 777 0:0\n./suid f 4751 7:8\ndev 5:1\ndevice 7:9\n`;
      expect(await inside(LIST)).toBe(list);
      // The upper's root is the user's, and so are its names.
      const moved = await inside(
        `mv dev dev-2; mv suid suid-2; mv fifo fifo-2; mv d d-2; mv device device-2; ${LIST}`,
      );
      const expected = `./a f 644 7:8\n./d-2 d 755 7:8\n./d-2/x f 644 0:0\n./dev-2 c 666 0:0\n./device-2 b 640 0:0
./fifo-2 p 622 0:0\n./link l 777 0:0\n./suid-2 f 4751 7:8\ndev-2 5:1\ndevice-2 7:9\n`;
      expect(moved).toBe(expected);
      expect(await inside(LIST)).toBe(expected);

      // containers/storage's words (pkg/idtools), on ordinary files of the user.
      const kept =
        'for f in dev-2 device-2 fifo-2 suid-2 d-2; do getfattr --only-values -n user.containers.override_stat $f; echo; done';
      expect(shellOk(kept, join(directory, 'u'))).toBe(
        '0:0:0666:char-5-1\n0:0:0640:block-7-9\n0:0:0622:pipe\n7:8:4751:file\n7:8:0755:dir\n',
      );
      const uid = execFileSync('id', ['-u', user.name], { encoding: 'utf8' }).trim();
      const onDisk = shellOk("find . ! -type c -printf '%U %m %y %P\\n' | sort", join(directory, 'u'));
      expect(onDisk.replaceAll(/ $/gm, '').trim().split('\n').sort()).toEqual(
        ['700 d d-2', '600 f dev-2', '600 f device-2', '600 f fifo-2', '600 f suid-2']
          .map((rest) => `${uid} ${rest}`)
          .concat(`${uid} 755 d`)
          .sort(),
      );
      expect(shellOk('getfattr -h -d -m trusted -R u', directory)).toBe('');
    });

    it('makes what users make, with modes and attributes that last', async () => {
      const script = `umask 022; echo n > n; chmod 6711 n; mkdir -m 2750 d; mkfifo -m 640 p; ln -s n s; mkdir gone; rmdir gone
        python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("so")'; ln n n2; echo w > w; chmod 4755 w; echo x >> w
        setfattr -n user.a -v b n; setfattr -n user.overlay.opaque -v y d; mknod c c 1 3`;
      const show = "find . ! -path . -printf '%p %y %m %n\\n' | sort; getfattr -d -m - n d";
      const refused = /^mknod: c: Operation not permitted\n/;
      const first = await inside(`${script}; ${show}`);
      expect(first).toMatch(refused);
      expect(first.replace(refused, '')).toBe(
        './d d 2750 2\n./n f 6711 2\n./n2 f 6711 2\n./p p 640 1\n./s l 777 1\n./so s 755 1\n./w f 755 1\n' +
          '# file: n\nuser.a="b"\n\n# file: d\nuser.overlay.opaque="y"\n\n',
      );
      expect(await inside(show)).toBe(first.replace(refused, ''));
    });

    it('deletes and makes again over lower files', async () => {
      asRoot(
        `cd l; mkdir -p d/e keep; echo x > d/e/x; echo f > f; echo k > keep/k; chown -R ${user.name}: .`,
      );
      const script = 'rm -r d f keep/k; mkdir d; echo new > d/n; echo again > f';
      const shown = './d d\n./d/n f\n./f f\n./keep d\n';
      expect(await inside(`${script}; find . ! -path . -printf '%p %y\\n' | sort`)).toBe(shown);
      expect(await inside("find . ! -path . -printf '%p %y\\n' | sort")).toBe(shown);
      expect(
        shellOk('getfattr --only-values -n user.overlay.opaque u/d; stat -c %t:%T u/keep/k', directory),
      ).toBe('y0:0\n');
      // The same format as the kernel's: it can read the upper.
      asRoot('mount -t overlay -o ro,userxattr,lowerdir=u:l overlay m');
      expect(shellOk("find m ! -path m -printf '%P %y\\n' | sort; umount m", directory)).toBe(
        shown.replaceAll('./', ''),
      );
    });
  });

  describe('as root of a user namespace', () => {
    const SCRIPT = `cd ~/d; exec 2>&1; ${MOUNT} && (cd m; eval "$1"); umount m`;
    const alone = (script: string): Promise<string> =>
      as('unshare', '--map-root-user', '--mount', 'bash', '-c', SCRIPT, 'script', script);
    const withIds = (script: string): Promise<string> =>
      as('podman', 'unshare', 'bash', '-c', SCRIPT, 'script', script);

    it('works with one id', async () => {
      asRoot(
        `cd l; mkdir d; echo x > d/x; echo a > a; echo b > b; chmod 4711 a; chown -R ${user.name}: .; chmod 4711 a`,
      );
      const script = 'mv d e; rm b; chmod 2711 a; mkdir -m 1777 t; setfattr -n user.x -v y a';
      const shown = './a f 2711 0:0\n./e d 755 0:0\n./e/x f 644 0:0\n./t d 1777 0:0\n';
      expect(await alone(`${script}; ${LIST}`)).toBe(shown);
      expect(await alone(`${LIST}; getfattr -d -m - a`)).toBe(`${shown}# file: a\nuser.x="y"\n\n`);
      expect(
        shellOk('getfattr --only-values -n user.overlay.redirect u/e; stat -c %t:%T u/b', directory),
      ).toBe('/d0:0\n');
    });

    it('keeps owners and capabilities with many ids, on disk as they are', async () => {
      await as(
        'podman',
        'unshare',
        'bash',
        '-c',
        'cd ~/d/l; mkdir d; touch d/x a c; chown 5:6 d; chown 7:8 a; chmod 4755 a',
      );
      const script = `PATH=$PATH:/sbin; chown 70:80 a; chmod 6755 a; chown 1000:1000 d/x; mv d e; cp /bin/true t; setcap cap_net_raw+ep t
        chown 65536:65536 c; mkfifo p; chown 9:9 p`;
      const show = `PATH=$PATH:/sbin; ${LIST}; getcap t`;
      const shown = `./a f 6755 70:80\n./c f 644 65536:65536\n./e d 755 5:6\n./e/x f 644 1000:1000\n./p p 644 9:9
./t f 755 0:0\nt cap_net_raw=ep\n`;
      expect(await withIds(`${script}; ${show}`)).toBe(shown);
      expect(await withIds(show)).toBe(shown);
      expect(await as('podman', 'unshare', 'stat', '-c', '%u:%g %a', 'd/u/a', 'd/u/e/x')).toBe(
        '70:80 6755\n1000:1000 644\n',
      );
      expect(shellOk('getfattr -R -m override u', directory)).toBe('');
    });
  });
});

describe.skipIf(!able)('where whiteout devices cannot be made', () => {
  let bench: DropIn;
  beforeEach(() => {
    bench = new DropIn('mkdir -p d/e f; echo 1 | tee a b c d/x d/y d/e/z f/w >/dev/null');
  });
  afterEach(() => bench.remove());

  it('hides by attributes, which the kernel reads too', () => {
    const options = 'lowerdir=l,upperdir=u,workdir=w';
    shellOk('python3 -I -S "$1" "$2" -o "$3" m', bench.base, NO_WHITEOUTS, PROGRAMS.lamina, options);
    const shown =
      bench.inside(`rm a; mv b b-2; mv d/x d/x-2; rm d/y; mv d/e e; rm -r f; mkdir f; touch f/n; rm c; touch c; mv c f
      mv b-2 b; mv b b-3; find . -printf '%p %y\\n' | sort`);
    expect(shown).toBe('. d\n./b-3 f\n./d d\n./d/x-2 f\n./e d\n./e/z f\n./f d\n./f/c f\n./f/n f\n');
    bench.umount();
    const upper = join(bench.base, 'u');
    expect(shellOk('find . -type c', upper)).toBe('');
    for (const name of ['a', 'b', 'c', 'd/y']) {
      expect(
        shellOk('getfattr --only-values -n trusted.overlay.whiteout "$1"; stat -c " %F" "$1"', upper, name),
      ).toBe('y regular empty file\n');
    }
    expect(shellOk('getfattr --only-values -n trusted.overlay.opaque . d f', upper)).toBe('xxy');
    const list = "cd m; find . -printf '%p %y\\n' | sort";
    expect(bench.mount('lamina').status).toBe(0);
    expect(shellOk(list, bench.base)).toBe(shown);
    bench.umount();
    // The kernel knows them in lower layers (overlayfs.rst, "Whiteouts and opaque directories").
    shellOk('mount -t overlay -o lowerdir=u:l,redirect_dir=follow,metacopy=on overlay m', bench.base);
    expect(shellOk(list, bench.base)).toBe(shown);
    bench.umount();
  });
});
