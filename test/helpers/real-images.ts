/**
 * A real image and what other tools make of it: Debian by debootstrap, layers on top by buildah, archives by skopeo, a
 * root filesystem by umoci, and lower directories for kernel overlayfs by GNU tar. Nothing of Lamina takes part, so that
 * each can be compared with ours. The image is made once and kept in the temporary directory, by version of its recipe.
 */
import { execFile } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { python } from './python.js';

const execute = promisify(execFile);

const MIRROR = 'http://deb.debian.org/debian';

/** Raise it when anything below changes what the image holds. */
const RECIPE_VERSION = 1;

/**
 * One instruction is one layer. Together they do what images do to their lower layers: add, replace, change the kind of a
 * name, delete, delete and make again, delete one name of a hard link; and hold what is easily lost: capabilities,
 * attributes with NUL and high bytes, setuid bits, hard links, FIFOs, odd names.
 */
const CONTAINERFILE = String.raw`
FROM scratch
ADD base.tar /
RUN apt-get update && apt-get install -y --no-install-recommends attr libcap2-bin perl python3-minimal \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
RUN rm -rf /usr/share/doc /usr/share/locale && mkdir -m 0750 /usr/share/doc \
 && echo again > /usr/share/doc/README && dpkg --purge --force-all tzdata
RUN cp /bin/cat /opt/reader && setcap cap_net_raw,cap_net_bind_service+ep /opt/reader \
 && ln /opt/reader /opt/reader-2 && ln /opt/reader /usr/local/bin/reader \
 && setfattr -n user.lamina.bytes -v 0x00ff0a3d /opt/reader && setfattr -n user.empty /etc/debian_version \
 && mkfifo -m 0622 /opt/fifo && mkdir -m 3777 /opt/shared && chmod 6755 /usr/bin/expiry \
 && chown 12345:54321 /opt/shared && chown -h 1:2 /usr/bin/awk && touch -d 1969-12-31T23:59:58Z /opt/old \
 && printf x > "$(printf '/opt/na\303\257ve \377 \134 name')" && ln -s /nowhere/at/all /opt/dangling
RUN rm /usr/local/bin/reader /usr/bin/perl && rm /etc/issue.net && mkdir /etc/issue.net && echo x > /etc/issue.net/in \
 && rm -rf /usr/share/perl5 && ln -s ../lib /usr/share/perl5 && echo debian > /etc/hostname.new \
 && rm -rf /usr/share/doc && rm /usr/share/man -rf && echo file > /usr/share/man
RUN mkdir -p /usr/share/doc/third && echo third > /usr/share/doc/third/time && echo changed > /etc/debian_version \
 && mv /opt/shared /opt/moved && dd if=/dev/urandom of=/opt/large.bin bs=1M count=16 status=none
`;

/** The forms in which the one image lies there: what skopeo calls them, and how the layers are compressed. */
export const FORMS = ['docker-archive', 'oci', 'oci-archive-gzip', 'oci-archive-zstd'] as const;

export type Form = (typeof FORMS)[number];

export interface RealImage {
  /** Path of the image in each form: a file, or for `oci` a directory. */
  readonly paths: Readonly<Record<Form, string>>;
}

/** Programs that making and unpacking the image needs, for needs(). */
export const REAL_IMAGE_COMMANDS = ['debootstrap', 'buildah', 'skopeo', 'umoci', 'tar'] as const;

function imageDirectory(): string {
  return join(tmpdir(), 'lamina-test-images', `debian-v${RECIPE_VERSION}`);
}

/** Is the image there, or can it be made: does the Debian mirror answer? */
export async function canMakeRealImage(): Promise<boolean> {
  if (existsSync(imageDirectory())) return true;
  try {
    const url = `${MIRROR}/dists/bookworm/Release`;
    return (await fetch(url, { method: 'HEAD', signal: AbortSignal.timeout(10_000) })).ok;
  } catch {
    return false;
  }
}

async function run(program: string, args: readonly string[], cwd?: string): Promise<string> {
  try {
    const { stdout } = await execute(program, [...args], {
      maxBuffer: 1 << 26,
      ...(cwd === undefined ? {} : { cwd }),
    });
    return stdout;
  } catch (error) {
    const said = String((error as { stderr?: string }).stderr ?? error).slice(-3000);
    throw new Error(`${program} ${args.slice(0, 4).join(' ')} ...: ${said}`, { cause: error });
  }
}

/** The image, made if it is not there yet: root, network, about a minute and 1 GB while it lasts. */
export async function realImage(): Promise<RealImage> {
  const directory = imageDirectory();
  if (!existsSync(directory)) {
    const building = `${directory}.${process.pid}`;
    rmSync(building, { recursive: true, force: true });
    mkdirSync(building, { recursive: true });
    try {
      await makeImage(building);
      renameSync(building, directory);
    } finally {
      rmSync(building, { recursive: true, force: true });
    }
  }
  return {
    paths: {
      'docker-archive': join(directory, 'docker.tar'),
      oci: join(directory, 'oci'),
      'oci-archive-gzip': join(directory, 'oci-gzip.tar'),
      'oci-archive-zstd': join(directory, 'oci-zstd.tar'),
    },
  };
}

async function makeImage(directory: string): Promise<void> {
  const at = (name: string): string => join(directory, name);
  await run('debootstrap', ['--variant=minbase', 'bookworm', at('root'), MIRROR]);
  for (const stale of ['var/cache/apt/archives', 'var/lib/apt/lists', 'var/log']) {
    rmSync(join(at('root'), stale), { recursive: true });
    mkdirSync(join(at('root'), stale, stale.endsWith('archives') ? 'partial' : ''), { recursive: true });
  }
  mkdirSync(at('context'));
  await run('tar', ['--numeric-owner', '--xattrs', '-cf', at('context/base.tar'), '-C', at('root'), '.']);
  rmSync(at('root'), { recursive: true });
  writeFileSync(at('context/Containerfile'), CONTAINERFILE);

  const storage = ['--root', at('storage'), '--runroot', at('runroot')];
  await run('buildah', [
    '--storage-driver=vfs',
    ...storage,
    'build',
    '--isolation=chroot',
    '--network=host',
    '--layers',
    '--format=oci',
    '--tag=lamina-real',
    at('context'),
  ]);
  const stored = `containers-storage:[vfs@${at('storage')}+${at('runroot')}]localhost/lamina-real:latest`;
  const copy = (...args: string[]): Promise<string> => run('skopeo', ['--insecure-policy', 'copy', ...args]);
  await copy(stored, `docker-archive:${at('docker.tar')}:lamina/real:1`);
  await copy(stored, `oci:${at('oci')}:1`);
  await copy(`oci:${at('oci')}:1`, `oci-archive:${at('oci-gzip.tar')}:1`);
  await copy('--dest-compress-format=zstd', stored, `oci-archive:${at('oci-zstd.tar')}:1`);
  for (const scratch of ['storage', 'runroot', 'context']) rmSync(at(scratch), { recursive: true });
}

/** The root filesystem as `umoci unpack` makes it, in `directory`, which must not exist; -> path of the rootfs. */
export async function unpackByUmoci(image: RealImage, directory: string): Promise<string> {
  await run('umoci', ['unpack', '--image', `${image.paths.oci}:1`, directory]);
  return join(directory, 'rootfs');
}

/**
 * The layers of the docker archive as lower directories for overlayfs, bottom to top, all in `directory`: GNU tar for the
 * content, then OCI whiteouts turned into overlayfs's (whiteouts.py).
 */
export async function unpackForOverlay(image: RealImage, directory: string): Promise<string[]> {
  const archive = image.paths['docker-archive'];
  await run('tar', ['-xf', archive, '-C', directory, 'manifest.json']);
  const [described] = JSON.parse(readFileSync(join(directory, 'manifest.json'), 'utf8')) as {
    Layers: string[];
  }[];
  if (described === undefined) throw new Error(`${archive} names no image`);
  const lowers: string[] = [];
  for (const [index, layer] of described.Layers.entries()) {
    const lower = join(directory, `lower${index}`);
    mkdirSync(lower);
    // Directories may be listed before entries that are not theirs and then more of theirs: tar is to set times last.
    const extract = 'tar -xp --delay-directory-restore --numeric-owner --xattrs --xattrs-include="*" -C "$3"';
    const script = `set -e -o pipefail; tar -xOf "$1" "$2" | ${extract}`;
    await run('bash', ['-c', script, 'unpack', archive, layer, lower]);
    const list = 'set -o pipefail; tar -xOf "$1" "$2" | tar -t';
    const names = (await run('bash', ['-c', list, 'list', archive, layer])).split('\n');
    if (!names.some((name) => name === './' || name === '/')) copyRoot(lowers.at(-1), lower);
    await python('whiteouts.py', [lower]);
    lowers.push(lower);
  }
  return lowers;
}

/** The attributes that a layer's root has when no entry describes it: those of the layer below, or the epoch. */
function copyRoot(from: string | undefined, to: string): void {
  const { mode, uid, gid, mtimeMs } =
    from === undefined ? { mode: 0o755, uid: 0, gid: 0, mtimeMs: 0 } : statSync(from);
  chmodSync(to, mode & 0o7777);
  chownSync(to, uid, gid);
  utimesSync(to, mtimeMs / 1000, mtimeMs / 1000);
}
