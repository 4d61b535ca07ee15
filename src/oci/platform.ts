/**
 * Platforms: `os[/arch[/variant]]`, and which of several an image is taken for. Names are normalised and candidates ordered as
 * containerd does (containerd/platforms: database.go, compare.go), so that we choose what docker would.
 */
import { LaminaError } from '../errors.js';
import { quoted, type JsonObject } from './json.js';

export interface Platform {
  /** Go's names: linux, windows, darwin... Empty where the image does not say. */
  os: string;
  /** Go's names: amd64, arm64, arm, 386... Empty where the image does not say. */
  architecture: string;
  variant: string | undefined;
  osVersion: string | undefined;
}

const GO_ARCHITECTURES: Record<string, string> = {
  x64: 'amd64',
  ia32: '386',
  mipsel: 'mipsle',
  ppc64: 'ppc64le',
  loong64: 'loong64',
};
const KNOWN_OS = new Set(
  'aix android darwin dragonfly freebsd hurd illumos ios js linux netbsd openbsd plan9 solaris windows zos'.split(
    ' ',
  ),
);
const KNOWN_ARCHITECTURES = new Set(
  (
    '386 amd64 arm armbe arm64 arm64be ppc64 ppc64le loong64 mips mipsle mips64 mips64le ppc riscv riscv64 ' +
    's390 s390x sparc sparc64 wasm'
  ).split(' '),
);
const COMPONENT = /^[A-Za-z0-9_.-]+$/;

/** Where this program runs. */
export function hostPlatform(): Platform {
  const os =
    process.platform === 'win32' ? 'windows' : process.platform === 'sunos' ? 'solaris' : process.platform;
  return normalizePlatform({
    os,
    architecture: GO_ARCHITECTURES[process.arch] ?? process.arch,
    variant: undefined,
    osVersion: undefined,
  });
}

/**
 * `linux/arm64/v8`, `linux/amd64`, `linux` (the host's architecture), `arm64` (the host's system). Normalised. Raises EUSAGE.
 */
export function parsePlatform(text: string): Platform {
  const invalid = (problem: string): LaminaError =>
    new LaminaError('EUSAGE', `invalid platform ${quoted(text)}: ${problem}`, {
      hint: 'Give it as OS[/ARCH[/VARIANT]], for example linux/arm64.',
    });
  const parts = text.split('/');
  const [first = '', architecture, variant] = parts;
  if (parts.length > 3) throw invalid('it has more than three parts');
  if (!parts.every((part) => COMPONENT.test(part)))
    throw invalid('a part is empty or holds other than A-Z a-z 0-9 _ . -');
  if (architecture !== undefined)
    return normalizePlatform({ os: first, architecture, variant, osVersion: undefined });
  const host = hostPlatform();
  const asOs = normalizePlatform({ ...host, os: first });
  if (KNOWN_OS.has(asOs.os)) return asOs;
  const asArchitecture = normalizePlatform({
    os: host.os,
    architecture: first,
    variant: undefined,
    osVersion: undefined,
  });
  if (KNOWN_ARCHITECTURES.has(asArchitecture.architecture)) return asArchitecture;
  throw invalid('it is neither a known system nor a known architecture');
}

/** The platform that a descriptor or a config carries, as it is written there; absent fields are empty. */
export function platformFromJson(object: JsonObject): Platform {
  return {
    os: object.optionalString('os') ?? '',
    architecture: object.optionalString('architecture') ?? '',
    variant: object.optionalString('variant') || undefined,
    osVersion: object.optionalString('os.version') || undefined,
  };
}

/** `linux/arm/v7`; parts that the image does not give are left out or `unknown`. */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = platform;
  return `${os || 'unknown'}/${architecture || 'unknown'}${variant === undefined ? '' : `/${variant}`}`;
}

/** One spelling for each platform: x86_64 is amd64, arm64/v8 is arm64, arm is arm/v7. Empty fields stay empty. */
export function normalizePlatform(platform: Platform): Platform {
  let os = platform.os.toLowerCase();
  let architecture = platform.architecture.toLowerCase();
  let variant = platform.variant?.toLowerCase() ?? '';
  if (os === 'macos') os = 'darwin';
  switch (architecture) {
    case 'i386':
      architecture = '386';
      variant = '';
      break;
    case 'x86_64':
    case 'x86-64':
    case 'amd64':
      architecture = 'amd64';
      if (variant === 'v1') variant = '';
      break;
    case 'aarch64':
    case 'arm64':
      architecture = 'arm64';
      if (/^v?8(\.0)?$/.test(variant)) variant = '';
      else if (/^v?9(\.0)?$/.test(variant)) variant = 'v9';
      break;
    case 'armhf':
      architecture = 'arm';
      variant = 'v7';
      break;
    case 'armel':
      architecture = 'arm';
      variant = 'v6';
      break;
    case 'arm':
      if (variant === '') variant = 'v7';
      else if (/^[5-8]$/.test(variant)) variant = `v${variant}`;
      break;
  }
  return { os, architecture, variant: variant || undefined, osVersion: platform.osVersion };
}

/**
 * How well `candidate` serves one who wants `wanted`: 0 is best, larger is worse, undefined is not at all. What a candidate does
 * not say about itself is taken to be the host's, as docker does.
 */
export function platformRank(candidate: Platform, wanted: Platform): number | undefined {
  const host = hostPlatform();
  const given = normalizePlatform({
    ...candidate,
    os: candidate.os || host.os,
    architecture: candidate.architecture || host.architecture,
  });
  const rank = acceptable(normalizePlatform(wanted)).findIndex(
    (platform) =>
      platform.os === given.os &&
      platform.architecture === given.architecture &&
      platform.variant === given.variant,
  );
  return rank < 0 ? undefined : rank;
}

/** What runs on a normalised platform, best first: containerd's platformVector. */
function acceptable(platform: Platform): Platform[] {
  const like = (architecture: string, variant: string | undefined): Platform =>
    normalizePlatform({ ...platform, architecture, variant });
  const { architecture, variant } = platform;
  const list = [platform];
  switch (architecture) {
    case 'amd64':
      for (let version = versionOf(variant, 0) - 1; version >= 1; version--)
        list.push(like('amd64', `v${version}`));
      list.push(like('386', undefined));
      break;
    case 'arm':
      for (let version = versionOf(variant, 0) - 1; version >= 5; version--)
        list.push(like('arm', `v${version}`));
      break;
    case 'arm64': {
      const [major = '', minorText = '0'] = (variant ?? 'v8').split('.');
      let minor = Number(minorText);
      if (!/^v[89]$/.test(major) || !/^\d$/.test(minorText)) break;
      if (major === 'v9') {
        for (minor--; minor >= 0; minor--) list.push(like('arm64', minor === 0 ? 'v9' : `v9.${minor}`));
        // Armv9.x holds all of Armv8.(x+5).
        minor = Number(minorText) + 6;
      }
      for (minor--; minor >= 0; minor--) list.push(like('arm64', minor === 0 ? undefined : `v8.${minor}`));
      for (let version = 8; version >= 5; version--) list.push(like('arm', `v${version}`));
      break;
    }
  }
  return list;
}

/** `v7` -> 7. Bounded, since the list of what is acceptable is as long. */
function versionOf(variant: string | undefined, otherwise: number): number {
  return /^v\d{1,2}$/.test(variant ?? '') ? Number(variant!.slice(1)) : otherwise;
}
