/** A session over a mount: the load is `lamina-fuse load`, a process of its own. */
import { rmdir } from 'node:fs/promises';
import { LaminaError } from '../../errors.js';
import { serverBinary } from '../../server-binary.js';
import { runProgram } from '../programs.js';
import type { Pass, Session, Timed } from '../subject.js';
import { unmount } from '../work-directory.js';

export class MountSession implements Session {
  /**
   * @param directory where it is mounted; it is removed with the mount
   * @param check what is to be known of the mount before it goes; raises when it was not served as it should be
   */
  constructor(
    private readonly subject: string,
    private readonly directory: string,
    private readonly signal: AbortSignal,
    private readonly check: () => void = () => {},
  ) {}

  async run(pass: Pass): Promise<Timed> {
    const list = pass.list === undefined ? [] : [pass.list];
    const times = pass.times === undefined ? [] : [String(pass.times)];
    const args = ['load', pass.command, this.directory, ...list, ...times];
    try {
      return JSON.parse(await runProgram(serverBinary(), args, { signal: this.signal })) as Timed;
    } catch (error) {
      this.signal.throwIfAborted();
      // A name that is not there, or cannot be read, is a difference to the image's own listing.
      throw new LaminaError('EBENCH', `${this.subject}: ${(error as Error).message}`, { cause: error });
    }
  }

  async close(): Promise<void> {
    try {
      this.check();
    } finally {
      await unmount(this.directory);
      await rmdir(this.directory).catch(() => {});
    }
  }
}

/** A tree that lies there as it is and cannot be mounted anew. */
export class DirectorySession extends MountSession {
  override async close(): Promise<void> {}
}
