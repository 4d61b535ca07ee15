/** What `npm pack` makes, installed where there is no compiler and no install script runs, mounts an image. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { needs } from '../helpers/require.js';
import { dir, dockerArchive, file } from '../helpers/stack.js';

const TOP = fileURLToPath(new URL('../../', import.meta.url));

it.runIf(needs('root', '/dev/fuse'))(
  'the packed package needs no compiler and no install script',
  () => {
    const base = mkdtempSync(path.join(tmpdir(), 'lamina-pack-'));
    const mnt = path.join(base, 'mnt');
    try {
      for (const name of ['app', 'bin', 'mnt']) mkdirSync(path.join(base, name));
      const [packed] = JSON.parse(
        execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', base], {
          cwd: TOP,
          encoding: 'utf8',
        }),
      ) as { filename: string; files: { path: string }[] }[];
      const names = packed!.files.map((entry) => entry.path);
      expect(names).toContain(`prebuilds/linux-${process.arch}/lamina-fuse`);
      expect(names).toContain('dist/sqlite/sql-wasm.wasm');
      expect(names.filter((name) => /^(test|bench|src|node_modules|native\/build)\//.test(name))).toEqual([]);
      execFileSync('npm', ['install', '--ignore-scripts', '--no-save', path.join(base, packed!.filename)], {
        cwd: path.join(base, 'app'),
        stdio: 'pipe',
      });
      // Nothing is on the PATH but node: no compiler, no make, no umount.
      symlinkSync(process.execPath, path.join(base, 'bin', 'node'));
      const archive = path.join(base, 'image.tar');
      dockerArchive([[dir('etc'), file('etc/name', 'packed')]], archive);
      const env = {
        PATH: path.join(base, 'bin'),
        LAMINA_ROOT: path.join(base, 'root'),
        LAMINA_RUN: path.join(base, 'run'),
      };
      const run = (...args: string[]): string =>
        execFileSync(path.join(base, 'app/node_modules/.bin/lamina'), args, { env, encoding: 'utf8' });
      run('mount', archive, mnt);
      try {
        expect(readFileSync(path.join(mnt, 'etc/name'), 'utf8')).toBe('packed');
        expect(run('fs', 'cat', archive, '/etc/name')).toBe('packed');
        const rules = path.join(base, 'rules.yaml');
        writeFileSync(rules, 'rules:\n  lowestEfficiency: 1\n');
        expect(run('analyze', '--ci', '--ci-config', rules, archive)).toMatch(
          /PASS {2}lowestEfficiency \(1\)/,
        );
      } finally {
        run('umount', mnt);
      }
      // The portable driver is an optional dependency: without it the error says what to do.
      rmSync(path.join(base, 'app/node_modules/fuse-native'), { recursive: true });
      expect(() => run('mount', '--driver', 'fuse-native', archive, mnt)).toThrow(
        /fuse-native.*\[EDRIVER\]/s,
      );
    } finally {
      rmSync(base, { recursive: true, force: true });
    }
  },
  180_000,
);
