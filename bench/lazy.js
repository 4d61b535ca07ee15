/**
 * Lazy mounts over a slow line: sudo node bench/lazy.js ARCHIVE [ROUNDS]. ARCHIVE is a docker archive of a Debian image with python3. A registry in a
 * network namespace of its own is reached by a line of 20 Mbit/s and 30 ms there and back (lib/slow_link.py: not every kernel has netem). What is
 * measured, with an empty store each time: from the command to the end of `chroot DIR python3 -c pass`, after a pull and a mount, and after a
 * lazy mount. Bytes are those of layers that came until then. eStargz is not measured: nothing in Debian writes it.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median } from './lib/stats.js';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const LINK = fileURLToPath(new URL('lib/slow_link.py', import.meta.url));
const [archive, rounds = '3'] = process.argv.slice(2);
if (archive === undefined) throw new Error('usage: node bench/lazy.js ARCHIVE [ROUNDS]');

const base = mkdtempSync(join(tmpdir(), 'lamina-bench-lazy-'));
const at = (...names) => join(base, ...names);
const namespace = `lamina-bench-${process.pid}`;
const PORT = 5973;
/** From this side, and from within. */
const [FAR, NEAR] = [`10.77.0.2:${PORT}`, `localhost:${PORT}`];
const children = [];
const env = {
  ...process.env,
  LAMINA_RUN: at('run'),
  LAMINA_REGISTRIES: at('registries.json'),
  DOCKER_CONFIG: at('docker'),
};

function run(command, args, more = {}) {
  return execFileSync(command, args, {
    env: { ...env, ...more },
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
}
const lamina = (root, ...args) => run(process.execPath, [MAIN, ...args], { LAMINA_ROOT: root });
const inside = (command, args, more) => run('ip', ['netns', 'exec', namespace, command, ...args], more);

async function line(child) {
  return new Promise((resolve, reject) => {
    child.stdout.once('data', resolve);
    child.once('close', (code) => reject(new Error(`${child.spawnfile} ended with ${code}`)));
  });
}

async function startRegistry() {
  run('ip', ['netns', 'add', namespace]);
  const link = spawn('python3', [LINK, namespace, '20', '30'], { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(link);
  await line(link);
  writeFileSync(
    at('config.yml'),
    `version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage:\n  filesystem: {rootdirectory: ${at('data')}}\nhttp: {addr: "0.0.0.0:${PORT}"}\n`,
  );
  children.push(
    spawn('ip', ['netns', 'exec', namespace, 'docker-registry', 'serve', at('config.yml')], {
      stdio: 'ignore',
    }),
  );
  for (let attempt = 0; attempt < 100; attempt++) {
    const isUp = await fetch(`http://${FAR}/v2/`).then(
      () => true,
      () => false,
    );
    if (isUp) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('docker-registry does not answer');
}

/** zstd:chunked before gzip: skopeo sends a layer that the registry has as it is there. */
function fill() {
  const skopeo = ['--insecure-policy', 'copy', '-q', '--dest-tls-verify=false'];
  run('skopeo', [
    ...skopeo,
    '--dest-oci-accept-uncompressed-layers',
    `docker-archive:${archive}`,
    `oci:${at('oci')}:1`,
  ]);
  inside('skopeo', [
    ...skopeo,
    '--dest-compress-format',
    'zstd:chunked',
    `oci:${at('oci')}:1`,
    `docker://127.0.0.1:${PORT}/zstd:1`,
  ]);
  inside('skopeo', [
    ...skopeo,
    '--dest-compress-format',
    'gzip',
    `oci:${at('oci')}:1`,
    `docker://${NEAR}/gzip:1`,
  ]);
  const push = (...args) => inside(process.execPath, [MAIN, ...args], { LAMINA_ROOT: at('pusher') });
  push('pull', '-q', `${NEAR}/gzip:1`);
  push('push', '-q', '--lazy-index', `${NEAR}/gzip:1`);
}

function progress() {
  const directory = at('run', 'mounts');
  const name = readdirSync(directory).find((one) => one.endsWith('.progress'));
  return name === undefined ? undefined : JSON.parse(readFileSync(join(directory, name), 'utf8'));
}

async function measure(image, isLazy) {
  const [root, mnt] = [at('root'), at('mnt')];
  mkdirSync(mnt, { recursive: true });
  const begun = process.hrtime.bigint();
  if (isLazy) lamina(root, 'mount', '--lazy', image, mnt);
  else {
    lamina(root, 'pull', '-q', '--tls-verify=false', image);
    lamina(root, 'mount', image, mnt);
  }
  run('chroot', [mnt, 'python3', '-c', 'pass']);
  const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
  // The fetcher writes down how far it is each second.
  if (isLazy) await new Promise((resolve) => setTimeout(resolve, 1100));
  const bytes = isLazy ? progress().fetchedBytes : undefined;
  lamina(root, 'umount', mnt);
  rmSync(root, { recursive: true, force: true });
  return { seconds, bytes };
}

const results = new Map();
try {
  mkdirSync(at('docker'));
  writeFileSync(at('registries.json'), JSON.stringify({ 'insecure-registries': [FAR] }));
  await startRegistry();
  fill();
  for (let count = 0; count < Number(rounds); count++)
    for (const name of ['gzip', 'zstd'])
      for (const isLazy of [true, false]) {
        const key = `${name === 'gzip' ? 'gzip, index' : 'zstd:chunked'}, ${isLazy ? 'lazy' : 'pull'}`;
        const result = await measure(`${FAR}/${name}:1`, isLazy);
        results.set(key, [...(results.get(key) ?? []), result]);
        process.stderr.write(`${key}: ${result.seconds.toFixed(2)} s\n`);
      }
  console.log('| | seconds, median (all) | MB of layers |\n|---|---|---|');
  for (const [key, all] of results) {
    const seconds = all.map((one) => one.seconds);
    const bytes = all[0].bytes === undefined ? 'all' : (median(all.map((one) => one.bytes)) / 1e6).toFixed(1);
    console.log(
      `| ${key} | ${median(seconds).toFixed(1)} (${seconds.map((one) => one.toFixed(1)).join(', ')}) | ${bytes} |`,
    );
  }
} finally {
  if (existsSync(at('mnt'))) spawnSync('umount', ['-l', at('mnt')], { stdio: 'ignore' });
  for (const child of children.reverse()) child.kill('SIGKILL');
  await new Promise((resolve) => setTimeout(resolve, 200));
  run('ip', ['netns', 'delete', namespace]);
  rmSync(base, { recursive: true, force: true });
}
