/**
 * `npm run demo [-- ARCHIVE]`: mounts an image with the built command, looks at it, proves that what the mount shows is what
 * the image holds, and unmounts. Without an archive it assembles one from what this machine has. Needs what the package
 * needs: Linux, /dev/fuse, Node; python, docker and the like are not asked for. Leaves nothing behind.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { assemble } from './demo/assemble.js';
import { differences, dumpLines, walk } from './demo/walk.js';
import { isMounted } from './lib/system.js';
import { PROJECT } from './lib/work.js';

const MAIN = join(PROJECT, 'dist/cli/main.js');

class DemoError extends Error {}

const say = (text = '') => process.stdout.write(`${text}\n`);
const thousands = (number) => number.toLocaleString('en-US');
const megabytes = (bytes) => `${thousands(Math.round(Number(bytes) / 1e6))} MB`;
const indented = (text, limit = 12) => {
  const lines = text.trimEnd().split('\n');
  const shown = lines.slice(0, limit).map((line) => `    ${line}`);
  return [...shown, ...(lines.length > limit ? [`    ... ${lines.length - limit} more`] : [])].join('\n');
};

/** Runs an action; -> [its result, 'N ms' or 'N s']. */
async function timed(action) {
  const start = performance.now();
  const result = await action();
  const ms = performance.now() - start;
  return [result, ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`];
}

function checkMachine() {
  if (!existsSync(MAIN)) throw new DemoError('Lamina is not built yet. Run: npm run build');
  try {
    closeSync(openSync('/dev/fuse', 'r+'));
  } catch {
    throw new DemoError(
      'There is no /dev/fuse that can be opened, so nothing can be mounted here.\n' +
        'On a host: modprobe fuse. In a container: start it with --device /dev/fuse --cap-add SYS_ADMIN.\n' +
        'Images can be read without a mount: npx lamina fs ls ARCHIVE /',
    );
  }
}

function lamina(root, ...args) {
  const env = { ...process.env, LAMINA_ROOT: root };
  const run = spawnSync(process.execPath, [MAIN, ...args], { env, encoding: 'latin1', maxBuffer: 1 << 30 });
  if (run.status !== 0) throw new DemoError(`lamina ${args.join(' ')} failed:\n${run.stderr}`);
  return run.stdout;
}

/** How many names there are below each of the first two levels. */
function shortTree(entries) {
  const counts = new Map();
  for (const { path } of entries) {
    const parts = path.split('/').slice(1);
    for (const depth of [1, 2]) {
      if (parts.length < depth) continue;
      const key = parts.slice(0, depth).join('/');
      counts.set(key, (counts.get(key) ?? -1) + 1);
    }
  }
  return [...counts]
    .map(([path, below]) => {
      const parts = path.split('/');
      return `${'   '.repeat(parts.length - 1)}${parts.at(-1)}${below > 0 ? `   (${thousands(below)} below)` : ''}`;
    })
    .join('\n');
}

function fail(found) {
  throw new DemoError(
    `The mount and the image differ in ${found.length} places:\n${indented(found.join('\n'))}`,
  );
}

/** Compares the mount's dump with the one that `lamina fs dump` makes from the archive. */
function compareDumps(fromMount, dump) {
  const fromImage = dump
    .trimEnd()
    .split('\n')
    .map((line) => (line.split(' ')[1] === 'h' ? line : line.slice(0, line.lastIndexOf(' '))));
  const inImage = new Set(fromImage);
  const inMount = new Set(fromMount);
  const found = [
    ...fromImage.filter((line) => !inMount.has(line)).map((line) => `only in the dump: ${line}`),
    ...fromMount.filter((line) => !inImage.has(line)).map((line) => `only in the mount: ${line}`),
  ];
  if (found.length > 0 || fromImage.length !== fromMount.length) fail(found);
}

async function prove(root, archive, mountpoint, model) {
  const [entries, walked] = await timed(() => [...walk(mountpoint)]);
  const bytes = entries.reduce((sum, { type, stat }) => (type === 'f' ? sum + stat.size : sum), 0n);
  say(`  What is in it:\n${indented(shortTree(entries), 24)}`);
  say(
    `  Proof: ${thousands(entries.length - 1)} names, ${megabytes(bytes)} read through the mount in ${walked}`,
  );
  if (model !== undefined) {
    const found = differences(entries, model.visible);
    if (found.length > 0) fail(found);
    say(
      '    each type, mode, time, link and sha256 is that of the original file; no name more, no name less',
    );
  }
  const [dump, dumped] = await timed(() => lamina(root, 'fs', 'dump', archive));
  compareDumps(dumpLines(entries), dump);
  say(`    and 'lamina fs dump', which reads the archive without a mount, says the same (${dumped})`);
  return entries;
}

async function demo(scratch, given) {
  const root = join(scratch, 'cache');
  const mountpoint = join(scratch, 'mnt');
  mkdirSync(mountpoint);
  let archive = given;
  let made;
  if (archive === undefined) {
    const [result, took] = await timed(() => assemble(join(scratch, 'image')));
    made = result;
    archive = made.archive;
    const { layers, entries } = made.model;
    say(`Assembled an image of ${layers.length} layers and ${thousands(entries)} entries in ${took}`);
  }
  say(`Image: ${made ? 'demo.tar' : relative(process.cwd(), archive)}, ${megabytes(statSync(archive).size)}`);
  say();

  const [, cold] = await timed(() => lamina(root, 'mount', archive, mountpoint));
  say(`  lamina mount   ${cold} (each layer indexed, layers merged, nothing unpacked)`);
  lamina(root, 'umount', mountpoint);
  const [, warm] = await timed(() => lamina(root, 'mount', archive, mountpoint));
  say(`  and again      ${warm} (the index was kept)`);
  say();

  const entries = await prove(root, archive, mountpoint, made?.model);
  const asked = made ? `/${made.replaced}` : entries.find(({ type }) => type === 'f')?.path;
  if (asked !== undefined) {
    say();
    say(`  lamina fs which ${made ? 'demo.tar' : relative(process.cwd(), archive)} ${asked}`);
    say(indented(lamina(root, 'fs', 'which', archive, Buffer.from(asked, 'latin1').toString('utf8'))));
  }
  const [, unmounted] = await timed(() => lamina(root, 'umount', mountpoint));
  say();
  say(`  lamina umount  ${unmounted}; nothing is left behind`);
}

async function main() {
  const given = process.argv[2];
  if (given !== undefined && !existsSync(given)) throw new DemoError(`There is no ${given}`);
  checkMachine();
  const scratch = mkdtempSync(join(tmpdir(), 'lamina-demo-'));
  const cleanUp = () => {
    const mountpoint = join(scratch, 'mnt');
    if (isMounted(mountpoint)) lamina(join(scratch, 'cache'), 'umount', '--lazy', mountpoint);
    rmSync(scratch, { recursive: true, force: true });
  };
  process.once('SIGINT', () => {
    cleanUp();
    process.exit(130);
  });
  try {
    await demo(scratch, given === undefined ? undefined : resolve(given));
  } finally {
    cleanUp();
  }
}

main().catch((error) => {
  process.stderr.write(`${error instanceof DemoError ? error.message : error.stack}\n`);
  process.exitCode = 1;
});
