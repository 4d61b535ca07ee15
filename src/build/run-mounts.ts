/** What is mounted for the time of one RUN, and taken away after it. */
import { chmodSync, chownSync, mkdirSync, realpathSync, statSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { withPrivateMount } from '../container/private-mount.js';
import { prepareUpper } from '../container/create.js';
import { LaminaError } from '../errors.js';
import type { OpenedImage } from '../image/open.js';
import { ROOT_INO } from '../layer/tree.js';
import { needsUserXattrs } from '../mount/user-xattrs.js';
import { findInRoot } from '../runtime/in-root.js';
import { bindMount, tmpfsMount } from '../runtime/mounts.js';
import type { SpecMount } from '../runtime/mounts.js';
import { lockDirectory } from '../store/flock.js';
import { temporaryName } from '../store/files.js';
import { cacheMount } from './cache-mounts.js';
import type { RunMount } from './mount-options.js';

/** What `--secret` gives; undefined when there is none of that ID. */
export type Secrets = (id: string) => Buffer | undefined;

export interface MountSources {
  /** Of the store. */
  root: string;
  secrets: Secrets;
  /** Of a stage or another image. */
  image(name: string): Promise<OpenedImage>;
  /** The build context: a directory, or an image made of a tar. */
  context(): Promise<string | OpenedImage>;
  /** An image with nothing in it. */
  nothing(): Promise<OpenedImage>;
}

export interface MountedForRun {
  mounts: SpecMount[];
  /** Secrets that go into the environment. */
  env: string[];
}

/** Raises EBUILD, and what mounting raises. */
export async function withRunMounts<T>(
  wanted: readonly RunMount[],
  workdir: string,
  sources: MountSources,
  work: (mounted: MountedForRun) => Promise<T>,
): Promise<T> {
  const mounted: MountedForRun = { mounts: [], env: [] };
  const next = async (index: number): Promise<T> => {
    const mount = wanted[index];
    if (mount === undefined) return work(mounted);
    const target = mount.target === undefined ? undefined : path.posix.resolve('/', workdir, mount.target);
    return prepare(mount, target, sources, mounted, () => next(index + 1));
  };
  return next(0);
}

async function prepare<T>(
  mount: RunMount,
  target: string | undefined,
  sources: MountSources,
  mounted: MountedForRun,
  goOn: () => Promise<T>,
): Promise<T> {
  switch (mount.type) {
    case 'tmpfs': {
      const size = mount.sizeBytes === undefined ? [] : [`size=${mount.sizeBytes}`];
      mounted.mounts.push(tmpfsMount(target!, ['exec', ...size]));
      return goOn();
    }
    case 'secret':
      return withSecret(mount, target, sources, mounted, goOn);
    case 'cache':
      return withCache(mount, target!, sources, mounted, goOn);
    case 'bind': {
      const from = mount.from === undefined ? await sources.context() : await sources.image(mount.from);
      const bind = async (root: string): Promise<T> => {
        const place = findInRoot(root, mount.source);
        if (place === undefined)
          throw new LaminaError('EBUILD', `"${mount.source}": not found`, {
            hint: 'Check the source of the mount.',
          });
        mounted.mounts.push(bindMount(place, target!, [mount.isWritable ? 'rw' : 'ro']));
        return goOn();
      };
      if (typeof from === 'string' && !mount.isWritable) return bind(realpathSync(from));
      const options =
        typeof from === 'string' ? [`lowerdir=${realpathSync(from).replace(/[\\,:]/g, '\\$&')}`] : [];
      const image = typeof from === 'string' ? await sources.nothing() : from;
      const own = process.getuid?.() === 0 ? ['allow_other'] : [];
      if (!mount.isWritable) return withPrivateMount(image, { options: [...options, ...own] }, bind);
      // What is written goes nowhere.
      return withDirectory(sources.root, async (directory) => {
        const [upper, workDirectory] = [path.join(directory, 'upper'), path.join(directory, 'work')];
        for (const each of [upper, workDirectory]) mkdirSync(each, { mode: 0o755 });
        await prepareUpper(upper, (await image.toc()).inode(ROOT_INO));
        if (options.length > 0)
          return withPrivateMount(
            image,
            { options: [`${options[0]!},upperdir=${upper},workdir=${workDirectory}`, ...own] },
            bind,
          );
        const name = path.basename(directory);
        const container = {
          ...{ what: 'the build step' as const, id: name, name, userXattrs: needsUserXattrs() },
          ...{ upperDirectory: upper, workDirectory },
        };
        return withPrivateMount(image, { container, options: own }, bind);
      });
    }
  }
}

async function withSecret<T>(
  { id, env, isRequired, mode, uid, gid }: Extract<RunMount, { type: 'secret' }>,
  target: string | undefined,
  { root, secrets }: MountSources,
  mounted: MountedForRun,
  goOn: () => Promise<T>,
): Promise<T> {
  const value = secrets(id);
  if (value === undefined) {
    if (!isRequired) return goOn();
    throw new LaminaError('EBUILD', `secret ${id}: not found`, {
      hint: `Give it with: --secret id=${id},src=FILE`,
    });
  }
  if (env !== undefined) mounted.env.push(`${env}=${value.toString('utf8')}`);
  if (target === undefined) return goOn();
  return withDirectory(root, (directory) => {
    const file = path.join(directory, 'secret');
    writeFileSync(file, value, { mode: 0o600 });
    chmodSync(file, mode);
    if (process.getuid?.() === 0) chownSync(file, uid, gid);
    mounted.mounts.push(bindMount(file, target, ['ro']));
    return goOn();
  });
}

async function withCache<T>(
  { id, sharing, mode, uid, gid, isReadOnly, from, source }: Extract<RunMount, { type: 'cache' }>,
  target: string,
  { root }: MountSources,
  mounted: MountedForRun,
  goOn: () => Promise<T>,
): Promise<T> {
  if (from !== undefined || source !== '/')
    throw new LaminaError('EBUILD', 'a cache mount that begins with content of an image is not supported', {
      hint: 'Leave out from and source, and copy what is needed in the command.',
    });
  const use = async (directory: string): Promise<T> => {
    const data = path.join(directory, 'data');
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    if (statSync(data, { throwIfNoEntry: false }) === undefined) {
      mkdirSync(data, { recursive: true });
      chmodSync(data, mode);
      if (process.getuid?.() === 0) chownSync(data, uid, gid);
    }
    mounted.mounts.push(bindMount(data, target, [isReadOnly ? 'ro' : 'rw']));
    if (sharing !== 'locked') return goOn();
    const lock = await lockDirectory(directory);
    return goOn().finally(() => lock.release());
  };
  if (sharing === 'private') return withDirectory(root, use);
  return use(cacheMount(root, id));
}

/** A directory that is removed afterwards, whatever happens: by this process, or by the next that opens the store. */
async function withDirectory<T>(root: string, work: (directory: string) => Promise<T>): Promise<T> {
  const directory = path.join(root, 'tmp', temporaryName());
  mkdirSync(directory, { mode: 0o700 });
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
