/** `mount --lazy` against Debian's docker-registry: what it shows, what becomes of a cut line and of lies, and what stays behind. */
import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { appendFile, open, readFile, rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { startDockerRegistry } from '../helpers/docker-registry.js';
import type { RunningRegistry } from '../helpers/docker-registry.js';
import { dumpDirectory } from '../helpers/dump-directory.js';
import { GatedProxy } from '../helpers/gated-proxy.js';
import { isLaminaBuilt, lamina, laminaOk } from '../helpers/lamina.js';
import {
  estargzLayer,
  gzipLayer,
  lazyLayers,
  plainLayer,
  putImage,
  sha256,
  writeLayout,
} from '../helpers/lazy-image.js';
import type { BuiltBlob, LazyEntry } from '../helpers/lazy-image.js';
import { needs, requirement } from '../helpers/require.js';

const run = promisify(execFile);
const canRun =
  requirement('the built command', isLaminaBuilt('native')) &&
  needs('root', '/dev/fuse', 'command docker-registry', 'command skopeo');

let registry: RunningRegistry;
let proxy: GatedProxy;
let base: string;
let root: string;
let dir: string;
let count = 0;

beforeAll(async () => {
  if (canRun) registry = await startDockerRegistry();
});
afterAll(async () => registry?.stop());

beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), 'lamina-e2e-lazy-'));
  [root, dir] = [join(base, 'root'), join(base, 'mnt')];
  for (const made of [dir, join(base, 'docker')]) mkdirSync(made);
  vi.stubEnv('LAMINA_RUN', join(base, 'run'));
  vi.stubEnv('DOCKER_CONFIG', join(base, 'docker'));
  vi.stubEnv('LAMINA_PULL', '');
  if (canRun) proxy = await GatedProxy.start(registry.domain);
});

afterEach(async () => {
  await lamina(['umount', '--force', dir], root);
  await proxy?.close();
  vi.unstubAllEnvs();
  rmSync(base, { recursive: true, force: true });
});

/** A name in the registry, through the line that can be cut. */
function nameOf(repository: string): string {
  return `${proxy.domain}/${repository}:1`;
}

const SMALL_CHUNKS = 50_000;
const FORMS = {
  estargz: (layer: LazyEntry[]) => estargzLayer(layer, SMALL_CHUNKS),
  gzip: gzipLayer,
  plain: plainLayer,
} satisfies Record<string, (layer: LazyEntry[]) => BuiltBlob>;

async function put(
  form: keyof typeof FORMS,
  layers = lazyLayers(),
): Promise<{ repository: string; blobs: BuiltBlob[] }> {
  const repository = `${form}${count++}`;
  const blobs = layers.map((layer) => FORMS[form](layer));
  await putImage(registry.domain, repository, '1', blobs);
  return { repository, blobs };
}

/** zstd:chunked as skopeo writes it, of plain layers in an OCI layout. */
async function putZstdChunked(layers: LazyEntry[][]): Promise<string> {
  const repository = `zstd${count++}`;
  writeLayout(join(base, 'layout'), layers.map(plainLayer));
  const options = [
    '--insecure-policy',
    'copy',
    '-q',
    '--dest-tls-verify=false',
    '--dest-compress-format',
    'zstd:chunked',
  ];
  await run('skopeo', [
    ...options,
    `oci:${join(base, 'layout')}:1`,
    `docker://${registry.domain}/${repository}:1`,
  ]);
  return repository;
}

/** Makes the indexes of an image and pushes them beside it, from a store of its own. */
async function pushIndex(repository: string): Promise<string> {
  const name = `${registry.domain}/${repository}:1`;
  const store = join(base, 'pusher');
  await laminaOk(['pull', '-q', name], store);
  return laminaOk(['push', '--lazy-index', name], store);
}

async function manifestDigest(repository: string): Promise<string> {
  const headers = { accept: 'application/vnd.oci.image.manifest.v1+json' };
  const answer = await fetch(`http://${registry.domain}/v2/${repository}/manifests/1`, { headers });
  return sha256(Buffer.from(await answer.arrayBuffer()));
}

/** What an ordinary pull of the image shows. */
async function pulled(repository: string): Promise<string> {
  const [store, mnt] = [join(base, 'plain-root'), join(base, 'plain-mnt')];
  mkdirSync(mnt);
  await laminaOk(['pull', '-q', `${registry.domain}/${repository}:1`], store);
  await laminaOk(['mount', `${registry.domain}/${repository}:1`, mnt], store);
  try {
    return await dumpDirectory(mnt);
  } finally {
    await laminaOk(['umount', mnt], store);
  }
}

async function until(isSo: () => boolean | Promise<boolean>, what: string, ms = 30_000): Promise<void> {
  for (const end = Date.now() + ms; !(await isSo());) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const mountsDirectory = (): string => join(base, 'run', 'mounts');
function runFile(kind: string): string | undefined {
  const name = existsSync(mountsDirectory())
    ? readdirSync(mountsDirectory()).find((one) => one.endsWith(`.${kind}`))
    : undefined;
  return name === undefined ? undefined : readFileSync(join(mountsDirectory(), name), 'utf8');
}
const isComplete = (): boolean => runFile('progress')?.includes('"isComplete":true') ?? false;
const inStore = async (repository: string): Promise<boolean> =>
  (await laminaOk(['images', '--format', '{{.Repository}}'], root)).includes(repository);

/** Of the mount's fetcher, by the command line that has its job. */
function fetcherPid(): number | undefined {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      if (command.includes('fetcher-main') && command.includes(base)) return Number(pid);
    } catch {
      // It has ended.
    }
  }
  return undefined;
}

/** The errno of reading a file, or its bytes. */
async function readOrErrno(file: string): Promise<Buffer | string> {
  return readFile(file).catch((error: NodeJS.ErrnoException) => error.code ?? 'unknown');
}

describe.runIf(canRun)('mount --lazy', { timeout: 120_000 }, () => {
  test.each([
    ['eStargz', async () => (await put('estargz')).repository],
    ['zstd:chunked of skopeo', async () => putZstdChunked(lazyLayers())],
    [
      'gzip with an index of ours',
      async () => {
        const { repository } = await put('gzip');
        expect(await pushIndex(repository)).toMatch(/lazy index: sha256:[0-9a-f]{64} layers: 2/);
        return repository;
      },
    ],
    ['gzip without anything', async () => (await put('gzip')).repository],
    ['plain', async () => (await put('plain')).repository],
  ])('shows the tree of %s as a pull does, and completes it', async (form, make) => {
    const repository = await make();
    const expected = await pulled(repository);
    const result = await lamina(['mount', '--lazy', nameOf(repository), dir], root);
    expect(result).toMatchObject({ exitCode: 0, stdout: '' });
    const isLazy = !/without|plain/.test(form);
    expect(result.stderr).toBe(
      isLazy ? '' : 'lamina: 2 layers have no table of contents, and had to be fetched first\n',
    );
    expect(await dumpDirectory(dir)).toBe(expected);
    await until(isComplete, 'complete');
    expect(await dumpDirectory(dir)).toBe(expected);
    expect(await inStore(repository)).toBe(true);
    if (isLazy)
      await until(
        async () => (await laminaOk(['mounts', '--format', '{{.Verify}}'], root)) === 'verified\n',
        'verified',
      );
    if (isLazy) {
      const device = (await run('mountpoint', ['-d', dir])).stdout.trim();
      const aheadFile = `/sys/class/bdi/${device}/read_ahead_kb`;
      await until(() => readFileSync(aheadFile, 'utf8') === '1024\n', 'reading ahead as far as on any mount');
    }
    await laminaOk(['umount', dir], root);
    expect(await laminaOk(['system', 'check'], root)).toContain('all is well');
    expect(readdirSync(join(root, 'partial'))).toEqual([]);
    expect(readdirSync(mountsDirectory())).toEqual([]);
    // From what is here.
    proxy.cut();
    await laminaOk(['mount', nameOf(repository), dir], root);
    expect(await dumpDirectory(dir)).toBe(expected);
  });

  test('fetches what is asked for, and little else, before it is mounted and read', async () => {
    const { repository, blobs } = await put('estargz');
    proxy.bytesDown = 0;
    await laminaOk(['mount', '--lazy', nameOf(repository), dir], root);
    expect(await readFile(join(dir, 'etc/hosts'), 'utf8')).toBe('::1 localhost\n');
    const whole = blobs.reduce((sum, { blob }) => sum + blob.length, 0);
    expect(proxy.bytesDown).toBeLessThan(whole / 2);
    await until(isComplete, 'complete');
    // Nothing twice, but for what documents and headers take.
    expect(proxy.bytesDown).toBeLessThan(whole * 1.15 + 100_000);
  });

  test('gives EIO when the line is cut for longer than was set, and the bytes when it is mended', async () => {
    const layers = lazyLayers();
    const { repository } = await put('estargz', layers);
    await laminaOk(['mount', '--lazy', '--lazy-timeout', '1.5', nameOf(repository), dir], root);
    proxy.cut();
    const begun = Date.now();
    expect(await readOrErrno(join(dir, 'usr/lib/noise'))).toBe('EIO');
    expect(Date.now() - begun).toBeGreaterThan(1000);
    expect(Date.now() - begun).toBeLessThan(15_000);
    // What needs no bytes goes on.
    expect(readdirSync(join(dir, 'usr/lib')).length).toBe(124);
    proxy.mend();
    const noise = layers[0]!.find(({ header }) => header.name === 'usr/lib/noise')!.body!;
    expect(noise.equals((await readOrErrno(join(dir, 'usr/lib/noise'))) as Buffer)).toBe(true);
    await until(isComplete, 'complete');
    expect(runFile('log')).toContain('did not come in 1500 ms');
  });

  test('one that waits does not hold up others', async () => {
    const { repository } = await put('estargz');
    await laminaOk(['mount', '--lazy', '--lazy-timeout', '4', nameOf(repository), dir], root);
    await readFile(join(dir, 'etc/hosts'));
    expect(await laminaOk(['mounts', '--format', '{{.Verify}}'], root)).toMatch(/ here\n$|pending/);
    proxy.cut();
    const waiting = Array.from({ length: 24 }, (_, index) =>
      run('cat', [join(dir, `usr/lib/small-${index * 5}`)], { encoding: 'buffer' }).then(
        ({ stdout }) => stdout as Buffer,
      ),
    );
    await new Promise((resolve) => setTimeout(resolve, 300));
    const begun = Date.now();
    expect((await run('stat', ['-c', '%s', join(dir, 'usr/lib/words')])).stdout.length).toBeGreaterThan(1);
    expect(readdirSync(join(dir, 'var'))).toEqual(['cache']);
    expect(Date.now() - begun).toBeLessThan(2000);
    proxy.mend();
    for (const bytes of await Promise.all(waiting)) expect(Buffer.isBuffer(bytes)).toBe(true);
  });

  test('another fetcher takes the place of one that is killed', async () => {
    const layers = lazyLayers();
    const { repository } = await put('estargz', layers);
    await laminaOk(['mount', '--lazy', nameOf(repository), dir], root);
    await until(() => fetcherPid() !== undefined, 'a fetcher');
    proxy.cut();
    const reading = readOrErrno(join(dir, 'var/cache'));
    const first = fetcherPid()!;
    process.kill(first, 'SIGKILL');
    await until(() => ![undefined, first].includes(fetcherPid()), 'another fetcher');
    proxy.mend();
    const cache = layers[1]!.find(({ header }) => header.name === 'var/cache')!.body!;
    expect(cache.equals((await reading) as Buffer)).toBe(true);
    await until(isComplete, 'complete');
    expect(await inStore(repository)).toBe(true);
  });

  test('ends its fetcher with the mount; a later mount and a pull go on from what has come', async () => {
    const layers = lazyLayers();
    const { repository, blobs } = await put('estargz', layers);
    await laminaOk(['mount', '--lazy', nameOf(repository), dir], root);
    // Asking again and again keeps the rest from being fetched.
    const file = await open(join(dir, 'usr/lib/noise'));
    await file.read(Buffer.alloc(700_000), 0, 700_000, 0);
    await file.close();
    await laminaOk(['umount', dir], root);
    expect(fetcherPid()).toBeUndefined();
    expect(readdirSync(mountsDirectory())).toEqual([]);
    const left = readdirSync(join(root, 'partial'));
    for (const name of left)
      expect(readdirSync(join(root, 'partial', name)).filter((one) => /^(data|map)-/.test(one))).toEqual([]);
    expect(await inStore(repository)).toBe(false);
    proxy.bytesDown = 0;
    await laminaOk(['pull', '-q', nameOf(repository)], root);
    const whole = blobs.reduce((sum, { blob }) => sum + blob.length, 0);
    expect(proxy.bytesDown).toBeLessThan(whole - 600_000);
    expect(readdirSync(join(root, 'partial'))).toEqual([]);
    expect(await laminaOk(['system', 'check'], root)).toContain('all is well');
  });

  test('what a registry sends wrong is EIO, and never comes into the store', async () => {
    const { repository, blobs } = await put('estargz');
    const { blob } = blobs[0]!;
    const file = join(
      registry.directory,
      'data/docker/registry/v2/blobs/sha256',
      sha256(blob).slice(7, 9),
      sha256(blob).slice(7),
      'data',
    );
    // In the middle of the noise, so that the tables are right.
    const damaged = Buffer.from(blob);
    damaged.fill(0, 800_000, 800_100);
    writeFileSync(file, damaged);
    await laminaOk(['mount', '--lazy', nameOf(repository), dir], root);
    expect(await readOrErrno(join(dir, 'usr/lib/noise'))).toBe('EIO');
    await until(
      async () => (await laminaOk(['mounts', '--format', 'json'], root)).includes('failed'),
      'taken down',
    );
    expect(await laminaOk(['mounts', '--format', 'json'], root)).toMatch(/EDIGEST|EBADTAR/);
    expect(await inStore(repository)).toBe(false);
    expect(existsSync(join(root, 'blobs/sha256', sha256(blob).slice(7)))).toBe(false);
    await laminaOk(['umount', dir], root);
  });

  test('a table that says something else than the layer is found out', async () => {
    const layers = lazyLayers();
    const lying = estargzLayer(layers[0]!, SMALL_CHUNKS, (table) => {
      table.entries.find(({ name }) => name === 'etc/hosts')!['mode'] = 0o666;
    });
    await putImage(registry.domain, 'lying', '1', [lying, estargzLayer(layers[1]!)]);
    await laminaOk(['mount', '--lazy', nameOf('lying'), dir], root);
    await until(
      async () => (await laminaOk(['mounts', '--format', 'json'], root)).includes('failed'),
      'taken down',
    );
    expect(await laminaOk(['mounts', '--format', 'json'], root)).toContain('/etc/hosts has another mode');
    // The layer itself is what its digest promises.
    expect(await inStore('lying')).toBe(true);
  });

  test('a table that is not what the manifest promises is refused', async () => {
    const layers = lazyLayers().map((layer) => estargzLayer(layer, SMALL_CHUNKS));
    layers[0]!.annotations = { 'containerd.io/snapshot/stargz/toc.digest': sha256(Buffer.from('another')) };
    await putImage(registry.domain, 'wrongtable', '1', layers);
    const result = await lamina(['mount', '--lazy', nameOf('wrongtable'), dir], root);
    expect(result).toMatchObject({ exitCode: 1 });
    expect(result.stderr).toContain('its table of contents');
    expect(readdirSync(dir)).toEqual([]);
  });

  test('can be written to through an upper directory, which copies up what is not here yet', async () => {
    const layers = lazyLayers();
    const { repository } = await put('estargz', layers);
    const [upper, work] = [join(base, 'upper'), join(base, 'work')];
    for (const made of [upper, work]) mkdirSync(made);
    await laminaOk(
      ['mount', '--lazy', '-o', `upperdir=${upper},workdir=${work}`, nameOf(repository), dir],
      root,
    );
    const noise = layers[0]!.find(({ header }) => header.name === 'usr/lib/noise')!.body!;
    await appendFile(join(dir, 'usr/lib/noise'), 'more');
    expect(
      (await readFile(join(dir, 'usr/lib/noise'))).equals(Buffer.concat([noise, Buffer.from('more')])),
    ).toBe(true);
    await rename(join(dir, 'var'), join(dir, 'moved'));
    expect((await readFile(join(dir, 'moved/cache'))).equals(layers[1]!.at(-1)!.body!)).toBe(true);
    await until(isComplete, 'complete');
  });

  test('two mounts of one image at once do not disturb each other', async () => {
    const layers = lazyLayers();
    const { repository } = await put('estargz', layers);
    const second = join(base, 'second');
    mkdirSync(second);
    await laminaOk(['mount', '--lazy', nameOf(repository), dir], root);
    await laminaOk(['mount', '--lazy', nameOf(repository), second], root);
    const noise = layers[0]!.find(({ header }) => header.name === 'usr/lib/noise')!.body!;
    const [one, other] = await Promise.all(
      [dir, second].map(async (mnt) => readFile(join(mnt, 'usr/lib/noise'))),
    );
    expect(one!.equals(noise) && other!.equals(noise)).toBe(true);
    const areVerified = async (): Promise<boolean> =>
      (await laminaOk(['mounts', '--format', '{{.Verify}}'], root)) === 'verified\nverified\n';
    await until(areVerified, 'both complete');
    for (const mnt of [second, dir]) await laminaOk(['umount', mnt], root);
    expect(readdirSync(join(root, 'partial'))).toEqual([]);
    expect(await laminaOk(['system', 'check'], root)).toContain('all is well');
  });

  test('system check knows indexes, and removes those that are damaged', async () => {
    const { repository, blobs } = await put('gzip');
    await pushIndex(repository);
    const store = join(base, 'pusher');
    expect(await laminaOk(['system', 'check'], store)).toContain('all is well');
    const file = (blob: BuiltBlob, kind: string): string =>
      join(store, 'layers', blob.diffId.replace(':', '-'), `${sha256(blob.blob).replace(':', '-')}.${kind}`);
    const index = readFileSync(file(blobs[0]!, 'index'));
    index[index.length >> 1]! ^= 1;
    writeFileSync(file(blobs[0]!, 'index'), index);
    rmSync(file(blobs[1]!, 'index'));
    const found = await lamina(['system', 'check', '--repair'], store);
    expect(found.stdout + found.stderr).toMatch(/\.index/);
    expect(found.stdout + found.stderr).toMatch(/\.windows.*belongs to no index/);
    for (const blob of blobs) expect(existsSync(file(blob, 'index'))).toBe(false);
    expect(existsSync(file(blobs[1]!, 'windows'))).toBe(false);
    // Made again when they are wanted again.
    expect(await laminaOk(['push', '--lazy-index', `${registry.domain}/${repository}:1`], store)).toMatch(
      /layers: 2/,
    );
    expect(await laminaOk(['system', 'check'], store)).toContain('all is well');
  });

  test('an index that belongs to another layer, or is damaged, is as good as none', async () => {
    const { repository } = await put('gzip');
    await pushIndex(repository);
    // Whoever may push can put any index there; here, one whose blobs are swapped.
    const tag = `sha256-${(await manifestDigest(repository)).slice('sha256:'.length)}`;
    const manifests = `http://${registry.domain}/v2/${repository}/manifests`;
    const accept = 'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json';
    const read = async (reference: string): Promise<string> =>
      (await fetch(`${manifests}/${reference}`, { headers: { accept } })).text();
    const list = JSON.parse(await read(tag)) as { manifests: { digest: string; size: number }[] };
    const artifact = JSON.parse(await read(list.manifests[0]!.digest)) as {
      layers: { annotations: Record<string, string> }[];
    };
    const names = artifact.layers.map(({ annotations }) => annotations['org.laminafs.layer.digest']!);
    artifact.layers.forEach(
      ({ annotations }, place) =>
        (annotations['org.laminafs.layer.digest'] = names.find((other) => other !== names[place])!),
    );
    const bytes = Buffer.from(JSON.stringify(artifact));
    const putDocument = async (reference: string, body: string | Buffer, type: string): Promise<void> => {
      const answer = await fetch(`${manifests}/${reference}`, {
        method: 'PUT',
        body: body.toString(),
        headers: { 'content-type': type },
      });
      expect(answer.status).toBe(201);
    };
    await putDocument(sha256(bytes), bytes, 'application/vnd.oci.image.manifest.v1+json');
    Object.assign(list.manifests[0]!, { digest: sha256(bytes), size: bytes.length });
    await putDocument(tag, JSON.stringify(list), 'application/vnd.oci.image.index.v1+json');
    const result = await lamina(['mount', '--lazy', nameOf(repository), dir], root);
    expect(result).toMatchObject({
      exitCode: 0,
      stderr: expect.stringContaining('had to be fetched first') as string,
    });
    expect(await dumpDirectory(dir)).toBe(await pulled(repository));
  });

  test('containers and the portable driver are refused', async () => {
    const { repository } = await put('estargz');
    expect((await lamina(['mount', '--lazy', '--rw', nameOf(repository), dir], root)).exitCode).toBe(125);
    expect(
      (await lamina(['mount', '--lazy', '--lazy-timeout', '0', nameOf(repository), dir], root)).exitCode,
    ).toBe(125);
    const portable = await lamina(
      ['mount', '--lazy', '--driver', 'fuse-native', nameOf(repository), dir],
      root,
    );
    expect(portable.stderr).toContain('the portable driver cannot serve what is not here yet');
    expect(readdirSync(mountsDirectory())).toEqual([]);
  });
});
