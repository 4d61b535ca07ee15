/** Capabilities of a container: docker's defaults, with what `--cap-add` and `--cap-drop` say. capabilities(7). */
import { readFileSync } from 'node:fs';
import { LaminaError } from '../errors.js';

/** By number; those of a newer kernel than this list are not given. */
const NAMES =
  `CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST
NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE
SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND
AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`.split(/\s+/);

/** docs.docker.com, "Runtime privilege and Linux capabilities". */
const DEFAULTS =
  `CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE`.split(
    ' ',
  );

export interface CapabilityRequest {
  add?: readonly string[];
  drop?: readonly string[];
  /** All that there are. */
  privileged?: boolean;
}

/**
 * `CAP_` names, by number. What this process has not itself cannot be given, and is left out of the defaults.
 * Raises EUSAGE for a name that is none, or one that was asked for and cannot be given.
 */
export function capabilitySet(request: CapabilityRequest = {}, own: bigint = ownCapabilities()): string[] {
  const has = (name: string): boolean => ((own >> BigInt(NAMES.indexOf(name))) & 1n) === 1n;
  const [add, drop] = [names(request.add ?? [], '--cap-add'), names(request.drop ?? [], '--cap-drop')];
  const all = NAMES.filter(has);
  if (request.privileged === true) return all.map(prefixed);
  const missing = add.find((name) => name !== 'ALL' && !has(name));
  if (missing !== undefined)
    throw new LaminaError('EUSAGE', `CAP_${missing} cannot be given: this process does not have it itself`, {
      hint: 'Leave out --cap-add, or run as a user who has it.',
    });
  const base = add.includes('ALL') ? all : DEFAULTS.filter(has);
  const kept = drop.includes('ALL') ? [] : base.filter((name) => !drop.includes(name));
  const set = new Set([
    ...(add.includes('ALL') && drop.includes('ALL') ? all : kept),
    ...add.filter((name) => name !== 'ALL'),
  ]);
  return NAMES.filter((name) => set.has(name)).map(prefixed);
}

function prefixed(name: string): string {
  return `CAP_${name}`;
}

function names(list: readonly string[], flag: string): string[] {
  return list.map((text) => {
    const name = text.toUpperCase().replace(/^CAP_/, '');
    if (name === 'ALL' || NAMES.includes(name)) return name;
    throw new LaminaError('EUSAGE', `invalid ${flag.slice(2)}: unknown capability: "${text}"`, {
      hint: 'See capabilities(7) for their names.',
    });
  });
}

/** Of the bounding set: what a process that this one starts can have. */
function ownCapabilities(): bigint {
  try {
    const hex = /^CapBnd:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    return BigInt(`0x${hex ?? '0'}`);
  } catch {
    return 0n;
  }
}
