/**
 * npm's packages wherever they lie: every directory in a node_modules, by its package.json; and the package-lock.json of a project that has no
 * node_modules. Symbolic links, by which pnpm and workspaces point at packages, are not packages of their own.
 * Source: docs.npmjs.com, "folders" and "package-lock.json".
 */
import type { ByteString } from '../../../bytes.js';
import { displayBytes } from '../../../bytes.js';
import { joinPath, parentPath } from '../../../merge/view.js';
import type { ImageView } from '../../../merge/view.js';
import { readImageFile } from './package.js';
import type { InstalledPackage } from './package.js';

const MAX_JSON_BYTES = 64 * 1024 * 1024;

export interface NpmPackages {
  installed: InstalledPackage[];
  /** Named by lock files only. */
  locked: InstalledPackage[];
}

export function readNpm(view: ImageView): NpmPackages {
  const found: NpmPackages = { installed: [], locked: [] };
  for (const { name, type, path, ino } of view.walk()) {
    if (type === 'dir' && name === 'node_modules') {
      for (const place of packagePlaces(view, ino, path)) found.installed.push(...packageAt(view, place));
    } else if (type === 'file' && name === 'package-lock.json' && !path.includes('/node_modules/')) {
      const project = parentPath(path);
      const hasModules = view.toc.lookup(view.resolve(project), 'node_modules') !== undefined;
      const lock = hasModules ? undefined : parseJson(view, path);
      if (lock !== undefined) found.locked.push(...parsePackageLock(lock, displayBytes(project)));
    }
  }
  return found;
}

/** Directories of packages in a node_modules; those of a scope lie one deeper. */
function packagePlaces(view: ImageView, ino: number, path: ByteString): ByteString[] {
  const places: ByteString[] = [];
  for (const { name, type, ino: child } of view.toc.entries(ino)) {
    if (type !== 'dir' || name.startsWith('.')) continue;
    const place = joinPath(path, name);
    places.push(...(name.startsWith('@') ? packagePlaces(view, child, place) : [place]));
  }
  return places;
}

function packageAt(view: ImageView, place: ByteString): InstalledPackage[] {
  const { name, version } = (parseJson(view, joinPath(place, 'package.json')) ?? {}) as Record<
    string,
    unknown
  >;
  if (typeof name !== 'string' || typeof version !== 'string') return [];
  // pnpm puts the version into the path, by which an upgrade would be a removal and an installation.
  const shown = displayBytes(place).replace(/\/\.pnpm\/[^/]+\/node_modules\//, '/.pnpm/');
  return [{ name, version, arch: undefined, place: shown }];
}

function parseJson(view: ImageView, path: ByteString): unknown {
  try {
    return JSON.parse(readImageFile(view, path, MAX_JSON_BYTES)?.toString('utf8') ?? 'null') ?? undefined;
  } catch {
    // A package.json in a test directory may be anything: what is no JSON is no package.
    return undefined;
  }
}

/** Versions 2 and 3 have `packages` by their place, version 1 has `dependencies` in each other. */
export function parsePackageLock(lock: unknown, project: string): InstalledPackage[] {
  const { packages, dependencies } = asObject(lock);
  const base = project === '/' ? '' : project;
  if (typeof packages === 'object' && packages !== null) {
    return Object.entries(packages).flatMap(([at, about]) => {
      const { name = at.replace(/^.*node_modules\//, ''), version } = asObject(about);
      if (!at.includes('node_modules/') || typeof name !== 'string' || typeof version !== 'string') return [];
      return [{ name, version, arch: undefined, place: `${base}/${at}` }];
    });
  }
  return lockedV1(dependencies, base, 0);
}

const MAX_LOCK_DEPTH = 100;

function lockedV1(dependencies: unknown, base: string, depth: number): InstalledPackage[] {
  if (depth > MAX_LOCK_DEPTH) return [];
  return Object.entries(asObject(dependencies)).flatMap(([name, about]) => {
    const { version, dependencies: inner } = asObject(about);
    const place = `${base}/node_modules/${name}`;
    const own = typeof version === 'string' ? [{ name, version, arch: undefined, place }] : [];
    return [...own, ...lockedV1(inner, place, depth + 1)];
  });
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
