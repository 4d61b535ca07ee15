/** What programs do that ask for much in a row: each of their steps has its case elsewhere, their order is theirs. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { needs } from '../../../helpers/require.js';
import type { Case } from '../../case.js';

/** git(1) as nobody has configured it, in a directory of any owner. */
function git(directory: string, ...args: string[]): string {
  const set = ['safe.directory=*', 'user.name=n', 'user.email=e@example.org', 'init.defaultBranch=main'];
  return execFileSync('git', ['-C', directory, ...set.flatMap((text) => ['-c', text]), ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null' },
  });
}

const clone: Case = {
  name: 'a repository that git clones is whole and clean, before and after a checkout',
  async run({ dir }) {
    const origin = join(dir, 'w', 'origin');
    mkdirSync(origin);
    git(origin, 'init', '--quiet');
    for (let file = 0; file < 300; file++) {
      mkdirSync(join(origin, `d${file % 7}`), { recursive: true });
      writeFileSync(join(origin, `d${file % 7}`, `f${file}`), `line ${file}\n`.repeat(file));
    }
    git(origin, 'add', '.');
    git(origin, 'commit', '--quiet', '-m', 'one');
    for (let file = 0; file < 300; file += 3) writeFileSync(join(origin, `d${file % 7}`, `f${file}`), 'two');
    git(origin, 'commit', '--quiet', '-a', '-m', 'two');
    const copy = join(dir, 'w', 'copy');
    // By the protocol, not by hard links: packs are received, indexed, renamed and mapped.
    git(dir, 'clone', '--quiet', '--no-local', origin, copy);
    for (const commit of ['HEAD~1', 'main']) {
      git(copy, 'checkout', '--quiet', commit);
      expect(git(copy, 'status', '--porcelain')).toBe('');
      expect(git(copy, 'fsck', '--full')).toBe('');
    }
    expect(execFileSync('diff', ['-r', '-x', '.git', origin, copy], { encoding: 'utf8' })).toBe('');
  },
};

export const programCases: Case[] = needs('command git') ? [clone] : [];
