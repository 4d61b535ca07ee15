/** What a conformance case is: a function of a directory that holds the image of image.ts, or a kit of kit.ts, seen through system calls. */

export type SubjectName =
  | 'plain directory'
  | 'kernel overlayfs'
  | 'lamina native'
  | 'lamina fuse-native'
  | 'lamina directories'
  | 'lamina image';

export interface Context {
  /** Where the image is mounted; for a writable case, the kit of its own below that. */
  dir: string;
  subject: SubjectName;
  /** Lamina only: the archive that is mounted. */
  archive?: string;
}

export interface Case {
  /** A sentence about the filesystem that is true when the case passes. */
  name: string;
  /** Why some subjects cannot pass. One that passes all the same fails the suite: the reason no longer holds. */
  except?: Partial<Record<SubjectName, string>> | undefined;
  /** Raises when the sentence is not true. */
  run(context: Context): Promise<void>;
}
