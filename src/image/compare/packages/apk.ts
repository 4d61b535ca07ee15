/** apk's database. Source: apk-tools, doc/apk.5 and src/database.c: records of `LETTER:value` lines, ended by an empty line. */
import type { ImageView } from '../../../merge/view.js';
import { readImageFile } from './package.js';
import type { InstalledPackage } from './package.js';

/** apk 2; apk 3 moved it to /usr. */
const DATABASES = ['/lib/apk/db/installed', '/usr/lib/apk/db/installed'];

/** undefined when there is no database. */
export function readApk(view: ImageView): InstalledPackage[] | undefined {
  for (const path of DATABASES) {
    const file = readImageFile(view, path);
    if (file !== undefined) return parseApkInstalled(file.toString('utf8'));
  }
  return undefined;
}

export function parseApkInstalled(text: string): InstalledPackage[] {
  const found: InstalledPackage[] = [];
  for (const record of text.split(/\n\n+/)) {
    const field = (letter: string): string | undefined =>
      new RegExp(`^${letter}:(.*)$`, 'm').exec(record)?.[1];
    const [name, version] = [field('P'), field('V')];
    if (name !== undefined && version !== undefined)
      found.push({ name, version, arch: field('A'), place: undefined });
  }
  return found;
}
