/**
 * `npm run build:native`: builds lamina-fuse with make and puts the stripped program where the package carries it. On
 * systems other than Linux there is nothing to build: the portable driver serves there.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, chmodSync, mkdirSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const native = dirname(fileURLToPath(import.meta.url));
const compiler = process.env['CXX'] ?? 'g++';
const INSTALL = 'Install a C++20 compiler and make, for example: apt-get install g++ make';

function run(command, args) {
  return spawnSync(command, args, { cwd: native, stdio: 'inherit' });
}

function fail(message) {
  process.stderr.write(`build:native: ${message}\n`);
  process.exit(1);
}

function present(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

if (process.platform !== 'linux') {
  process.stdout.write(
    `build:native: nothing to build on ${process.platform}; the portable driver (fuse-native) is used there\n`,
  );
  process.exit(0);
}
for (const command of ['make', compiler]) {
  if (!present(command)) fail(`${command} cannot be run. ${INSTALL}`);
}
if (run('make', ['--no-print-directory', '-j2', `CXX=${compiler}`]).status !== 0) {
  fail(`the build failed; what the compiler said stands above. ${INSTALL}`);
}

const place = join(native, '..', 'prebuilds', `linux-${process.arch}`);
mkdirSync(place, { recursive: true });
// Renamed into place: a server that runs from the old file keeps it, where writing to it would fail with ETXTBSY.
const fresh = join(place, `lamina-fuse.${process.pid}`);
copyFileSync(join(native, 'build', 'lamina-fuse'), fresh);
// Without strip(1) the program is larger, not worse.
run('strip', [fresh]);
chmodSync(fresh, 0o755);
renameSync(fresh, join(place, 'lamina-fuse'));
