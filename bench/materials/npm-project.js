/** This repository's own lock file, and an npm cache that holds all that it names, so that `npm ci` needs no network. */
import { copyFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { run } from '../lib/system.js';
import { cached, PROJECT } from '../lib/work.js';

const FILES = ['package.json', 'package-lock.json'];

/** No lifecycle scripts: what they compile is not the filesystem's doing. */
export const npmCi = (cache) => [
  'ci',
  '--offline',
  '--ignore-scripts',
  '--no-audit',
  '--no-fund',
  '--logs-max=0',
  `--cache=${cache}`,
];

/** -> { project: a directory with the two files, cache, files: how many npm ci makes }. */
export function npmProject(work) {
  const lock = createHash('sha256')
    .update(readFileSync(join(PROJECT, FILES[1])))
    .digest('hex')
    .slice(0, 12);
  return cached(work, `npm-project-${lock}`, 1, (directory) => {
    const project = join(directory, 'project');
    const cache = join(directory, 'cache');
    mkdirSync(project);
    for (const file of FILES) copyFileSync(join(PROJECT, file), join(project, file));
    run(
      'npm',
      npmCi(cache).filter((flag) => flag !== '--offline'),
      { cwd: project },
    );
    const files = run('find', [join(project, 'node_modules'), '-type', 'f']).split('\n').length - 1;
    rmSync(join(project, 'node_modules'), { recursive: true });
    return { project, cache, files };
  });
}
