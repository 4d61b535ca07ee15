/**
 * rpm's database where it is SQLite (rpm 4.16 and later by default), read with SQLite itself (sql.js, which the build puts into dist/).
 * Older forms, Berkeley DB and ndb, are only told from each other. Source: rpm, docs/manual/format_header.md for a package's header,
 * lib/backend/sqlite.c for the table.
 */
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import type { SqlJsStatic } from 'sql.js';
import type { ImageView } from '../../../merge/view.js';
import { packageFile } from '../../../package-files.js';
import { readImageFile } from './package.js';
import type { InstalledPackage, PackageDatabase } from './package.js';

const DIRECTORIES = ['/usr/lib/sysimage/rpm', '/var/lib/rpm'];
const OTHER_FORMS: readonly (readonly [file: string, form: string])[] = [
  ['Packages.db', 'ndb'],
  ['Packages', 'Berkeley DB'],
];

/** undefined when there is no database. */
export async function readRpm(view: ImageView): Promise<PackageDatabase | undefined> {
  for (const directory of DIRECTORIES) {
    const file = readImageFile(view, `${directory}/rpmdb.sqlite`);
    if (file === undefined) continue;
    const journal = readImageFile(view, `${directory}/rpmdb.sqlite-wal`);
    if (journal !== undefined && journal.length > 0)
      return unread('its last changes are still in a write-ahead log beside it', file, journal);
    try {
      return { manager: 'rpm', packages: await readSqlite(file), unread: undefined };
    } catch (error) {
      return unread(error instanceof Error ? error.message : String(error), file);
    }
  }
  for (const directory of DIRECTORIES) {
    for (const [name, form] of OTHER_FORMS) {
      const file = readImageFile(view, `${directory}/${name}`);
      if (file !== undefined) return unread(`it is in the form ${form}, which only rpm reads`, file);
    }
  }
  return undefined;
}

function unread(why: string, ...files: readonly Buffer[]): PackageDatabase {
  const digest = createHash('sha256');
  for (const file of files) digest.update(file);
  return { manager: 'rpm', packages: [], unread: { why, digest: digest.digest('hex') } };
}

async function readSqlite(file: Buffer): Promise<InstalledPackage[]> {
  const load = createRequire(import.meta.url)(
    packageFile('dist/sqlite/sql-wasm.cjs'),
  ) as () => Promise<SqlJsStatic>;
  const { Database } = await load();
  const bytes = Uint8Array.from(file);
  // "Uses a write-ahead log", which needs shared memory, to "uses none": www.sqlite.org/fileformat.html, 1.3. There is none here.
  if (bytes[18] === 2) bytes.fill(1, 18, 20);
  const database = new Database(bytes);
  try {
    const rows = database.exec('SELECT blob FROM Packages')[0]?.values ?? [];
    return rows.flatMap(([blob]) => parseRpmHeader(Buffer.from(blob as Uint8Array)) ?? []);
  } finally {
    database.close();
  }
}

const TAG = { name: 1000, version: 1001, release: 1002, epoch: 1003, arch: 1022 };
const TYPE_INT32 = 4;
const TYPE_STRING = 6;
const ENTRY_BYTES = 16;

/** Name, version and architecture from a header as the database keeps it; undefined for keys, which are no packages. Raises RangeError. */
export function parseRpmHeader(blob: Buffer): InstalledPackage | undefined {
  const count = blob.readUInt32BE(0);
  const store = 8 + count * ENTRY_BYTES;
  const values = new Map<number, string>();
  for (let index = 0; index < count; index++) {
    const at = 8 + index * ENTRY_BYTES;
    const [tag, type, offset] = [blob.readInt32BE(at), blob.readInt32BE(at + 4), blob.readInt32BE(at + 8)];
    const start = store + offset;
    if (type === TYPE_INT32 && tag === TAG.epoch) values.set(tag, String(blob.readUInt32BE(start)));
    if (type === TYPE_STRING) values.set(tag, blob.toString('utf8', start, blob.indexOf(0, start)));
  }
  const [name, version] = [values.get(TAG.name), values.get(TAG.version)];
  if (name === undefined || version === undefined || name === 'gpg-pubkey') return undefined;
  const epoch = values.get(TAG.epoch);
  return {
    name,
    version: `${epoch === undefined ? '' : `${epoch}:`}${version}-${values.get(TAG.release) ?? ''}`,
    arch: values.get(TAG.arch),
    place: undefined,
  };
}
