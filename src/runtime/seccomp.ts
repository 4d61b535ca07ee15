/**
 * The seccomp filter of a container, as the runtime spec has it (config-linux.md). docker's default profile is what Debian's
 * golang-github-containers-common installs as /usr/share/containers/seccomp.json; without it our own (seccomp-own.ts) takes its place.
 */
import { readFileSync } from 'node:fs';
import { fromSystemError, LaminaError } from '../errors.js';
import { ownProfile } from './seccomp-own.js';
import type { Condition, Profile, SpecRule, SpecSeccomp } from './seccomp-profile.js';

const INSTALLED = ['/etc/containers/seccomp.json', '/usr/share/containers/seccomp.json'];

/** Node's names to those of profiles. */
const ARCHITECTURES: Record<string, { arch: string; scmp: string }> = {
  x64: { arch: 'amd64', scmp: 'SCMP_ARCH_X86_64' },
  arm64: { arch: 'arm64', scmp: 'SCMP_ARCH_AARCH64' },
  arm: { arch: 'arm', scmp: 'SCMP_ARCH_ARM' },
  ia32: { arch: 'x86', scmp: 'SCMP_ARCH_X86' },
  ppc64: { arch: 'ppc64le', scmp: 'SCMP_ARCH_PPC64LE' },
  s390x: { arch: 's390x', scmp: 'SCMP_ARCH_S390X' },
  riscv64: { arch: 'riscv64', scmp: 'SCMP_ARCH_RISCV64' },
};

/**
 * @param profile `default`, `unconfined`, or the path of a profile
 * @param capabilities what the process gets: some calls go with a capability
 * @returns undefined: no filter. Raises ENOENT, EACCES, EUSAGE for a profile that cannot be read.
 */
export function seccompFilter(profile: string, capabilities: readonly string[]): SpecSeccomp | undefined {
  if (profile === 'unconfined') return undefined;
  if (profile !== 'default') return convert(readProfile(profile), capabilities);
  for (const file of INSTALLED) {
    try {
      return convert(readProfile(file), capabilities);
    } catch (error) {
      if (!(error instanceof LaminaError) || error.code !== 'ENOENT') throw error;
    }
  }
  return convert(ownProfile(), capabilities);
}

function readProfile(file: string): Profile {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw fromSystemError(error, 'cannot read the seccomp profile', file);
  }
  try {
    return JSON.parse(text) as Profile;
  } catch (cause) {
    throw new LaminaError('EUSAGE', `the seccomp profile ${file} is not JSON`, { path: file, cause });
  }
}

/** What applies here, in the spec's form; a condition's parts must all hold. */
export function convert(profile: Profile, capabilities: readonly string[]): SpecSeccomp {
  const here = ARCHITECTURES[process.arch];
  const entry = profile.archMap?.find(({ architecture }) => architecture === here?.scmp);
  const architectures =
    profile.architectures ??
    (entry === undefined
      ? here === undefined
        ? []
        : [here.scmp]
      : [entry.architecture, ...(entry.subArchitectures ?? [])]);
  const holds = ({ caps, arches, minKernel }: Condition): boolean =>
    (caps ?? []).every((name) => capabilities.includes(name)) &&
    (arches === undefined || arches.length === 0 || arches.includes(here?.arch ?? '')) &&
    (minKernel === undefined || kernelIsAtLeast(minKernel));
  const isMet = (condition: Condition | undefined): boolean => condition === undefined || holds(condition);
  const isExcluded = ({ caps, arches, minKernel }: Condition): boolean =>
    (caps ?? []).some((name) => capabilities.includes(name)) ||
    (arches ?? []).includes(here?.arch ?? '') ||
    (minKernel !== undefined && kernelIsAtLeast(minKernel));
  const syscalls = (profile.syscalls ?? [])
    .filter(({ includes, excludes }) => isMet(includes) && !(excludes !== undefined && isExcluded(excludes)))
    .map(({ name, names, action, errnoRet, args }): SpecRule => ({
      names: names ?? (name === undefined ? [] : [name]),
      action,
      ...(errnoRet === undefined ? {} : { errnoRet }),
      ...(args === undefined || args === null || args.length === 0 ? {} : { args }),
    }));
  return {
    defaultAction: profile.defaultAction ?? 'SCMP_ACT_ERRNO',
    ...(profile.defaultErrnoRet === undefined ? {} : { defaultErrnoRet: profile.defaultErrnoRet }),
    architectures,
    syscalls,
  };
}

function kernelIsAtLeast(wanted: string): boolean {
  const numbers = (text: string): number[] => text.split(/[.-]/).slice(0, 2).map(Number);
  const [major = 0, minor = 0] = numbers(readFileSync('/proc/sys/kernel/osrelease', 'utf8'));
  const [wantedMajor = 0, wantedMinor = 0] = numbers(wanted);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}
