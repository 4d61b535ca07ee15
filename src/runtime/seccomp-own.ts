/**
 * A seccomp profile for hosts that have none: what docker's documentation ("Significant syscalls blocked by the default profile") says is
 * refused, and what newer kernels added of the same kind. All else is allowed, where docker's own lists what is allowed: a list of
 * 370 names would have to be kept. So a call that is newer than this file is not refused.
 */
import type { Profile, RuleArgument } from './seccomp-profile.js';

const EPERM = 1;
const ENOSYS = 38;

/** Calls that a capability opens, by that capability. */
const BY_CAPABILITY: Record<string, string> = {
  CAP_SYS_ADMIN: `bpf fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree perf_event_open pivot_root
    quotactl quotactl_fd setdomainname sethostname setns swapoff swapon syslog umount umount2 unshare`,
  CAP_SYS_BOOT: 'reboot',
  CAP_SYS_CHROOT: 'chroot',
  CAP_SYS_MODULE: 'create_module delete_module finit_module init_module',
  CAP_SYS_PACCT: 'acct',
  CAP_SYS_PTRACE: 'kcmp process_madvise process_vm_readv process_vm_writev ptrace',
  CAP_SYS_RAWIO: 'ioperm iopl',
  CAP_SYS_TIME: 'clock_adjtime64 clock_settime clock_settime64 settimeofday stime',
  CAP_SYS_NICE: 'mbind set_mempolicy',
  CAP_DAC_READ_SEARCH: 'open_by_handle_at',
  CAP_SYS_TTY_CONFIG: 'vhangup',
};

/** Never allowed: not kept apart by namespaces, or of no use any more. */
const NEVER = `_sysctl add_key get_kernel_syms io_uring_enter io_uring_register io_uring_setup kexec_file_load kexec_load keyctl migrate_pages
  move_pages nfsservctl query_module request_key sysfs uselib userfaultfd ustat vm86 vm86old`;

/** ptrace and its like are safe since Linux 4.8 (seccomp(2)), and Lamina needs a newer one. */
const ALWAYS = new Set(['ptrace', 'process_vm_readv', 'process_vm_writev']);

/** clone(2)'s flags that make namespaces. */
const NEW_NAMESPACES = 0x7e020000;
const AF_VSOCK = 40;

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

/** In the form of docker's profiles. */
export function ownProfile(): Profile {
  const refuse = { action: 'SCMP_ACT_ERRNO', errnoRet: EPERM };
  const withoutAdmin = { excludes: { caps: ['CAP_SYS_ADMIN'] } };
  const compare = (index: number, value: number, op: string, valueTwo = 0): RuleArgument => ({
    index,
    value,
    valueTwo,
    op,
  });
  return {
    defaultAction: 'SCMP_ACT_ALLOW',
    archMap: [
      { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] },
      { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
    ],
    syscalls: [
      { names: words(NEVER), ...refuse },
      ...Object.entries(BY_CAPABILITY).map(([capability, names]) => ({
        names: words(names).filter((name) => !ALWAYS.has(name)),
        ...refuse,
        excludes: { caps: [capability] },
      })),
      {
        names: ['clone'],
        ...refuse,
        args: [compare(0, NEW_NAMESPACES, 'SCMP_CMP_MASKED_EQ', NEW_NAMESPACES)],
        ...withoutAdmin,
      },
      // Its flags lie in memory, where a filter cannot look; C libraries go back to clone.
      { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS, ...withoutAdmin },
      { names: ['socket'], ...refuse, args: [compare(0, AF_VSOCK, 'SCMP_CMP_EQ')] },
    ],
  };
}
