/** Both builders with stores of their own that hold the same base image, and what they make of a case in a form that can be compared. */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { openImage } from '../../src/image/open.js';
import { dumpToc } from '../../src/merge/dump.js';
import { busyboxRoot } from '../helpers/busybox-root.js';
import { laminaOk } from '../helpers/lamina.js';
import type { BuildCase, FileSpec } from './case.js';

const execute = promisify(execFile);

/** All that is copied is from then; whatever is later is from the build. */
const OLD = 1_000_000_000;

export interface Built {
  config: Record<string, unknown>;
  author: unknown;
  /** Lines of the canonical dump, by path. */
  tree: Map<string, string>;
}

export class SideBySide {
  readonly directory = mkdtempSync(join(tmpdir(), 'lamina-build-'));
  readonly root = join(this.directory, 'store');
  #count = 0;

  async prepare(): Promise<void> {
    const base = join(this.directory, 'base');
    makeBase(base);
    const tar = join(this.directory, 'base.tar');
    execFileSync('tar', ['--sort=name', '--numeric-owner', '-C', base, '-cf', tar, '.']);
    const changes = ['ENV PATH=/bin:/usr/bin', 'ENV X=base', 'CMD ["/bin/sh"]', 'LABEL of=base'];
    await laminaOk(['import', ...changes.flatMap((change) => ['-c', change]), tar, 'base'], this.root);
    const archive = join(this.directory, 'base-image.tar');
    await laminaOk(['save', '-o', archive, 'base'], this.root);
    // buildah calls what has no registry localhost/NAME.
    const id = (await this.#buildah('pull', '-q', `docker-archive:${archive}`)).trim();
    await this.#buildah('tag', id, 'localhost/base:latest');
  }

  /** Builds the case by both; the context is gone afterwards. */
  async build(test: BuildCase): Promise<{ ours: Built; theirs: Built; ourLog: string }> {
    const number = ++this.#count;
    const context = join(this.directory, `context-${number}`);
    writeTree(context, test);
    const secret = join(this.directory, 'secret');
    writeFileSync(secret, 'a secret\n');
    const args = (test.args ?? []).map((arg) => arg.replace('SECRET', secret));
    const name = `case${number}`;
    try {
      const [ours, theirs] = await Promise.all([
        this.#ours(name, [...args, context]),
        this.#theirs(name, [...args, context]),
      ]);
      return { ...ours, theirs };
    } finally {
      rmSync(context, { recursive: true, force: true });
    }
  }

  async #ours(name: string, args: readonly string[]): Promise<{ ours: Built; ourLog: string }> {
    const ourLog = await laminaOk(['build', '-t', name, ...args], this.root);
    return { ours: await readBuilt(`store:${name}`, this.root), ourLog };
  }

  async #theirs(name: string, args: readonly string[]): Promise<Built> {
    const archive = join(this.directory, `${name}.tar`);
    await this.#buildah(
      ...[
        'build',
        '-q',
        '--isolation=chroot',
        '--identity-label=false',
        '--network=host',
        '--format=docker',
        '--pull=never',
      ],
      ...['-t', name, ...args],
    );
    await this.#buildah('push', '-q', name, `docker-archive:${archive}:${name}:latest`);
    try {
      return await readBuilt(`docker-archive:${archive}`, this.root);
    } finally {
      rmSync(archive, { force: true });
    }
  }

  async #buildah(...args: string[]): Promise<string> {
    const storage = ['--root', join(this.directory, 'buildah'), '--runroot', join(this.directory, 'run')];
    const registries = join(this.directory, 'registries.conf');
    writeFileSync(
      registries,
      'unqualified-search-registries = ["localhost"]\nshort-name-mode = "permissive"\n',
    );
    const { stdout } = await execute('buildah', ['--storage-driver=overlay', ...storage, ...args], {
      maxBuffer: 1 << 26,
      env: { ...process.env, CONTAINERS_REGISTRIES_CONF: registries },
    });
    return stdout;
  }

  remove(): void {
    // buildah mounts its own directory on itself, and takes that away only when all went well.
    for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n').reverse()) {
      const place = line.split(' ')[1] ?? '';
      if (place.startsWith(`${this.directory}/`)) spawnSync('umount', ['--lazy', place]);
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}

async function readBuilt(name: string, root: string): Promise<Built> {
  const opened = await openImage(name, { root });
  try {
    const json = JSON.parse(opened.archived.configBytes.toString('utf8')) as Record<string, unknown>;
    const lines = dumpToc(await opened.toc(), opened.sources)
      .trim()
      .split('\n');
    return {
      config: json['config'] as Record<string, unknown>,
      author: json['author'],
      tree: new Map(lines.map((line) => [line.slice(0, line.indexOf(' ')), withoutNow(line)])),
    };
  } finally {
    opened.close();
  }
}

/** Times of the build itself are all `now`. */
function withoutNow(line: string): string {
  const fields = line.split(' ');
  if (fields.length > 6 && Number(fields[6]) > OLD + 1000) fields[6] = 'now';
  return fields.join(' ');
}

function makeBase(base: string): void {
  busyboxRoot(base);
  for (const directory of ['proc', 'dev', 'sys', 'run', 'opt/data', 'usr/bin'])
    mkdirSync(join(base, directory), { recursive: true });
  for (const file of ['etc/hosts', 'etc/hostname', 'etc/resolv.conf', 'opt/file', 'opt/data/kept'])
    writeFileSync(join(base, file), file);
  chmodSync(join(base, 'tmp'), 0o1777);
  chmodSync(join(base, 'opt/data'), 0o750);
  execFileSync('chown', ['7:8', join(base, 'opt/data'), join(base, 'opt/file')]);
  execFileSync('chown', ['1234:2345', join(base, 'home/worker')]);
  symlinkSync('/etc', join(base, 'link'));
  symlinkSync('opt/data', join(base, 'rel'));
  makeOld(base);
}

/** A tar with what tars hold: `TAR` as a file's content. */
function makeTar(file: string): void {
  const inner = `${file}.inner`;
  mkdirSync(join(inner, 'd/e'), { recursive: true });
  writeFileSync(join(inner, 'd/e/f'), 'in a tar');
  writeFileSync(join(inner, 'opt'), 'x', { mode: 0o640 });
  symlinkSync('d/e/f', join(inner, 'l'));
  linkSync(join(inner, 'opt'), join(inner, 'opt2'));
  execFileSync('chown', ['-R', '33:34', join(inner, 'd')]);
  chmodSync(join(inner, 'd/e'), 0o711);
  makeOld(inner);
  execFileSync('tar', ['--auto-compress', '-C', inner, '-cf', file, 'd', 'opt', 'opt2', 'l']);
  rmSync(inner, { recursive: true });
}

function writeTree(directory: string, { dockerfile, files = {}, file = 'Dockerfile' }: BuildCase): void {
  mkdirSync(directory);
  writeFileSync(join(directory, file), dockerfile);
  const modes: [string, number][] = [];
  for (const [name, spec] of Object.entries(files)) {
    const at = join(directory, name);
    mkdirSync(dirname(at), { recursive: true });
    writeSpec(at, spec, directory, modes);
  }
  // Once all is in them.
  for (const [at, mode] of modes) chmodSync(at, mode);
  makeOld(directory);
}

function writeSpec(at: string, spec: FileSpec, directory: string, modes: [string, number][]): void {
  if (spec === 'TAR') makeTar(at);
  else if (typeof spec === 'string') writeFileSync(at, spec);
  else if ('link' in spec) symlinkSync(spec.link, at);
  else if ('hardLink' in spec) linkSync(join(directory, spec.hardLink), at);
  else {
    if ('dir' in spec) mkdirSync(at);
    else writeFileSync(at, spec.content ?? '');
    if (spec.mode !== undefined) modes.push([at, spec.mode]);
  }
}

function makeOld(directory: string): void {
  for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' }).reverse())
    lutimesSync(join(directory, name), OLD, OLD);
  lutimesSync(directory, OLD, OLD);
}
