/**
 * The one error class and the table of its codes. A code is part of the interface: it never changes its
 * meaning or its exit status, and README lists every one. POSIX names are used where POSIX means exactly that.
 */

/** What a code means, and how a user mends it when the message itself says nothing better. */
export const ERROR_CODES = {
  EUSAGE: { exitCode: 125, hint: 'Run the command with --help.' },
  ENOENT: { exitCode: 1, hint: 'Check the path.' },
  EEXIST: { exitCode: 1, hint: 'Name another path, or remove what is there.' },
  ENOTDIR: { exitCode: 1, hint: 'A part of the path is not a directory.' },
  EISDIR: { exitCode: 1, hint: 'The path is a directory.' },
  EINVAL: { exitCode: 1, hint: 'The path is not of the kind the command needs.' },
  ELOOP: { exitCode: 1, hint: 'The path runs through a loop of symbolic links.' },
  EACCES: { exitCode: 1, hint: 'Run as a user who may read it.' },
  EPERM: { exitCode: 1, hint: 'Run as root, or as the user who made the mount.' },
  EBUSY: { exitCode: 1, hint: 'Close what is open below it, or use --lazy.' },
  EROFS: { exitCode: 1, hint: 'An image is read-only, and so is a container mounted with -o ro.' },
  ENOSPC: {
    exitCode: 1,
    hint: 'Free some space where containers and cache lie, or move them with LAMINA_ROOT.',
  },
  EIO: { exitCode: 1, hint: 'Look at the system log; the disk or the archive may be damaged.' },
  EBADTAR: { exitCode: 1, hint: 'The archive is damaged or cut short; fetch or save it again.' },
  EBADPATH: { exitCode: 1, hint: 'The layer names a path outside its root; do not trust it.' },
  EWHITEOUT: { exitCode: 1, hint: 'The layer is invalid (image-spec, layer.md, Whiteouts); build it again.' },
  EBADLAYER: { exitCode: 1, hint: 'The layer contradicts itself; build it again.' },
  ELIMIT: { exitCode: 1, hint: 'Raise the limit that the message names if you trust the image.' },
  EDIGEST: { exitCode: 1, hint: 'The content is not what its digest promises; fetch or save it again.' },
  EBADIMAGE: { exitCode: 1, hint: 'The image description is malformed; save the image again.' },
  EBLOB: { exitCode: 1, hint: 'The archive lacks a part of the image; save or copy it again.' },
  EMEDIATYPE: { exitCode: 1, hint: 'Only tar layers, plain or compressed by gzip or zstd, can be read.' },
  ENOIMAGE: { exitCode: 1, hint: 'Name one of the images that the archive holds.' },
  ECONFLICT: {
    exitCode: 1,
    hint: 'Remove what uses the image first: lamina ps -a and lamina mounts show it.',
  },
  ECANCELLED: { exitCode: 1, hint: 'Answer y, or give --force; --dry-run shows what would be removed.' },
  EPLATFORM: { exitCode: 1, hint: 'Choose one of the platforms it has with --platform.' },
  ENOTARCHIVE: { exitCode: 1, hint: 'Give a docker archive, or an OCI layout as a directory or a tar.' },
  EBADTOC: { exitCode: 1, hint: 'Remove the file; it is made again when needed.' },
  ETOCVERSION: { exitCode: 1, hint: 'The TOC was written by a newer Lamina; remove it, or update.' },
  ENOFUSE: { exitCode: 1, hint: 'Load the fuse module, or give the container /dev/fuse.' },
  ENOSERVER: { exitCode: 1, hint: 'Build it with: npm run build:native (needs g++ and make).' },
  EDRIVER: { exitCode: 1, hint: 'Use the other driver with --driver.' },
  EMOUNT: { exitCode: 1, hint: 'See the step and the system error in the message.' },
  ENOCONTAINER: { exitCode: 1, hint: 'List the containers with: lamina ps -a.' },
  ENAME: { exitCode: 1, hint: 'Choose another name with --name, or remove the other container.' },
  ENOTRUNNING: { exitCode: 1, hint: 'Start it first with: lamina start CONTAINER.' },
  EINUSE: { exitCode: 1, hint: 'Unmount it first; lamina mounts shows where it is mounted.' },
  EBASE: { exitCode: 1, hint: 'Put the archive that the container was made from back in its place.' },
  EUPPER: {
    exitCode: 1,
    hint: 'See what is wrong, and repair it, with: lamina container check --repair CONTAINER.',
  },
  ENORUNTIME: {
    exitCode: 125,
    hint: 'Install the Debian package crun or runc, or name a runtime with --runtime.',
  },
  ERUNTIME: { exitCode: 125, hint: 'See what the runtime says; LAMINA_RUNTIME names another.' },
  EUSER: { exitCode: 125, hint: 'Name one that the image has, or give a number.' },
  ENOCOMMAND: { exitCode: 127, hint: 'Check the command, and PATH in the image.' },
  ENOTEXECUTABLE: { exitCode: 126, hint: 'Name a file that can be executed.' },
  ENETWORK: {
    exitCode: 1,
    hint: 'Check the network, the name of the registry and the proxy, then try again.',
  },
  EREGISTRY: { exitCode: 1, hint: 'See what the registry says; it may be overloaded, or not be one.' },
  EAUTH: { exitCode: 1, hint: 'Log in with: lamina login REGISTRY.' },
  ETEMPLATE: { exitCode: 64, hint: 'How to write a template: https://docs.docker.com/go/formatting/' },
  EFIELD: { exitCode: 1, hint: 'See what there is with: --format json.' },
  EFILTER: { exitCode: 1, hint: 'Run the command with --help.' },
  EBENCH: {
    exitCode: 1,
    hint: 'Figures of different work say nothing; leave that subject out, and report it.',
  },
  EDOCKERFILE: {
    exitCode: 1,
    hint: 'See what an instruction may look like: https://docs.docker.com/reference/dockerfile/',
  },
  EBUILD: { exitCode: 1, hint: 'See what the command printed above.' },
  ENOTMOUNTED: { exitCode: 1, hint: 'List the mounts with: lamina mounts.' },
} as const satisfies Record<string, { exitCode: number; hint: string }>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Facts that a caller can test for; all optional. */
export interface ErrorFacts {
  /** File or entry the error is about, as the user would type it. */
  path?: string;
  digest?: string;
  /** Byte offset in `path` (or in the layer) where it was noticed. */
  offset?: number;
  /** System error name and call when the system said so. */
  errno?: string;
  syscall?: string;
  /** Replaces the code's own hint. */
  hint?: string;
  cause?: unknown;
  /** Replaces the code's own exit status: what keeps `run` from starting is 125, whatever it is. */
  exitCode?: number;
}

/** Every error that Lamina raises on purpose. `message` says what failed and on what; `hint` how to mend it. */
export class LaminaError extends Error {
  readonly code: ErrorCode;
  readonly hint: string;
  readonly path?: string;
  readonly digest?: string;
  readonly offset?: number;
  readonly errno?: string;
  readonly syscall?: string;
  readonly #exitCode: number | undefined;

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.name = 'LaminaError';
    this.code = code;
    this.hint = facts.hint ?? ERROR_CODES[code].hint;
    this.#exitCode = facts.exitCode;
    if (facts.path !== undefined) this.path = facts.path;
    if (facts.digest !== undefined) this.digest = facts.digest;
    if (facts.offset !== undefined) this.offset = facts.offset;
    if (facts.errno !== undefined) this.errno = facts.errno;
    if (facts.syscall !== undefined) this.syscall = facts.syscall;
  }

  get exitCode(): number {
    return this.#exitCode ?? ERROR_CODES[this.code].exitCode;
  }
}

const SYSTEM_CODES = new Set<string>([
  'ENOENT',
  'EEXIST',
  'ENOTDIR',
  'EISDIR',
  'ELOOP',
  'EACCES',
  'EPERM',
  'EBUSY',
  'EROFS',
  'ENOSPC',
]);

/** A Node system error as a LaminaError: the same POSIX code where the table has it, EIO otherwise. */
export function fromSystemError(error: unknown, doing: string, path?: string): LaminaError {
  if (error instanceof LaminaError) return error;
  const system = error as NodeJS.ErrnoException;
  const name = system?.code ?? 'EIO';
  const code = (SYSTEM_CODES.has(name) ? name : 'EIO') as ErrorCode;
  const facts: ErrorFacts = { cause: error, errno: name };
  if (path !== undefined) facts.path = path;
  if (system?.syscall !== undefined) facts.syscall = system.syscall;
  return new LaminaError(
    code,
    `${doing}${path === undefined ? '' : ` ${path}`}: ${system?.message ?? String(error)}`,
    facts,
  );
}
