/**
 * A real C project to compile: Debian's source package of busybox, fetched by apt-get source into the work directory with
 * a package list of its own (the machine's is left alone). Where apt cannot reach it, the native server's own sources.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../lib/system.js';
import { cached, PROJECT } from '../lib/work.js';

const KEYS = '/usr/share/keyrings/debian-archive-keyring.gpg';
const LIST = `deb-src [signed-by=${KEYS}] http://deb.debian.org/debian bookworm main\n`;

/** Three of its directories: 229 small files, each with many headers and a file that lists what it needs. */
const TARGETS = ['libbb/', 'coreutils/', 'findutils/'];

function busybox(directory) {
  mkdirSync(join(directory, 'lists/partial'), { recursive: true });
  writeFileSync(join(directory, 'sources.list'), LIST);
  const options = [
    `Dir::Etc::SourceList=${directory}/sources.list`,
    'Dir::Etc::SourceParts=-',
    `Dir::State::Lists=${directory}/lists`,
  ].flatMap((option) => ['-o', option]);
  run('apt-get', [...options, 'update'], { cwd: directory, stdio: 'ignore' });
  run('apt-get', [...options, 'source', '--download-only', 'busybox'], { cwd: directory, stdio: 'ignore' });
  const archive = readdirSync(directory).find((name) => name.includes('.orig.tar'));
  const tree = join(directory, 'tree');
  mkdirSync(tree);
  run('tar', ['-xf', join(directory, archive), '--strip-components=1', '-C', tree]);
  run('make', ['-C', tree, 'defconfig']);
  return { name: 'busybox', tree, targets: TARGETS, objects: 229 };
}

/** -> { name, tree: directory, targets of make, objects: how many a compiler makes }. */
export function sourceTree(work) {
  return cached(work, 'source-tree', 1, (directory) => {
    try {
      return busybox(directory);
    } catch (error) {
      process.stderr.write(
        `no source package (${error.message.split('\n')[0]}): compiling native/ instead\n`,
      );
      const tree = join(directory, 'native');
      mkdirSync(tree);
      const files = run('git', ['-C', join(PROJECT, 'native'), 'ls-files', '--', '.'])
        .split('\n')
        .filter(Boolean);
      run('cp', ['--parents', ...files, tree], { cwd: join(PROJECT, 'native') });
      return {
        name: 'native',
        tree,
        targets: [],
        objects: files.filter((file) => file.endsWith('.cc')).length,
      };
    }
  });
}
