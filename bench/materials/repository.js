/**
 * A bare git repository of 4,600 text files in 400 directories, twenty commits deep, packed; the branch `earlier` differs
 * from the last commit in about 1,100 files. Names, contents, authors and times come from a seed: the same objects everywhere.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { randomFrom } from '../images/random.js';
import { run } from '../lib/system.js';
import { cached } from '../lib/work.js';

export const REPOSITORY_FILES = 4600;
const DIRECTORIES = 400;
const COMMITS = 20;
const WORDS =
  'static const return if else for while int char struct void buffer length offset node entry layer path name size read write open close lookup union copy index cache inode error result value first last next'.split(
    ' ',
  );

function text(random, lines) {
  const word = () => WORDS[Math.floor(random() * WORDS.length)];
  const line = () => Array.from({ length: 4 + Math.floor(random() * 8) }, word).join(' ');
  return Array.from({ length: lines }, () => `${line()};\n`).join('');
}

const pathOf = (i) => `src/part${(i % DIRECTORIES) % 16}/unit${i % DIRECTORIES}/file${i}.c`;

/** -> { bare: directory, files, changed: how many files `earlier` has otherwise }. */
export function repository(work) {
  return cached(work, 'repository', 1, (directory) => {
    const tree = join(directory, 'tree');
    const bare = join(directory, 'bare.git');
    const random = randomFrom(4600);
    const git = (when, ...args) =>
      run('git', ['-C', tree, '-c', 'gc.auto=0', '-c', 'maintenance.auto=false', ...args], {
        env: {
          PATH: process.env.PATH,
          HOME: directory,
          GIT_CONFIG_NOSYSTEM: '1',
          GIT_AUTHOR_NAME: 'Bench',
          GIT_AUTHOR_EMAIL: 'bench@example.org',
          GIT_AUTHOR_DATE: `${1700000000 + when} +0000`,
          GIT_COMMITTER_NAME: 'Bench',
          GIT_COMMITTER_EMAIL: 'bench@example.org',
          GIT_COMMITTER_DATE: `${1700000000 + when} +0000`,
        },
      });
    const write = (i) => {
      const path = join(tree, pathOf(i));
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text(random, 10 + Math.floor(random() * 120)));
    };
    mkdirSync(tree);
    git(0, 'init', '--quiet', '--initial-branch=main');
    for (let i = 0; i < REPOSITORY_FILES; i++) write(i);
    for (let commit = 0; commit < COMMITS; commit++) {
      if (commit > 0) for (let n = 0; n < 64; n++) write(Math.floor(random() * REPOSITORY_FILES));
      git(commit * 3600, 'add', '--all');
      git(commit * 3600, 'commit', '--quiet', '--message', `Change ${commit}`);
      if (commit === 0) git(0, 'branch', 'earlier');
    }
    git(0, 'gc', '--quiet');
    run('git', ['clone', '--quiet', '--bare', tree, bare]);
    const changed = git(0, 'diff', '--name-only', 'earlier', 'main').split('\n').length - 1;
    return { bare, files: REPOSITORY_FILES, changed };
  });
}
