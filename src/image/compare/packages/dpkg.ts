/**
 * dpkg's database: /var/lib/dpkg/status, and status.d of images without dpkg (distroless), one file a package.
 * Source: deb-control(5), dpkg(1) "Package states"; a package counts unless nothing but its configuration is left.
 */
import { utf8ToBytes } from '../../../bytes.js';
import type { ImageView } from '../../../merge/view.js';
import { joinPath } from '../../../merge/view.js';
import { readImageFile } from './package.js';
import type { InstalledPackage } from './package.js';

const STATUS = '/var/lib/dpkg/status';
const STATUS_D = '/var/lib/dpkg/status.d';
const GONE = new Set(['not-installed', 'config-files']);

/** undefined when there is no database. */
export function readDpkg(view: ImageView): InstalledPackage[] | undefined {
  const files = [readImageFile(view, STATUS), ...statusFiles(view)].filter((file) => file !== undefined);
  return files.length === 0 ? undefined : files.flatMap((file) => parseDpkgStatus(file.toString('utf8')));
}

function statusFiles(view: ImageView): (Buffer | undefined)[] {
  try {
    return view
      .readdir(STATUS_D)
      .filter(({ name, type }) => type === 'file' && !name.endsWith(utf8ToBytes('.md5sums')))
      .map(({ name }) => readImageFile(view, joinPath(STATUS_D, name)));
  } catch {
    return [];
  }
}

export function parseDpkgStatus(text: string): InstalledPackage[] {
  const found: InstalledPackage[] = [];
  for (const paragraph of text.split(/\n[ \t]*\n/)) {
    const fields = new Map<string, string>();
    for (const [, name, value] of paragraph.matchAll(/^([A-Za-z][\w-]*):[ \t]*(.*)$/gm))
      if (!fields.has(name!.toLowerCase())) fields.set(name!.toLowerCase(), value!.trimEnd());
    const [name, version] = [fields.get('package'), fields.get('version')];
    const state = fields.get('status')?.split(/\s+/)[2];
    if (name === undefined || version === undefined || (state !== undefined && GONE.has(state))) continue;
    found.push({ name, version, arch: fields.get('architecture'), place: undefined });
  }
  return found;
}
