/** Which packages two images have, and in what they differ. */
import type { ImageView } from '../../../merge/view.js';
import { readApk } from './apk.js';
import { readDpkg } from './dpkg.js';
import { readNpm } from './npm.js';
import type { InstalledPackage, PackageDatabase, PackageManager } from './package.js';
import { readRpm } from './rpm.js';
import { compareVersions } from './versions.js';

export interface PackageChange {
  name: string;
  /** npm: where it lies. */
  place: string | undefined;
  /** `changed`: of another architecture, or of versions that cannot be ordered. */
  kind: 'installed' | 'removed' | 'upgraded' | 'downgraded' | 'changed';
  before: InstalledPackage | undefined;
  after: InstalledPackage | undefined;
}

export interface PackageComparison {
  manager: PackageManager;
  /** By name, then by place. */
  changes: readonly PackageChange[];
  /** How many packages each image has; undefined where it has no such database. */
  counts: readonly [before: number | undefined, after: number | undefined];
  /** Why the packages of one image or both are not known. There are no `changes` then. */
  unread: string | undefined;
  /** Whether anything differs, be it only the bytes of a database that cannot be read. */
  differs: boolean;
}

/** The databases that an image has, those without packages left out. Raises ELIMIT, EIO. */
export async function readPackages(view: ImageView): Promise<PackageDatabase[]> {
  const found: PackageDatabase[] = [];
  const add = (manager: PackageManager, packages: readonly InstalledPackage[] | undefined): void => {
    if (packages !== undefined) found.push({ manager, packages, unread: undefined });
  };
  add('dpkg', readDpkg(view));
  add('apk', readApk(view));
  const rpm = await readRpm(view);
  if (rpm !== undefined) found.push(rpm);
  const { installed, locked } = readNpm(view);
  add('npm', installed.length === 0 ? undefined : installed);
  add('package-lock', locked.length === 0 ? undefined : locked);
  return found;
}

/** For every kind of database that either image has. */
export function comparePackages(
  before: readonly PackageDatabase[],
  after: readonly PackageDatabase[],
): PackageComparison[] {
  const managers = [...new Set([...before, ...after].map(({ manager }) => manager))];
  return managers.map((manager) => {
    const of = (databases: readonly PackageDatabase[]): PackageDatabase | undefined =>
      databases.find((database) => database.manager === manager);
    const [ours, theirs] = [of(before), of(after)];
    const unread = ours?.unread ?? theirs?.unread;
    const changes =
      unread === undefined ? changesBetween(manager, ours?.packages ?? [], theirs?.packages ?? []) : [];
    return {
      manager,
      counts: [countOf(ours), countOf(theirs)],
      changes,
      unread: unread?.why,
      differs: changes.length > 0 || ours?.unread?.digest !== theirs?.unread?.digest,
    };
  });
}

function countOf(database: PackageDatabase | undefined): number | undefined {
  return database === undefined || database.unread !== undefined ? undefined : database.packages.length;
}

function changesBetween(
  manager: PackageManager,
  before: readonly InstalledPackage[],
  after: readonly InstalledPackage[],
): PackageChange[] {
  const [ours, theirs] = [byKey(before), byKey(after)];
  const keys = [...new Set([...ours.keys(), ...theirs.keys()])].sort();
  return keys.flatMap((key) => changesOfOne(manager, ours.get(key) ?? [], theirs.get(key) ?? []));
}

/** Of one name, or at one place; several of one name may be there for several architectures, or side by side. */
function byKey(packages: readonly InstalledPackage[]): Map<string, InstalledPackage[]> {
  const found = new Map<string, InstalledPackage[]>();
  for (const one of packages) {
    const key = one.place === undefined ? one.name : `${one.name}\0${one.place}`;
    const same = found.get(key);
    if (same === undefined) found.set(key, [one]);
    else same.push(one);
  }
  return found;
}

function changesOfOne(
  manager: PackageManager,
  before: readonly InstalledPackage[],
  after: readonly InstalledPackage[],
): PackageChange[] {
  const removed = [...before];
  const installed: InstalledPackage[] = [];
  for (const one of after) {
    const same = removed.findIndex(({ version, arch }) => version === one.version && arch === one.arch);
    if (same < 0) installed.push(one);
    else removed.splice(same, 1);
  }
  const changes: PackageChange[] = [];
  const pair = (isPair: (a: InstalledPackage, b: InstalledPackage) => boolean): void => {
    for (const one of [...installed]) {
      const candidates = removed.filter((other) => isPair(other, one));
      if (candidates.length !== 1 || installed.filter((other) => isPair(candidates[0]!, other)).length !== 1)
        continue;
      changes.push(versionChange(manager, candidates[0]!, one));
      removed.splice(removed.indexOf(candidates[0]!), 1);
      installed.splice(installed.indexOf(one), 1);
    }
  };
  pair((a, b) => a.arch === b.arch);
  pair(() => true);
  const whole = (kind: 'installed' | 'removed', one: InstalledPackage): PackageChange => ({
    name: one.name,
    place: one.place,
    kind,
    before: kind === 'removed' ? one : undefined,
    after: kind === 'removed' ? undefined : one,
  });
  changes.push(
    ...removed.map((one) => whole('removed', one)),
    ...installed.map((one) => whole('installed', one)),
  );
  return changes;
}

function versionChange(
  manager: PackageManager,
  before: InstalledPackage,
  after: InstalledPackage,
): PackageChange {
  const order = compareVersions(manager, before.version, after.version);
  const kind = order === undefined || order === 0 ? 'changed' : order < 0 ? 'upgraded' : 'downgraded';
  return { name: after.name, place: after.place, kind, before, after };
}
