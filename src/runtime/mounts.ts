/** What is mounted in a container besides its root: docker's set, in the runtime spec's form (config.md, Mounts). */
import { existsSync } from 'node:fs';

/** `source` of a bind is a path of the host, `destination` one of the container. */
export interface SpecMount {
  destination: string;
  type: string;
  source: string;
  options: readonly string[];
}

export interface StandardMounts {
  /** /sys shows the network of its namespace; a bind where it cannot be mounted anew. */
  network: 'host' | 'none';
  cgroups: boolean;
  privileged: boolean;
}

/** In the order in which they are mounted. */
export function standardMounts({ cgroups, privileged }: StandardMounts): SpecMount[] {
  const closed = ['nosuid', 'noexec', 'nodev'];
  const access = privileged ? 'rw' : 'ro';
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: closed },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...closed, access] },
    ...(cgroups
      ? [
          {
            destination: '/sys/fs/cgroup',
            type: 'cgroup',
            source: 'cgroup',
            options: [...closed, 'relatime', access],
          },
        ]
      : []),
    ...(existsSync('/dev/mqueue') || existsSync('/proc/sys/fs/mqueue')
      ? [{ destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: closed }]
      : []),
    {
      destination: '/dev/shm',
      type: 'tmpfs',
      source: 'shm',
      options: [...closed, 'mode=1777', 'size=65536k'],
    },
  ];
}

/** A directory or file of the host. `rprivate`: what is mounted below it later on one side does not show on the other. */
export function bindMount(source: string, destination: string, options: readonly string[] = []): SpecMount {
  return { destination, type: 'bind', source, options: ['rbind', 'rprivate', ...options] };
}

/** `options` as docker's `--tmpfs` takes them: `size=64m,mode=1770`. */
export function tmpfsMount(destination: string, options: readonly string[] = []): SpecMount {
  const isGiven = (name: string): boolean =>
    options.some((option) => option.replace(/=.*/, '').replace(/^no/, '') === name.replace(/^no/, ''));
  const defaults = ['noexec', 'nosuid', 'nodev'].filter((name) => !isGiven(name));
  return { destination, type: 'tmpfs', source: 'tmpfs', options: [...defaults, ...options] };
}

/** As moby's oci.DefaultLinuxSpec. */
export const MASKED_PATHS = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];
export const READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];
