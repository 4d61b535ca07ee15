/** What Lamina is held against: kernel overlayfs, fuse-overlayfs, and the merged tree as a plain directory. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Peer } from '../options.js';
import { MAX_DEPTH } from '../options.js';
import { hasProgram, runDetaching, runProgram } from '../programs.js';
import type { Preparation, Session, Subject, Target } from '../subject.js';
import type { WorkDirectory } from '../work-directory.js';
import type { Unpacked } from './layers.js';
import { DirectorySession, MountSession } from './mounted.js';

export interface PeerContext {
  work: WorkDirectory;
  unpacked: Unpacked;
  signal: AbortSignal;
}

export function peer(name: Peer, context: PeerContext): Subject {
  return new { overlayfs: Overlayfs, 'fuse-overlayfs': FuseOverlayfs, plain: Plain }[name](context);
}

const isRoot = (): boolean => process.getuid?.() === 0;

class Overlayfs implements Subject {
  readonly name = 'overlayfs';
  readonly about = 'kernel, layers unpacked';

  constructor(private readonly context: PeerContext) {}

  missing(target: Target): string | undefined {
    if (!isRoot()) return 'mounting it needs root';
    if (!hasProgram('mount')) return 'mount(8) is not installed';
    const count = target.opened.archived.layers.length;
    if (count > MAX_DEPTH) return `it takes ${MAX_DEPTH} layers, and the image has ${count}`;
    return /\boverlay$/m.test(readFileSync('/proc/filesystems', 'utf8')) || hasProgram('modprobe')
      ? undefined
      : 'the kernel has no overlayfs';
  }

  prepare(target: Target): Promise<Preparation> {
    return this.context.unpacked.layers(target);
  }

  async open(target: Target): Promise<Session> {
    const { work, unpacked, signal } = this.context;
    const { base, lowers } = unpacked.lowersOf(target);
    // Without an upper directory the kernel wants two.
    if (lowers.length === 1) lowers.push(work.directory('empty'));
    const directory = work.directory('m');
    await runProgram(
      'mount',
      ['-t', 'overlay', '-o', `ro,lowerdir=${lowers.join(':')}`, 'lamina-bench', directory],
      {
        cwd: base,
        signal,
      },
    );
    return new MountSession(this.name, directory, signal);
  }
}

class FuseOverlayfs implements Subject {
  readonly name = 'fuse-overlayfs';
  readonly about = 'FUSE, layers unpacked';

  constructor(private readonly context: PeerContext) {}

  missing(): string | undefined {
    if (!hasProgram('fuse-overlayfs')) return 'fuse-overlayfs is not installed';
    if (!existsSync('/dev/fuse')) return 'there is no /dev/fuse';
    return isRoot() || hasProgram('fusermount3') ? undefined : 'fusermount3 is not installed';
  }

  prepare(target: Target): Promise<Preparation> {
    return this.context.unpacked.layers(target);
  }

  async open(target: Target): Promise<Session> {
    const { work, unpacked, signal } = this.context;
    const { base, lowers } = unpacked.lowersOf(target);
    const directory = work.directory('m');
    const args = ['-o', `ro,lowerdir=${lowers.join(':')}`, directory];
    await runDetaching('fuse-overlayfs', args, work.file('fuse-overlayfs.log'), { cwd: base, signal });
    return new MountSession(this.name, directory, signal);
  }
}

/** The ceiling: no union at all. As root it is bound to a new place each time, so that its mount is new as well. */
class Plain implements Subject {
  readonly name = 'plain';
  readonly about = 'merged tree unpacked';

  constructor(private readonly context: PeerContext) {}

  missing(): undefined {
    return undefined;
  }

  prepare(target: Target): Promise<Preparation> {
    return this.context.unpacked.merged(target);
  }

  async open(target: Target): Promise<Session> {
    const { work, unpacked, signal } = this.context;
    const { directory: tree } = await unpacked.merged(target);
    if (!isRoot()) return new DirectorySession(this.name, tree, signal);
    const directory = work.directory('m');
    await runProgram('mount', ['--bind', '-o', 'ro', join(tree, '.'), directory], { signal });
    return new MountSession(this.name, directory, signal);
  }
}
