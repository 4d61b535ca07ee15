/**
 * The store: node bench/store.js [--size MB] [--rounds N] [--images N] [--only load,list,start]. Figures of one run, next to what they are to be held against:
 * load of a docker archive against sha256sum and cp of it and skopeo copy into containers-storage, a second load, a list of many images, the start of
 * commands against `node -e 0`. Rounds are interleaved; times are medians.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { median } from './lib/stats.js';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '1000' },
    rounds: { type: 'string', default: '5' },
    images: { type: 'string', default: '1000' },
    only: { type: 'string', default: 'load,list,start' },
  },
});
const [sizeMb, rounds, imageCount] = [values.size, values.rounds, values.images].map(Number);
const only = new Set(values.only.split(','));

const base = mkdtempSync(join(process.env['LAMINA_BENCH_DIR'] ?? tmpdir(), 'lamina-bench-store-'));
const at = (...names) => join(base, ...names);
const root = at('store');
const times = new Map();

/**
 * Runs a command and keeps what it took: seconds from its start to its end, and of processor time, which others on the machine disturb less. Raises when
 * it fails.
 */
function timed(name, command, args, env = {}) {
  const script = 'TIMEFORMAT="%R %U %S"; time "$@" >/dev/null 2>"$0"';
  const { status, stderr } = spawnSync('bash', ['-c', script, at('stderr'), command, ...args], {
    env: { ...process.env, LAMINA_ROOT: root, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${readFileSync(at('stderr'), 'utf8')}`);
  const [seconds, user, system] = stderr.trim().split(' ').map(Number);
  times.set(name, [...(times.get(name) ?? []), { seconds, cpu: user + system }]);
}
const lamina = (name, ...args) => timed(name, process.execPath, [MAIN, ...args]);
const of = (name) => median(times.get(name).map(({ seconds }) => seconds));
const cpuOf = (name) => median(times.get(name).map(({ cpu }) => cpu));
const remove = (...names) => names.forEach((name) => rmSync(at(name), { recursive: true, force: true }));

/** A docker archive of two layers of files that do not compress: what there is to copy and to hash is all of it. */
function makeArchive(file) {
  const layers = ['one', 'two'].map((name) => {
    const tree = at(name);
    mkdirSync(tree);
    const bytes = Buffer.allocUnsafe(1 << 20);
    for (let count = 0; count < sizeMb / 2; count++) {
      mkdirSync(join(tree, `${count % 50}`), { recursive: true });
      writeFileSync(
        join(tree, `${count % 50}`, `file${count}`),
        randomFillSync(bytes).subarray(0, 1_000_000),
      );
    }
    mkdirSync(at('archive', name), { recursive: true });
    execFileSync('tar', ['-C', tree, '-cf', at('archive', name, 'layer.tar'), '.']);
    remove(name);
    const [digest] = execFileSync('sha256sum', [at('archive', name, 'layer.tar')], {
      encoding: 'utf8',
    }).split(' ');
    return { path: `${name}/layer.tar`, digest: `sha256:${digest}` };
  });
  const config = JSON.stringify({
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
    history: layers.map(() => ({ created: '2026-01-01T00:00:00Z', created_by: 'bench' })),
  });
  const name = `${createHash('sha256').update(config).digest('hex')}.json`;
  writeFileSync(at('archive', name), config);
  writeFileSync(
    at('archive', 'manifest.json'),
    JSON.stringify([{ Config: name, RepoTags: ['bench:1'], Layers: layers.map(({ path }) => path) }]),
  );
  execFileSync('tar', [
    '-C',
    at('archive'),
    '-cf',
    file,
    'manifest.json',
    name,
    ...layers.map(({ path }) => path),
  ]);
  remove('archive');
}

function load() {
  const archive = at('image.tar');
  makeArchive(archive);
  const hasSkopeo = spawnSync('skopeo', ['--version']).status === 0;
  // Everybody finds the archive in the page cache, and nobody has to wait for what another has left to be written.
  for (let round = 0; round < rounds; round++) {
    const settle = () => spawnSync('sync', ['-f', base]);
    settle();
    timed('sha256sum', 'sha256sum', [archive]);
    timed('cp', 'cp', [archive, at('copy')]);
    remove('copy');
    settle();
    timed('sha256sum, cp and sync', 'sh', [
      '-c',
      `sha256sum ${archive} && cp ${archive} ${at('copy')} && sync ${at('copy')}`,
    ]);
    remove('copy');
    settle();
    lamina('load', 'load', '-q', '-i', archive);
    settle();
    lamina('second load', 'load', '-q', '-i', archive);
    remove('store');
    if (!hasSkopeo) continue;
    settle();
    const storage = `[overlay@${at('storage')}+${at('run')}]`;
    timed('skopeo', 'skopeo', [
      '--insecure-policy',
      'copy',
      '-q',
      `docker-archive:${archive}`,
      `containers-storage:${storage}bench:1`,
    ]);
    for (const path of [at('storage', 'overlay')]) spawnSync('umount', ['-l', path], { stdio: 'ignore' });
    remove('storage', 'run');
  }
  const bar = 2 * (of('sha256sum') + of('cp'));
  say(`load of a docker archive of ${sizeMb} MB`, 'load', `bar ${ms(bar)}: ${ratio(of('load') / bar)} of it`);
  for (const name of ['sha256sum', 'cp']) say(`  ${name}`, name);
  say('  sha256sum, cp and sync', 'sha256sum, cp and sync', 'load syncs too');
  if (hasSkopeo)
    say(
      '  skopeo, into containers-storage',
      'skopeo',
      `${ratio(of('skopeo') / of('load'))} times as long as load; bar 3`,
    );
  say('second load of the same', 'second load', 'bar 300 ms');
  remove('image.tar');
}

/** Images of one layer of a few bytes each. */
function list() {
  const tar = at('many.tar');
  mkdirSync(at('many/blobs/sha256'), { recursive: true });
  const blob = (bytes) => {
    const hex = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(at('many/blobs/sha256', hex), bytes);
    return { digest: `sha256:${hex}`, size: Buffer.byteLength(bytes) };
  };
  writeFileSync(at('file'), 'x');
  const manifests = Array.from({ length: imageCount }, (_, index) => {
    writeFileSync(at('file'), String(index));
    const layer = execFileSync('tar', ['-C', base, '-cf', '-', 'file']);
    const { digest, size } = blob(layer);
    const config = blob(
      JSON.stringify({
        architecture: process.arch === 'x64' ? 'amd64' : process.arch,
        os: 'linux',
        created: new Date(1.7e12 + index * 6e4).toISOString(),
        config: { Labels: { index: String(index) } },
        rootfs: { type: 'layers', diff_ids: [digest] },
      }),
    );
    const type = 'application/vnd.oci.image';
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: `${type}.manifest.v1+json`,
      config: { mediaType: `${type}.config.v1+json`, ...config },
      layers: [{ mediaType: `${type}.layer.v1.tar`, digest, size }],
    });
    return {
      mediaType: `${type}.manifest.v1+json`,
      ...blob(manifest),
      annotations: { 'io.containerd.image.name': `docker.io/library/image${index % 100}:v${index}` },
    };
  });
  writeFileSync(at('many/oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(at('many/index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  execFileSync('tar', ['-C', at('many'), '-cf', tar, '.']);
  lamina('load many', 'load', '-q', '-i', tar);
  for (let round = 0; round < rounds; round++) {
    lamina('images, many', 'images');
    lamina('images -a --digests', 'images', '-a', '--digests');
    lamina('tag', 'tag', 'image50:v50', `again:${round}`);
    lamina('inspect, many', 'inspect', 'image50:v50');
    lamina('rmi', 'rmi', `image${round}:v${round}`);
    lamina('system df, many', 'system', 'df');
  }
  say(`images, of ${imageCount}`, 'images, many', 'bar 150 ms');
  for (const name of ['images -a --digests', 'inspect, many', 'tag', 'rmi', 'system df, many'])
    say(name, name, `with ${imageCount} images`);
  remove('store', 'many', 'many.tar');
}

/** What every command takes before it begins, and what small ones take in all. */
function start() {
  const help = execFileSync(process.execPath, [MAIN, '--help'], { encoding: 'utf8' });
  const names = [...help.matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, name]) => name);
  const commands = [
    ...[['--version'], ['images'], ['ps', '-a'], ['history', 'bench:1'], ['inspect', 'bench:1'], ['mounts']],
    ...[
      ['fs', 'ls', 'bench:1'],
      ['system', 'df'],
      ['image', 'prune', '--dry-run'],
      ['tag', 'bench:1', 'other'],
    ],
    ...names.map((name) => [name, '--help']),
  ];
  writeFileSync(at('file'), 'x');
  execFileSync('tar', ['-C', base, '-cf', at('file.tar'), 'file']);
  lamina('import', 'import', at('file.tar'), 'bench:1');
  lamina('first', 'fs', 'ls', 'bench:1');
  for (let round = 0; round < 2 * rounds; round++) {
    timed('node -e 0', process.execPath, ['-e', '0']);
    for (const args of commands) lamina(args.join(' '), ...args);
  }
  say('node -e 0', 'node -e 0');
  for (const args of commands) {
    const name = args.join(' ');
    const [wall, cpu] = [of(name) / of('node -e 0'), cpuOf(name) / cpuOf('node -e 0')];
    say(`lamina ${name}`, name, `${ratio(wall)} times node -e 0, ${ratio(cpu)} of processor time`);
  }
}

const ms = (seconds) => `${(seconds * 1000).toFixed(0)} ms`;
const ratio = (value) => value.toFixed(2);
function say(what, name, note = '') {
  process.stdout.write(
    `${what.padEnd(40)} ${ms(of(name)).padStart(9)} ${ms(cpuOf(name)).padStart(9)} CPU   ${note}\n`,
  );
}

try {
  if (only.has('start')) start();
  if (only.has('list')) list();
  if (only.has('load')) load();
} finally {
  rmSync(base, { recursive: true, force: true });
}
