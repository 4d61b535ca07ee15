/** The options of `mount -o`, checked before anything is mounted. Words as in mount(8) where the meaning is the same. */
import { LaminaError } from '../errors.js';

/** What the server passes to the kernel: mount(8)'s words. `rw` only where there is something to write to. */
const KERNEL_OPTIONS = new Set([
  'ro',
  'rw',
  'suid',
  'nosuid',
  'dev',
  'nodev',
  'exec',
  'noexec',
  'noatime',
  'allow_other',
]);
/** Words that only the native server knows. */
const SERVER_OPTIONS = new Set(['no_uring', 'passthrough', 'no_passthrough']);
/** overlayfs's, of directories above the image. */
const DIRECTORY_OPTIONS = new Set(['lowerdir', 'upperdir', 'workdir']);
/** How the image is verified: `background` (the default), `before` the mount is shown, or not at all. */
const VERIFY_MODES = ['background', 'before', 'none'] as const;

export type VerifyMode = (typeof VERIFY_MODES)[number];
/**
 * `native`: the native server does it all. `overlay`: kernel overlayfs writes to the upper, over the image that the native server shows.
 * `fuse-native`: the portable driver.
 */
export type DriverName = 'native' | 'overlay' | 'fuse-native';

export interface MountOptions {
  readOnly: boolean;
  suid: boolean;
  dev: boolean;
  exec: boolean;
  noatime: boolean;
  allowOther: boolean;
  /** FUSE-over-io_uring where the kernel allows it. */
  uring: boolean;
  /** Whether the kernel reads and writes the upper's files itself; absent: as the server finds best. */
  passthrough?: boolean;
  /** Server threads; 0 = one for each CPU. */
  threads: number;
  verify: VerifyMode;
  /** Read-only directories above the image, bottom to top. */
  lowerDirectories: readonly string[];
  /** What is written lies here, where it is not a container that is mounted. */
  upper?: UpperDirectories;
}

/** As overlayfs has them: `upperdir` and `workdir`, on one filesystem. */
export interface UpperDirectories {
  upperDirectory: string;
  workDirectory: string;
}

/**
 * Parses the values of all `-o` options; each may hold several, joined by commas (`\\,` in a value). Raises EUSAGE, EROFS, EPERM.
 * @param isWritable a container, which has a layer of its own, and is writable unless `ro` is asked for
 */
export function parseMountOptions(
  texts: readonly string[],
  allowOther: boolean,
  isRoot: boolean,
  isWritable = false,
): MountOptions {
  const words = texts.flatMap((text) => splitList(text, ','));
  const directories = parseDirectories(words, isWritable);
  const canWrite = isWritable || directories.upper !== undefined;
  const options: MountOptions = {
    ...directories,
    readOnly: !canWrite,
    suid: false,
    dev: false,
    exec: true,
    noatime: false,
    allowOther,
    uring: true,
    threads: 0,
    verify: 'background',
  };
  for (const word of words) {
    const [name, value] = splitOption(word);
    if (name === 'rw' && !canWrite)
      throw new LaminaError('EROFS', 'an image cannot be mounted writable; mount option "rw"', {
        hint: 'An image is read-only: mount a container of it, with --rw, or give upperdir and workdir.',
      });
    if (DIRECTORY_OPTIONS.has(name)) continue;
    if (name === 'threads') options.threads = parseThreads(value);
    else if (name === 'verify') options.verify = parseVerify(value);
    else if (value !== undefined || !(KERNEL_OPTIONS.has(name) || SERVER_OPTIONS.has(name))) {
      throw new LaminaError('EUSAGE', `unknown mount option "${word}"`, {
        hint: 'See: lamina mount --help.',
      });
    } else if (name === 'no_uring') options.uring = false;
    else if (name === 'passthrough' || name === 'no_passthrough')
      options.passthrough = name === 'passthrough';
    else if (name === 'ro' || name === 'rw') options.readOnly = name === 'ro';
    else if (name === 'suid' || name === 'nosuid') options.suid = name === 'suid';
    else if (name === 'dev' || name === 'nodev') options.dev = name === 'dev';
    else if (name === 'exec' || name === 'noexec') options.exec = name === 'exec';
    else if (name === 'noatime') options.noatime = true;
    else if (name === 'allow_other') options.allowOther = true;
  }
  if ((options.suid || options.dev) && !isRoot) {
    throw new LaminaError('EPERM', `only root may mount with "${options.suid ? 'suid' : 'dev'}"`);
  }
  return options;
}

/** The options as the native server takes them. */
export function kernelOptions(options: MountOptions): string {
  const words = [
    options.readOnly ? 'ro' : 'rw',
    options.suid ? 'suid' : 'nosuid',
    options.dev ? 'dev' : 'nodev',
  ];
  if (!options.exec) words.push('noexec');
  if (options.noatime) words.push('noatime');
  if (options.allowOther) words.push('allow_other');
  return words.join(',');
}

/** The only place that turns overlayfs's order, uppermost first, into ours. Of repeated options the last counts. */
function parseDirectories(
  words: readonly string[],
  isContainer: boolean,
): Pick<MountOptions, 'lowerDirectories' | 'upper'> {
  const values = new Map(words.map(splitOption).filter(([name]) => DIRECTORY_OPTIONS.has(name)));
  if (values.size === 0) return { lowerDirectories: [] };
  if (isContainer)
    throw new LaminaError(
      'EUSAGE',
      `mount option "${[...values.keys()][0]!}" is for images, not for containers`,
      {
        hint: 'What a container shows follows from its image and its own layer alone. Mount the image with upperdir and workdir instead.',
      },
    );
  for (const [name, value] of values)
    if (value === undefined || value === '')
      throw new LaminaError('EUSAGE', `mount option "${name}" needs a directory`);
  const [lower, upper, work] = ['lowerdir', 'upperdir', 'workdir'].map((name) => values.get(name));
  if ((upper === undefined) !== (work === undefined))
    throw new LaminaError('EUSAGE', 'mount options "upperdir" and "workdir" go together');
  return {
    lowerDirectories: lower === undefined ? [] : splitList(lower, ':').map(unescape).reverse(),
    ...(upper === undefined
      ? {}
      : { upper: { upperDirectory: unescape(upper), workDirectory: unescape(work!) } }),
  };
}

/** The parts of a list that are not empty. A separator after a backslash is part of a name; the backslash of another character stays. */
function splitList(text: string, separator: ',' | ':'): string[] {
  const parts = text.match(new RegExp(`(?:\\\\[^]|[^${separator}\\\\]|\\\\$)+`, 'g')) ?? [];
  return separator === ',' ? parts.map((part) => part.replaceAll('\\,', ',')) : parts;
}

/** A backslash takes the next character as it is, as in overlayfs. */
function unescape(text: string): string {
  return text.replaceAll(/\\([^])/g, '$1');
}

function splitOption(word: string): [string, string | undefined] {
  const at = word.indexOf('=');
  return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)];
}

/** As native/options.h has it. */
const MAX_THREADS = 256;

function parseThreads(value: string | undefined): number {
  const threads = Number(value);
  if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS) {
    throw new LaminaError(
      'EUSAGE',
      `mount option "threads" needs a number from 1 to ${MAX_THREADS}, not "${value ?? ''}"`,
    );
  }
  return threads;
}

function parseVerify(value: string | undefined): VerifyMode {
  const mode = VERIFY_MODES.find((known) => known === value);
  if (mode === undefined)
    throw new LaminaError(
      'EUSAGE',
      `mount option "verify" is one of ${VERIFY_MODES.join(', ')}, not "${value ?? ''}"`,
    );
  return mode;
}
