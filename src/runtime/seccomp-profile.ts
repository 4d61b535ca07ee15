/** Forms of seccomp profiles. */

/** `linux.seccomp` of a bundle. */
export interface SpecSeccomp {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures: readonly string[];
  syscalls: readonly SpecRule[];
}

export interface SpecRule {
  names: readonly string[];
  action: string;
  errnoRet?: number;
  args?: readonly RuleArgument[] | null;
}

/** All of one rule's must hold. */
export interface RuleArgument {
  index: number;
  value: number;
  valueTwo?: number;
  op: string;
}

/** A profile as docker and podman read it: rules that apply by capability, architecture and kernel. */
export interface Profile {
  defaultAction?: string;
  defaultErrnoRet?: number;
  architectures?: readonly string[];
  archMap?: readonly { architecture: string; subArchitectures?: readonly string[] | null }[];
  syscalls?: readonly (SpecRule & { name?: string; includes?: Condition; excludes?: Condition })[] | null;
}

export interface Condition {
  caps?: readonly string[];
  arches?: readonly string[];
  minKernel?: string;
}
