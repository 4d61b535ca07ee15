/**
 * Pull, push and copy over loopback, against skopeo and umoci: node bench/registry.js ARCHIVE [ROUNDS]. ARCHIVE is a docker archive, whose layers
 * skopeo compresses on their way into the registry. Rounds are interleaved; times are medians, RSS is the largest seen.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median } from './lib/stats.js';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const [archive, rounds = '3'] = process.argv.slice(2);
if (archive === undefined) throw new Error('usage: node bench/registry.js ARCHIVE [ROUNDS]');

const base = mkdtempSync(join(tmpdir(), 'lamina-bench-registry-'));
const at = (...names) => join(base, ...names);
const registries = [];

/** Raises when it fails; -> { seconds, rssBytes } of the command itself. */
async function measured(command, args, env = {}) {
  const begun = process.hrtime.bigint();
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk) => (said += chunk));
  let rssBytes = 0;
  const timer = setInterval(() => {
    try {
      const kilobytes = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1];
      rssBytes = Math.max(rssBytes, Number(kilobytes ?? 0) * 1024);
    } catch {
      // It has ended.
    }
  }, 20);
  const code = await new Promise((resolve) => child.on('close', resolve));
  clearInterval(timer);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ${said}`);
  return { seconds: Number(process.hrtime.bigint() - begun) / 1e9, rssBytes };
}

async function startRegistry(port) {
  const directory = at(`registry-${port}`);
  mkdirSync(directory);
  writeFileSync(
    join(directory, 'config.yml'),
    `version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage:\n  filesystem: {rootdirectory: ${directory}/data}\n` +
      `http: {addr: "127.0.0.1:${port}"}\n`,
  );
  const child = spawn('docker-registry', ['serve', join(directory, 'config.yml')], { stdio: 'ignore' });
  registries.push(child);
  for (let attempt = 0; attempt < 100; attempt++) {
    const isUp = await fetch(`http://127.0.0.1:${port}/v2/`).then(
      () => true,
      () => false,
    );
    if (isUp) return `127.0.0.1:${port}`;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('docker-registry does not answer');
}

const QUIET = ['--insecure-policy'];
const lamina = (root, ...args) => measured(process.execPath, [MAIN, ...args], { LAMINA_ROOT: root });
const skopeo = (...args) => measured('skopeo', [...QUIET, ...args]);

async function both(first, second) {
  const [one, two] = [await first(), await second()];
  return { seconds: one.seconds + two.seconds, rssBytes: Math.max(one.rssBytes, two.rssBytes) };
}

const results = new Map();
async function round(name, run, clean) {
  const result = await run();
  results.set(name, [...(results.get(name) ?? []), result]);
  process.stderr.write(`${name}: ${result.seconds.toFixed(2)} s\n`);
  await clean();
}

try {
  const [source, target] = [await startRegistry(5971), await startRegistry(5972)];
  await skopeo('copy', '--dest-tls-verify=false', `docker-archive:${archive}`, `docker://${source}/image:1`);
  const remove = (...names) => names.forEach((name) => rmSync(at(name), { recursive: true, force: true }));
  const storage = `[overlay@${at('storage')}+${at('run')}]`;
  for (let count = 0; count < Number(rounds); count++) {
    const image = `${source}/image:1`;
    await round(
      'pull, lamina pull',
      () => lamina(at('lamina'), 'pull', '-q', image),
      () => remove('lamina'),
    );
    await round(
      'pull, skopeo copy to an OCI directory, umoci unpack',
      () =>
        both(
          () => skopeo('copy', '-q', '--src-tls-verify=false', `docker://${image}`, `oci:${at('oci')}:1`),
          () => measured('umoci', ['unpack', '--image', `${at('oci')}:1`, at('bundle')]),
        ),
      () => remove('oci', 'bundle'),
    );
    await round(
      'pull, skopeo copy into containers-storage',
      () =>
        skopeo(
          'copy',
          '-q',
          '--src-tls-verify=false',
          `docker://${image}`,
          `containers-storage:${storage}image:1`,
        ),
      () =>
        measured('podman', [
          '--root',
          at('storage'),
          '--runroot',
          at('run'),
          '--storage-driver',
          'overlay',
          'rmi',
          '-af',
        ]),
    );
  }
  for (let count = 0; count < Number(rounds); count++) {
    const image = `docker://${source}/image:1`;
    await round(
      'copy to an OCI directory, lamina copy',
      () => lamina(at('lamina'), 'copy', '-q', image, `oci:${at('oci')}:1`),
      () => remove('lamina', 'oci'),
    );
    await round(
      'copy to an OCI directory, skopeo copy',
      () => skopeo('copy', '-q', '--src-tls-verify=false', image, `oci:${at('oci')}:1`),
      () => remove('oci'),
    );
    await round(
      'copy to another registry, lamina copy',
      () => lamina(at('lamina'), 'copy', '-q', image, `docker://${target}/copied:1`),
      () => remove('lamina', 'registry-5972/data'),
    );
    await round(
      'copy to another registry, skopeo copy',
      () =>
        skopeo(
          ...['copy', '-q', '--src-tls-verify=false', '--dest-tls-verify=false'],
          ...[image, `docker://${target}/copied:1`],
        ),
      () => remove('registry-5972/data'),
    );
  }
  await lamina(at('lamina'), 'pull', '-q', `${source}/image:1`);
  await skopeo('copy', '-q', '--src-tls-verify=false', `docker://${source}/image:1`, `oci:${at('oci')}:1`);
  for (let count = 0; count < Number(rounds); count++) {
    await lamina(at('lamina'), 'tag', `${source}/image:1`, `${target}/lamina-${count}:1`);
    const forget = () => remove('registry-5972/data');
    await round(
      'push, lamina push',
      () => lamina(at('lamina'), 'push', '-q', `${target}/lamina-${count}:1`),
      forget,
    );
    remove('lamina/registries');
    await round(
      'push, skopeo copy',
      () =>
        skopeo(
          'copy',
          '-q',
          '--dest-tls-verify=false',
          `oci:${at('oci')}:1`,
          `docker://${target}/skopeo-${count}:1`,
        ),
      forget,
    );
  }
  for (const [name, runs] of results) {
    const seconds = median(runs.map((run) => run.seconds));
    const rss = Math.max(...runs.map((run) => run.rssBytes)) / 1e6;
    process.stdout.write(
      `${name.padEnd(55)} ${seconds.toFixed(2).padStart(7)} s  ${rss.toFixed(0).padStart(5)} MB RSS\n`,
    );
  }
} finally {
  for (const child of registries) child.kill();
  rmSync(base, { recursive: true, force: true });
}
