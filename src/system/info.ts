/** `info`: what the store holds, and what this machine offers to mounts. */
import { accessSync, closeSync, constants, openSync, readFileSync, statfsSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ContainerStore } from '../container/store.js';
import type { ImageStore } from '../store/image-store.js';
import { serverBinary } from '../server-binary.js';

export interface SystemInfo {
  containers: number;
  /** Of these. */
  mounted: number;
  images: number;
  /** Absolute. */
  root: string;
  /** Whether this user may change the store; one that is not there yet can be made. */
  isWritable: boolean;
  /** The name of the filesystem that the store is on, or will be; its number in hexadecimal where it is not known. */
  filesystem: string;
  /** Pairs, as docker's DriverStatus. */
  driverStatus: readonly (readonly [string, string])[];
  operatingSystem: string;
}

/** Raises what reading the index and the containers raises. */
export async function systemInfo(store: ImageStore): Promise<SystemInfo> {
  const containers = new ContainerStore(store.root);
  const records = await containers.list();
  let mounted = 0;
  for (const record of records) if (await containers.isMounted(record)) mounted++;
  const root = path.resolve(store.root);
  const place = existing(root);
  const filesystem = filesystemOf(place);
  const isWritable = can(place, constants.W_OK | constants.X_OK);
  return {
    containers: records.length,
    mounted,
    images: store.snapshot().images.length,
    root,
    isWritable,
    filesystem,
    driverStatus: [
      ['Backing Filesystem', filesystem],
      ['Store', isWritable ? 'writable' : 'read-only'],
      ['Native Server', nativeServer()],
      ['FUSE', fuse()],
      ['FUSE over io_uring', uring()],
      ['FUSE Passthrough', passthrough(os.release(), process.getuid?.() === 0)],
    ],
    operatingSystem: operatingSystem(),
  };
}

/** The directory itself, or the nearest above it that is there. */
function existing(directory: string): string {
  return can(directory, constants.F_OK) || directory === '/' ? directory : existing(path.dirname(directory));
}

function can(file: string, mode: number): boolean {
  try {
    accessSync(file, mode);
    return true;
  } catch {
    return false;
  }
}

/** statfs(2), under docker's names (moby daemon/graphdriver/fsnotify_linux.go). */
const FILESYSTEMS: Readonly<Record<number, string>> = {
  0xef53: 'extfs',
  0x58465342: 'xfs',
  0x9123683e: 'btrfs',
  0x01021994: 'tmpfs',
  0x794c7630: 'overlayfs',
  0x2fc12fc1: 'zfs',
  0xf2f52010: 'f2fs',
  0x6969: 'nfs',
  0x65735546: 'fuse',
  0xca451a4e: 'bcachefs',
};

function filesystemOf(directory: string): string {
  try {
    const { type } = statfsSync(directory);
    return FILESYSTEMS[type] ?? `0x${type.toString(16)}`;
  } catch {
    return 'unknown';
  }
}

function nativeServer(): string {
  try {
    return serverBinary();
  } catch {
    return 'missing';
  }
}

function fuse(): string {
  try {
    closeSync(openSync('/dev/fuse', 'r+'));
    return 'available';
  } catch (error) {
    return `not available (/dev/fuse: ${(error as NodeJS.ErrnoException).code})`;
  }
}

/** What the parameter of the kernel's module says (Documentation/filesystems/fuse/fuse-io-uring.rst). */
function uring(): string {
  const parameter = '/sys/module/fuse/parameters/enable_uring';
  const isOff = Number(textOf('/proc/sys/kernel/io_uring_disabled') ?? 0);
  if (isOff === 2 || (isOff === 1 && process.getuid?.() !== 0)) return 'off (kernel.io_uring_disabled)';
  const value = textOf(parameter)?.trim();
  if (value === undefined) return 'not supported by this kernel';
  return value === 'Y' ? 'on' : `off (${parameter})`;
}

/** Since Linux 6.9, for CAP_SYS_ADMIN (fuse/backing.c). @internal for tests */
export function passthrough(release: string, isRoot: boolean): string {
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10));
  if (major < 6 || (major === 6 && minor < 9)) return 'needs Linux 6.9';
  return isRoot ? 'available' : 'needs root';
}

/** os-release(5) */
function operatingSystem(): string {
  const text = textOf('/etc/os-release') ?? textOf('/usr/lib/os-release') ?? '';
  return /^PRETTY_NAME=["']?(.*?)["']?$/m.exec(text)?.[1] ?? os.type();
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
