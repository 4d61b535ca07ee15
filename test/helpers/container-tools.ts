/**
 * podman and buildah with a store of their own, as root or as a user made for the test, with the kernel's overlayfs or a
 * mount program under their overlay driver.
 */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const DUMPER = fileURLToPath(new URL('dump_directory.py', import.meta.url));

/** What a sandbox without systemd and with few rights needs: limits that need not be raised, no network namespace. */
const PODMAN = ['--cgroup-manager=cgroupfs', '--runtime=runc', '--events-backend=file'];
const CONTAINER = ['--network=host', '--ulimit=nofile=1024:1024', '--ulimit=nproc=2000:2000', '--pull=never'];
const BUILD = ['--isolation=chroot', '--network=host', '--layers', '--pull=never', '--timestamp=0'];

export interface TestUser {
  name: string;
  home: string;
}

/** A user with ranges of subordinate ids, until remove(). Needs root, and the programs of Debian's package uidmap. */
export class TemporaryUser implements TestUser {
  readonly name = `lamina-test-${process.pid}`;
  readonly #base = mkdtempSync(join(tmpdir(), 'lamina-user-'));
  readonly home = join(this.#base, 'home');

  constructor() {
    chmodSync(this.#base, 0o755);
    execFileSync('useradd', ['--create-home', '--home-dir', this.home, '--shell', '/bin/bash', this.name]);
    for (const [file, option] of [
      ['/etc/subuid', '--add-subuids'],
      ['/etc/subgid', '--add-subgids'],
    ] as const) {
      const ranges = readFileSync(file, { encoding: 'utf8', flag: 'a+' });
      if (!ranges.includes(`${this.name}:`)) {
        execFileSync('usermod', [option, '1000000-1065535', this.name]);
      }
    }
  }

  /** Runs a command as the user, who has logged in in no other way; returns its standard output. */
  run(args: readonly string[], environment: Record<string, string> = {}): Promise<string> {
    const [program, ...rest] = asUser(this, args);
    return run(program!, rest, environment);
  }

  remove(): void {
    spawnSync('runuser', ['-u', this.name, '--', 'podman', 'system', 'migrate'], { stdio: 'ignore' });
    const uid = execFileSync('id', ['-u', this.name], { encoding: 'utf8' }).trim();
    // podman leaves a process behind that holds its user namespace.
    spawnSync('pkill', ['-KILL', '-u', uid]);
    execFileSync('userdel', ['--force', this.name], { stdio: 'ignore' });
    rmSync(this.#base, { recursive: true, force: true });
  }
}

function asUser(user: TestUser, args: readonly string[]): string[] {
  const environment = [`HOME=${user.home}`, `XDG_RUNTIME_DIR=${join(user.home, 'run')}`];
  return ['runuser', '-u', user.name, '--', 'env', '-C', user.home, ...environment, ...args];
}

function run(
  program: string,
  args: readonly string[],
  environment: Record<string, string> = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, ...environment };
    execFile(program, [...args], { env, encoding: 'latin1', maxBuffer: 1 << 27 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${args.join(' ')}: ${(stderr + stdout).slice(-3000)}`, { cause: error }));
    });
  });
}

/** One store and what is done with it. */
export class ContainerTools {
  readonly #base: string;
  readonly #environment: Record<string, string>;

  /** `mountProgram`: what storage.conf names; undefined for the kernel's overlayfs. */
  constructor(
    mountProgram: string | undefined,
    readonly user?: TestUser,
  ) {
    this.#base = mkdtempSync(join(user?.home ?? tmpdir(), 'store-'));
    chmodSync(this.#base, 0o755);
    copyFileSync(DUMPER, join(this.#base, 'dump.py'));
    const lines = ['[storage]', 'driver = "overlay"'];
    // rootless_storage_path is what graphroot is to others than root.
    lines.push(`graphroot = "${join(this.#base, 'root')}"`);
    lines.push(`rootless_storage_path = "${join(this.#base, 'root')}"`);
    lines.push(`runroot = "${join(this.#base, 'run')}"`);
    if (mountProgram !== undefined) {
      lines.push('[storage.options.overlay]', `mount_program = "${mountProgram}"`);
    }
    const configuration = join(this.#base, 'storage.conf');
    writeFileSync(configuration, `${lines.join('\n')}\n`);
    this.#environment = { CONTAINERS_STORAGE_CONF: configuration };
    if (user !== undefined) {
      mkdirSync(join(user.home, 'run'), { recursive: true, mode: 0o700 });
      execFileSync('chown', ['-R', `${user.name}:`, this.#base, join(user.home, 'run')]);
    }
  }

  #run(args: readonly string[]): Promise<string> {
    const [program, ...rest] = this.user === undefined ? args : asUser(this.user, args);
    return run(program!, rest, this.#environment);
  }

  buildah(...args: string[]): Promise<string> {
    return this.#run(['buildah', ...args]);
  }

  podman(...args: string[]): Promise<string> {
    return this.#run(['podman', ...PODMAN, ...args]);
  }

  /** Builds what the directory `context` describes; each instruction becomes a layer, each time the epoch. */
  async build(context: string, tag: string): Promise<void> {
    await this.buildah('build', ...BUILD, '--tag', tag, context);
  }

  /** Runs a container of the image and removes it; returns its standard output. */
  runContainer(image: string, args: readonly string[], options: readonly string[] = []): Promise<string> {
    return this.podman('run', '--rm', ...CONTAINER, ...options, image, ...args);
  }

  /** A container that is kept, with the same limits. */
  async createContainer(image: string, args: readonly string[]): Promise<string> {
    return (await this.podman('create', ...CONTAINER, image, ...args)).trim();
  }

  /** The canonical dump (FORMAT.md) of an image as the driver shows it, without link counts. */
  async dump(image: string): Promise<string> {
    const script = `set -e; c=$(buildah from --pull-never "$1"); m=$(buildah mount "$c")
      python3 -I -S "$2" "$m" --no-nlink; buildah umount "$c" >/dev/null; buildah rm "$c" >/dev/null`;
    const shell = ['sh', '-c', script, 'dump', image, join(this.#base, 'dump.py')];
    return this.#run(this.user === undefined ? shell : ['buildah', 'unshare', ...shell]);
  }

  /** The filesystem type that a mounted container's root has. */
  async rootType(image: string): Promise<string> {
    const script = `set -e; c=$(buildah from --pull-never "$1"); m=$(buildah mount "$c")
      findmnt -n -o FSTYPE "$m"; buildah umount "$c" >/dev/null; buildah rm "$c" >/dev/null`;
    const shell = ['sh', '-c', script, 'type', image];
    return (await this.#run(this.user === undefined ? shell : ['buildah', 'unshare', ...shell])).trim();
  }

  /** Unmounts what is left and removes the store. */
  close(): void {
    const mounts = readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[1] ?? '')
      .filter((path) => path.startsWith(`${this.#base}/`))
      .reverse();
    for (const path of mounts) spawnSync('umount', ['--lazy', path]);
    rmSync(this.#base, { recursive: true, force: true });
  }
}
