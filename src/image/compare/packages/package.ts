/** What every package database yields, and how their files are read. */
import type { ByteString } from '../../../bytes.js';
import { LaminaError } from '../../../errors.js';
import type { ImageView } from '../../../merge/view.js';

/** `package-lock`: what npm would install; `npm`: what lies in node_modules. */
export type PackageManager = 'dpkg' | 'apk' | 'rpm' | 'npm' | 'package-lock';

export interface InstalledPackage {
  name: string;
  version: string;
  /** undefined where packages have none. */
  arch: string | undefined;
  /** npm: where it lies, without what pnpm puts between. undefined where a database stands for the whole image. */
  place: string | undefined;
}

export interface PackageDatabase {
  manager: PackageManager;
  packages: readonly InstalledPackage[];
  /** Why it could not be read, and what tells its content from another's; `packages` is empty then. */
  unread: { why: string; digest: string } | undefined;
}

const MAX_DATABASE_BYTES = 512 * 1024 * 1024;

/** The whole file, symbolic links followed; undefined when there is none. Raises ELIMIT, EIO. */
export function readImageFile(
  view: ImageView,
  path: ByteString,
  maxBytes = MAX_DATABASE_BYTES,
): Buffer | undefined {
  let inode;
  try {
    inode = view.stat(path);
  } catch {
    return undefined;
  }
  if (inode.type !== 'file') return undefined;
  if (inode.sizeBytes > maxBytes)
    throw new LaminaError(
      'ELIMIT',
      `${path} of the image has ${inode.sizeBytes} bytes, more than ${maxBytes}`,
    );
  const content = Buffer.allocUnsafe(inode.sizeBytes);
  view.read(inode.ino, content, 0);
  return content;
}
