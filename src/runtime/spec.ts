/** config.json of a bundle (opencontainers/runtime-spec 1.0.2) from what is to run; pure but for looking at the machine's devices. */
import { capabilitySet } from './capabilities.js';
import type { CapabilityRequest } from './capabilities.js';
import { hostDevices } from './devices.js';
import type { SpecDevice } from './devices.js';
import { MASKED_PATHS, READONLY_PATHS } from './mounts.js';
import type { SpecMount } from './mounts.js';
import { seccompFilter } from './seccomp.js';
import type { SpecSeccomp } from './seccomp-profile.js';
import type { ResolvedUser } from './user.js';

export interface Rlimit {
  /** `RLIMIT_NOFILE` */
  type: string;
  soft: number;
  hard: number;
}

/** What one process is; also of `exec`. */
export interface ProcessRequest {
  args: readonly string[];
  /** NAME=VALUE, complete (environment.ts). */
  env: readonly string[];
  /** Absolute, in the container. */
  cwd: string;
  user: ResolvedUser;
  terminal: boolean;
  capabilities: CapabilityRequest;
  noNewPrivileges?: boolean;
  rlimits?: readonly Rlimit[];
}

export interface SpecRequest {
  /** Where the root filesystem is mounted on the host. */
  rootfs: string;
  readOnly: boolean;
  process: ProcessRequest;
  hostname: string;
  network: 'host' | 'none';
  /** All of them, in order. */
  mounts: readonly SpecMount[];
  /** `default`, `unconfined` or a path. */
  seccomp: string;
  /** undefined: the runtime makes no cgroup. */
  cgroup: string | undefined;
}

export interface SpecProcess {
  terminal: boolean;
  user: { uid: number; gid: number; additionalGids: readonly number[] };
  args: readonly string[];
  env: readonly string[];
  cwd: string;
  capabilities: Record<'bounding' | 'effective' | 'permitted', readonly string[]>;
  noNewPrivileges: boolean;
  rlimits?: readonly Rlimit[];
}

export interface OciSpec {
  ociVersion: string;
  process: SpecProcess;
  root: { path: string; readonly: boolean };
  hostname: string;
  mounts: readonly SpecMount[];
  linux: {
    namespaces: readonly { type: string }[];
    resources: { devices: readonly { allow: boolean; access: string }[] };
    cgroupsPath?: string;
    devices?: readonly SpecDevice[];
    seccomp?: SpecSeccomp;
    maskedPaths?: readonly string[];
    readonlyPaths?: readonly string[];
    rootfsPropagation?: string;
  };
}

/** Raises EUSAGE for unknown capabilities and unreadable profiles. */
export function specOf(request: SpecRequest): OciSpec {
  const { process: wanted } = request;
  const privileged = wanted.capabilities.privileged === true;
  const process = specProcess(wanted);
  const seccomp = privileged ? undefined : seccompFilter(request.seccomp, process.capabilities.bounding);
  const namespaces = ['pid', 'ipc', 'uts', 'mount', ...(request.network === 'none' ? ['network'] : [])];
  return {
    ociVersion: '1.0.2',
    process,
    root: { path: request.rootfs, readonly: request.readOnly },
    hostname: request.hostname,
    mounts: request.mounts,
    linux: {
      namespaces: namespaces.map((type) => ({ type })),
      // What every container needs, from /dev/null to its terminal, the runtimes allow by themselves.
      resources: { devices: [{ allow: privileged, access: 'rwm' }] },
      ...(request.cgroup === undefined ? {} : { cgroupsPath: request.cgroup }),
      ...(seccomp === undefined ? {} : { seccomp }),
      ...(privileged
        ? { devices: hostDevices() }
        : { maskedPaths: MASKED_PATHS, readonlyPaths: READONLY_PATHS }),
    },
  };
}

export function specProcess(request: ProcessRequest): SpecProcess {
  const { uid, gid, additionalGids } = request.user;
  const capabilities = capabilitySet(request.capabilities);
  return {
    terminal: request.terminal,
    // As docker since CVE-2022-36109: a group that is not among the additional ones could be got rid of.
    user: { uid, gid, additionalGids: [...new Set([gid, ...additionalGids])] },
    args: request.args,
    env: request.env,
    cwd: request.cwd,
    capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
    noNewPrivileges: request.noNewPrivileges === true,
    ...(request.rlimits === undefined || request.rlimits.length === 0 ? {} : { rlimits: request.rlimits }),
  };
}
