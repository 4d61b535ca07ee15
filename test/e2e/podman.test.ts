/**
 * Debian's podman and buildah with lamina-fuse as their mount program, as root and rootless: what they build has the same
 * content as what they build with the kernel's overlayfs, and runs.
 */
import { chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ContainerTools, TemporaryUser } from '../helpers/container-tools.js';
import { canMakeRealImage, REAL_IMAGE_COMMANDS, realImage } from '../helpers/real-images.js';
import { needs, requirement } from '../helpers/require.js';
import { isServerBuilt, SERVER } from '../helpers/server-binary.js';

const able =
  needs(
    'root',
    '/dev/fuse',
    'kernel overlayfs',
    'command podman',
    'command runc',
    'command fusermount3',
    'command newuidmap',
    ...REAL_IMAGE_COMMANDS.map((name) => `command ${name}` as const),
  ) &&
  requirement('the built server (npm run build)', isServerBuilt()) &&
  requirement('the Debian mirror, or the image made before', await canMakeRealImage());

/**
 * Packages are installed; lower files, directories and whole trees are deleted, made again, renamed, replaced by another
 * kind; lower files get another owner, mode, name, link and capability. No lower file with several names gets another
 * owner: the kernel would break the link (without index=on), and we do not.
 */
const containerfile = (base: string): string => String.raw`
FROM ${base}
RUN rm /usr/share/man && mkdir -p /usr/share/man/man1 && apt-get -o Acquire::Languages=none update \
 && apt-get install -y --no-install-recommends hello \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/ldconfig/aux-cache /var/log/*
RUN rm -rf /usr/share/zoneinfo /usr/share/common-licenses && mkdir /usr/share/common-licenses \
 && echo none > /usr/share/common-licenses/GPL && rm -rf /usr/share/bug && ln -s common-licenses /usr/share/bug \
 && mv /usr/share/bash-completion /usr/share/completion-moved && mv /etc/apt /etc/apt.old && mkdir /etc/apt \
 && mv /opt/moved /opt/shared && mv /etc/apt.old/sources.list /etc/apt/ && mv /usr/share/terminfo /opt/terminfo
RUN cp /bin/cat /opt/cap && setcap cap_net_raw+ep /opt/cap && ln /opt/cap /opt/cap-2 \
 && chown -R 1000:1000 /home /opt/large.bin && chmod u+s /usr/bin/hello && chmod -R g+w /usr/share/keyrings \
 && touch -d 2001-02-03T04:05:06Z /etc/debian_version \
 && rm -rf /opt/terminfo && mkdir -p /opt/terminfo/new && echo again > /opt/terminfo/file \
 && useradd --no-log-init -m -u 4321 worker && rm -f /etc/*- /var/log/* && sed -i 's/^\(worker:[^:]*\):[0-9]*:/\1:1:/' /etc/shadow
USER worker
RUN echo mine > /home/worker/file && ln -s file /home/worker/link
CMD ["hello"]
`;

/**
 * Two dumps of one build, with a star for the times that say only which files a driver takes for touched: the build gives
 * the epoch to whatever is in a layer, and with the kernel that is all that was copied up, with a mount program what
 * differs. The root's own time is that of the mount.
 */
function comparable(one: string, other: string): [string[], string[]] {
  const touched = new Set(['/']);
  const split = (dump: string): string[][] => dump.split('\n').map((line) => line.split(' '));
  const dumps = [split(one), split(other)] as const;
  for (const fields of dumps.flat()) if (fields[6] === '0.000000000') touched.add(fields[0]!);
  const blank = (fields: string[]): string =>
    (touched.has(fields[0]!) && fields.length > 6 ? fields.toSpliced(6, 1, '*') : fields).join(' ');
  return [dumps[0].map(blank), dumps[1].map(blank)];
}

/** Lines that only one of two dumps has: what a person needs to see of 5,000 lines. */
function differences(expected: string, actual: string): string[] {
  const [left, right] = comparable(expected, actual);
  const [inLeft, inRight] = [new Set(left), new Set(right)];
  return [
    ...left.filter((line) => !inRight.has(line)).map((line) => `- ${line}`),
    ...right.filter((line) => !inLeft.has(line)).map((line) => `+ ${line}`),
  ].slice(0, 40);
}

/** In a user namespace no devices can be made: buildah leaves them out. */
function withoutDevices(dump: string): string {
  return dump
    .split('\n')
    .filter((line) => !/^\S+ [bc] /.test(line))
    .join('\n');
}

describe.skipIf(!able)('podman and buildah with lamina-fuse as the mount program', () => {
  let scratch = '';
  let context = '';
  let byKernel = '';

  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'lamina-podman-'));
    chmodSync(scratch, 0o755);
    context = join(scratch, 'context');
    mkdirSync(context);
    const image = await realImage();
    writeFileSync(join(context, 'Containerfile'), containerfile(`oci:${image.paths.oci}:1`));
    const kernel = new ContainerTools(undefined);
    try {
      await kernel.build(context, 'real');
      expect(await kernel.rootType('real')).toBe('overlay');
      byKernel = await kernel.dump('real');
    } finally {
      kernel.close();
    }
  }, 300_000);

  afterAll(() => {
    if (scratch !== '') rmSync(scratch, { recursive: true, force: true });
  });

  it('builds with the kernel what the recipe says', () => {
    expect(byKernel).toMatch(/^\/usr\/bin\/hello f 4755 /m);
    expect(byKernel).toMatch(/^\/opt\/cap f 0755 .*security\.capability=/m);
    expect(byKernel).toMatch(/^\/opt\/cap-2 h \/opt\/cap$/m);
    expect(byKernel).toMatch(/^\/opt\/shared d 3777 - 12345:54321 /m);
    expect(byKernel).toMatch(/^\/home\/worker\/file f 0644 \? 4321:4321 /m);
    expect(byKernel).not.toMatch(
      /^\/(opt\/moved|usr\/share\/terminfo|usr\/share\/zoneinfo|opt\/terminfo\/[a-z]\S*\/\S+) /m,
    );
  });

  describe('as root', () => {
    let tools: ContainerTools;
    beforeAll(() => {
      tools = new ContainerTools(SERVER);
    });
    afterAll(() => tools.close());

    it('builds the same image as with the kernel', async () => {
      await tools.build(context, 'real');
      expect(await tools.rootType('real')).toBe('fuse.lamina');
      expect(differences(byKernel, await tools.dump('real'))).toEqual([]);
    }, 300_000);

    it('runs the result, and containers that change it', async () => {
      expect(await tools.runContainer('real', [])).toBe('Hello, world!\n');
      const id = await tools.createContainer('real', [
        'sh',
        '-c',
        'cd /home/worker && mv file moved && echo new > file && id -u && cat file moved && rm link && stat -f -c %T /',
      ]);
      expect(await tools.podman('start', '--attach', id)).toMatch(/^4321\nnew\nmine\n/);
      const changes = (await tools.podman('diff', id)).trim().split('\n');
      expect(changes.filter((change) => change.includes('/home')).sort()).toEqual([
        'A /home/worker/moved',
        'C /home',
        'C /home/worker',
        'C /home/worker/file',
        'D /home/worker/link',
      ]);
      await tools.podman('commit', '--quiet', id, 'changed');
      await tools.podman('rm', id);
      expect(await tools.runContainer('changed', ['ls', '/home/worker'])).toBe('file\nmoved\n');
    }, 120_000);
  });

  describe('rootless', () => {
    let user: TemporaryUser;
    let tools: ContainerTools;
    beforeAll(() => {
      user = new TemporaryUser();
      // The checkout may be where others cannot go.
      const program = join(user.home, 'lamina-fuse');
      copyFileSync(SERVER, program);
      cpSync(context, join(user.home, 'context'), { recursive: true });
      tools = new ContainerTools(program, user);
    });
    afterAll(() => {
      tools.close();
      user.remove();
    });

    it('builds the same image as root with the kernel', async () => {
      await tools.build(join(user.home, 'context'), 'real');
      expect(await tools.rootType('real')).toBe('fuse.lamina');
      expect(differences(withoutDevices(byKernel), await tools.dump('real'))).toEqual([]);
    }, 300_000);

    it('runs the result, also with other ids', async () => {
      expect(await tools.runContainer('real', [])).toBe('Hello, world!\n');
      // The layers keep their owners: the mount shows others (uidmapping, gidmapping).
      const script =
        'touch /new; chown 5:6 /opt/old; stat -c %u:%g / /new /opt/old /home/worker/file; cat /proc/self/uid_map';
      const shown = await tools.runContainer(
        'real',
        ['sh', '-c', script],
        ['--user=0', '--uidmap=0:100:5000', '--gidmap=0:200:5000'],
      );
      expect(shown.trim().split(/\s+/)).toEqual(['0:0', '0:0', '5:6', '4321:4321', '0', '100', '5000']);
    }, 120_000);
  });
});
