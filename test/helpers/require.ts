/**
 * What a test needs of the machine. A test that cannot run is skipped with a printed reason, decided by a probe of the
 * thing itself and never by a version; with LAMINA_REQUIRE_ALL=1 it fails instead, so that CI cannot pass by skipping.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, closeSync, constants, openSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Returns `present`; when it is false prints why a test is skipped, or throws when LAMINA_REQUIRE_ALL=1. */
export function requirement(name: string, present: boolean): boolean {
  if (present) return true;
  if (process.env['LAMINA_REQUIRE_ALL'] === '1') {
    throw new Error(`LAMINA_REQUIRE_ALL=1, and this machine lacks: ${name}`);
  }
  process.stderr.write(`skipped: needs ${name}\n`);
  return false;
}

/** True when every one of `names` is there; each absent one is reported by requirement(). */
export function needs(...names: readonly (keyof typeof PROBES | `command ${string}`)[]): boolean {
  return names
    .map((name) =>
      name.startsWith('command ')
        ? requirement(name, hasCommand(name.slice('command '.length)))
        : requirement(name, PROBES[name as keyof typeof PROBES]()),
    )
    .every(Boolean);
}

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

export function hasFuse(): boolean {
  try {
    closeSync(openSync('/dev/fuse', 'r+'));
    return true;
  } catch {
    return false;
  }
}

/** Kernel overlayfs, and the right to mount it. */
export function hasOverlay(): boolean {
  if (!isRoot()) return false;
  const listed = (): boolean => /\boverlay$/m.test(readFileSync('/proc/filesystems', 'utf8'));
  if (!listed()) spawnSync('modprobe', ['overlay']);
  return listed();
}

export function hasCommand(name: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((dir) => {
    try {
      accessSync(join(dir, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

const PROBES = {
  root: isRoot,
  '/dev/fuse': hasFuse,
  'kernel overlayfs': hasOverlay,
};
