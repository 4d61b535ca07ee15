/** What is measured and by whom: the shapes that scenarios, subjects and the rounds share. */
import type { OpenedImage } from '../image/open.js';
import type { Listing } from './listing.js';

/** What a pass has done, or must do. */
export interface Work {
  operations: number;
  /** Of content that was read, or the sum of the sizes that were seen. */
  bytes: number;
}

export interface Timed extends Work {
  seconds: number;
}

/** The commands of `lamina-fuse load` (native/load/load.h); the library's load understands the same. */
export type LoadCommand = 'stat' | 'negative' | 'walk' | 'list' | 'read-all' | 'open-read-close';

/** One run over the tree. */
export interface Pass {
  command: LoadCommand;
  /** File of paths, one a line, relative to the root; for `walk` and `list` the directories that are not entered. */
  list?: string;
  times?: number;
  /** By the image's own listing. */
  expected: Work;
}

/** An image that is measured: the user's own, or one made deeper. */
export interface Target {
  label: string;
  opened: OpenedImage;
  listing: Listing;
  /** What the library's process opens it by. */
  name: string;
  /** LAMINA_ROOT of it. */
  root: string | undefined;
  platform: string | undefined;
}

/** A tree that can be asked: a fresh mount, or the library in a process of its own. */
export interface Session {
  run(pass: Pass): Promise<Timed>;
  close(): Promise<void>;
}

/** What must be done once for an image before the subject can show it. */
export interface Preparation {
  seconds: number;
  /** On the disk, beside the image itself. */
  bytes: number;
}

export interface Subject {
  name: string;
  /** For the reader: `FUSE-over-io_uring`, `2 layers unpacked`. Known once a session was open. */
  about?: string;
  /** Why it cannot show `target` here; undefined when it can. */
  missing(target: Target): string | undefined;
  prepare(target: Target): Promise<Preparation>;
  open(target: Target): Promise<Session>;
}
