import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { sweepPartials } from '../../../src/registry/partial.js';
import { tryLockFile } from '../../../src/store/flock.js';
import { SERVER } from '../../helpers/server-binary.js';
import { requirement } from '../../helpers/require.js';

const DAY_MS = 24 * 3600 * 1000;
let root: string;
beforeEach(() => (root = mkdtempSync(join(tmpdir(), 'lamina-partial-'))));
afterEach(() => rmSync(root, { recursive: true, force: true }));

test.runIf(requirement('the native server', existsSync(SERVER)))(
  'what has been left for long is removed, files of pulls and directories of lazy mounts, unless somebody is at work',
  async () => {
    const partial = join(root, 'partial');
    const old = new Date(Date.now() - 8 * DAY_MS);
    const make = (name: string, ...changed: string[]): void => {
      mkdirSync(join(partial, name), { recursive: true });
      for (const file of ['lock', 'blob', 'have']) {
        writeFileSync(join(partial, name, file), 'x');
        if (!changed.includes(file)) utimesSync(join(partial, name, file), old, old);
      }
      utimesSync(join(partial, name), old, old);
    };
    make('lazy-old');
    make('lazy-used', 'have');
    make('lazy-locked');
    writeFileSync(join(partial, 'sha256-old'), '');
    utimesSync(join(partial, 'sha256-old'), old, old);
    writeFileSync(join(partial, 'sha256-new'), '');
    const lock = await tryLockFile(join(partial, 'lazy-locked', 'lock'));
    await sweepPartials(root);
    expect(readdirSync(partial).sort()).toEqual(['lazy-locked', 'lazy-used', 'sha256-new']);
    lock!.release();
    await sweepPartials(root);
    expect(readdirSync(partial).sort()).toEqual(['lazy-used', 'sha256-new']);
  },
);
