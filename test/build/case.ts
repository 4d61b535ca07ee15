/** A Dockerfile that Lamina and buildah both build, and in what they may differ. */

/** Content; or a directory, a symbolic link, a file with a mode. */
export type FileSpec =
  | string
  | { link: string }
  | { mode: number; content?: string }
  | { dir: true; mode?: number }
  | { hardLink: string };

export interface Difference {
  /** Why it is right as Lamina has it. */
  reason: string;
  /** Of the trees: lines of these paths are left out of the comparison. */
  paths?: RegExp;
  /** Of the config: this member is left out; `left out` means that it must be missing on one side. */
  config?: string;
}

export interface BuildCase {
  name: string;
  dockerfile: string;
  files?: Readonly<Record<string, FileSpec>>;
  /** Of both commands. */
  args?: readonly string[];
  differences?: readonly Difference[];
  /** Name of the file; `Dockerfile` when absent. */
  file?: string;
}
