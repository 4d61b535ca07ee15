/**
 * Which of two versions is newer, by each package manager's own rules. Sources: deb-version(7); rpm, docs/manual/dependencies.md and
 * rpmio/rpmvercmp.c; apk-tools, doc/apk-package.5; semver.org, 11.
 */
import type { PackageManager } from './package.js';

/** Below 0 when `a` is older, above when it is newer; undefined when one is no version that can be compared. */
export function compareVersions(manager: PackageManager, a: string, b: string): number | undefined {
  switch (manager) {
    case 'dpkg':
      return compareParts(splitVersion(a), splitVersion(b), compareDpkg);
    case 'rpm':
      return compareParts(splitVersion(a), splitVersion(b), compareRpm);
    case 'apk':
      return compareApk(a, b);
    default:
      return compareSemver(a, b);
  }
}

/** `[epoch:]version[-revision]`; the revision begins after the last hyphen. */
function splitVersion(text: string): [epoch: number, version: string, revision: string] {
  const colon = text.indexOf(':');
  const rest = text.slice(colon + 1);
  const at = rest.lastIndexOf('-');
  const epoch = colon < 0 ? 0 : Number(text.slice(0, colon));
  return at < 0 ? [epoch, rest, ''] : [epoch, rest.slice(0, at), rest.slice(at + 1)];
}

function compareParts(
  a: readonly [number, string, string],
  b: readonly [number, string, string],
  compare: (a: string, b: string) => number,
): number {
  return a[0] - b[0] || compare(a[1], b[1]) || compare(a[2], b[2]);
}

/** Digits and others by turns; `~` before the end of the text, the end before letters, letters before all else. */
function compareDpkg(a: string, b: string): number {
  const [ours, theirs] = [[...a.matchAll(/(\D*)(\d*)/g)], [...b.matchAll(/(\D*)(\d*)/g)]];
  for (let index = 0; index < Math.max(ours.length, theirs.length); index++) {
    const [, text = '', digits = ''] = ours[index] ?? [];
    const [, otherText = '', otherDigits = ''] = theirs[index] ?? [];
    for (let at = 0; at < Math.max(text.length, otherText.length); at++) {
      const order = dpkgOrder(text[at]) - dpkgOrder(otherText[at]);
      if (order !== 0) return order;
    }
    const order = compareDigits(digits, otherDigits);
    if (order !== 0) return order;
  }
  return 0;
}

function dpkgOrder(char: string | undefined): number {
  if (char === undefined) return 0;
  if (char === '~') return -1;
  return /[A-Za-z]/.test(char) ? char.charCodeAt(0) : char.charCodeAt(0) + 256;
}

/** Of any length. */
function compareDigits(a: string, b: string): number {
  const [ours, theirs] = [a.replace(/^0+/, ''), b.replace(/^0+/, '')];
  return ours.length - theirs.length || (ours < theirs ? -1 : ours > theirs ? 1 : 0);
}

/** Runs of digits or letters; `~` before everything, `^` after the end but before all else; the longer is newer. */
function compareRpm(a: string, b: string): number {
  const parts = (text: string): string[] => text.match(/~|\^|\d+|[A-Za-z]+/g) ?? [];
  const [ours, theirs] = [parts(a), parts(b)];
  for (let index = 0; ; index++) {
    const [x, y] = [ours[index], theirs[index]];
    if (x === '~' || y === '~') {
      if (x !== y) return x === '~' ? -1 : 1;
      continue;
    }
    if (x === '^' || y === '^') {
      if (x === y) continue;
      if (x === undefined || y === undefined) return x === undefined ? -1 : 1;
      return x === '^' ? -1 : 1;
    }
    if (x === undefined || y === undefined) return x === y ? 0 : x === undefined ? -1 : 1;
    const [isNumber, isOtherNumber] = [/^\d/.test(x), /^\d/.test(y)];
    if (isNumber !== isOtherNumber) return isNumber ? 1 : -1;
    const order = isNumber ? compareDigits(x, y) : x < y ? -1 : x > y ? 1 : 0;
    if (order !== 0) return order;
  }
}

const APK_VERSION = /^(\d+(?:\.\d+)*)([a-z]?)((?:_[a-z]+\d*)*)(?:~[0-9a-f]+)?(?:-r(\d+))?$/;
const APK_SUFFIXES = ['alpha', 'beta', 'pre', 'rc', '', 'cvs', 'svn', 'git', 'hg', 'p'];

function compareApk(a: string, b: string): number | undefined {
  const [ours, theirs] = [APK_VERSION.exec(a), APK_VERSION.exec(b)];
  if (ours === null || theirs === null) return undefined;
  const [x, y] = [ours[1]!.split('.'), theirs[1]!.split('.')];
  for (let index = 0; index < Math.min(x.length, y.length); index++) {
    const [left, right] = [x[index]!, y[index]!];
    // After the first, a part with a leading zero is a fraction: compared as text.
    const isFraction = index > 0 && (left.startsWith('0') || right.startsWith('0'));
    const order = isFraction ? (left < right ? -1 : left > right ? 1 : 0) : compareDigits(left, right);
    if (order !== 0) return order;
  }
  const letters = ours[2]! < theirs[2]! ? -1 : ours[2]! > theirs[2]! ? 1 : 0;
  return (
    x.length - y.length ||
    letters ||
    compareApkSuffixes(ours[3]!, theirs[3]!) ||
    Number(ours[4] ?? 0) - Number(theirs[4] ?? 0)
  );
}

function compareApkSuffixes(a: string, b: string): number {
  const [ours, theirs] = [[...a.matchAll(/_([a-z]+)(\d*)/g)], [...b.matchAll(/_([a-z]+)(\d*)/g)]];
  for (let index = 0; index < Math.max(ours.length, theirs.length); index++) {
    const [, name = '', number = ''] = ours[index] ?? [];
    const [, otherName = '', otherNumber = ''] = theirs[index] ?? [];
    const order =
      APK_SUFFIXES.indexOf(name) - APK_SUFFIXES.indexOf(otherName) || compareDigits(number, otherNumber);
    if (order !== 0) return order;
  }
  return 0;
}

function compareSemver(a: string, b: string): number | undefined {
  const pattern = /^v?(\d+)\.(\d+)\.(\d+)(?:-([\w.-]+))?(?:\+.*)?$/;
  const [ours, theirs] = [pattern.exec(a), pattern.exec(b)];
  if (ours === null || theirs === null) return undefined;
  for (const part of [1, 2, 3]) {
    const order = compareDigits(ours[part]!, theirs[part]!);
    if (order !== 0) return order;
  }
  if (ours[4] === undefined || theirs[4] === undefined)
    return ours[4] === theirs[4] ? 0 : ours[4] === undefined ? 1 : -1;
  const [x, y] = [ours[4].split('.'), theirs[4].split('.')];
  for (let index = 0; index < Math.min(x.length, y.length); index++) {
    const [left, right] = [x[index]!, y[index]!];
    const [isNumber, isOtherNumber] = [/^\d+$/.test(left), /^\d+$/.test(right)];
    if (isNumber !== isOtherNumber) return isNumber ? -1 : 1;
    const order = isNumber ? compareDigits(left, right) : left < right ? -1 : left > right ? 1 : 0;
    if (order !== 0) return order;
  }
  return x.length - y.length;
}
