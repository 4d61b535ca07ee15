/** `lamina mount CONTAINER|IMAGE DIR` */
import type { ChildProcess } from 'node:child_process';
import type { Command } from 'commander';
import type { ContainerRecord } from '../store/container-record.js';
import type { ContainerStore } from '../container/store.js';
import { LaminaError } from '../errors.js';
import type { OpenedImage, OpenImageOptions } from '../image/open.js';
import type { Mounted } from '../mount/mount.js';
import type { OpenedLazy } from '../image/lazy/open.js';
import type { DriverName, MountOptions } from '../mount/options.js';

interface Flags {
  platform?: string;
  driver?: string;
  foreground?: boolean;
  allowOther?: boolean;
  options: string[];
  maxInflated?: string;
  name?: string;
  rw?: boolean;
  lazy?: boolean;
  lazyTimeout?: string;
}

export function register(program: Command): void {
  program
    .command('mount')
    .description('Mount the root filesystem of a container, or of an image, on a directory')
    .usage('[OPTIONS] CONTAINER|IMAGE DIR')
    .argument('<image>')
    .argument('<dir>')
    .option('--allow-other', 'Let users other than the one who mounts see the files')
    .option('--driver <string>', 'Driver that serves the mount ("native", "overlay", "fuse-native")')
    .option('--foreground', 'Stay until the mount ends; an interrupt unmounts it')
    .option(
      '--max-inflated <bytes>',
      'Most bytes that a layer may have when decompressed (LAMINA_MAX_INFLATED)',
    )
    .option('-o, --options <list>', OPTIONS_HELP, (value: string, all: string[]) => [...all, value], [])
    .option(
      '--lazy',
      'Of an image that is not here: mount it now, fetch what is asked for first and the rest meanwhile',
    )
    .option('--lazy-timeout <seconds>', 'How long a read waits for what is not here before it fails (30)')
    .option('--platform <string>', 'Choose an image of a multi-platform archive (os[/arch[/variant]])')
    .option('--name <string>', 'With --rw, assign a name to the container that is created')
    .option('--rw', 'Mount writable; of an image, create a container and print its ID')
    .action(async (image: string, directory: string, flags: Flags) => run(image, directory, flags));
}

const OPTIONS_HELP = `Mount options, separated by commas:
ro, rw             what can be written (a container, an upperdir) is, unless "ro" is given
lowerdir=TOP:..    directories above the image, uppermost first
upperdir=DIR,workdir=DIR
                   what is written above all that: overlayfs's directories, where no container is wanted
suid, dev          keep setuid bits, devices (root only; default nosuid,nodev)
noexec             run no programs
allow_other        as --allow-other
verify=WHEN        hash layers that are read in place "background" (default), "before" or "none"
threads=N          server threads (default one for each CPU)
no_uring           do not use FUSE-over-io_uring
no_passthrough     serve the data of the container's own files as well (root; with io_uring and nosuid the kernel
                   reads and writes them itself; "passthrough": also without)`;

async function run(name: string, directory: string, flags: Flags): Promise<void> {
  const [
    { openImage, parseSize },
    { openOrPull },
    { mountOpened },
    { parseMountOptions },
    { createBar },
    { ContainerStore },
    { containerLayer, sweepPrivateMounts },
  ] = await Promise.all([
    import('../image/open.js'),
    import('./registry/on-demand.js'),
    import('../image/mount.js'),
    import('../mount/options.js'),
    import('./output/progress.js'),
    import('../container/store.js'),
    import('../container/private-mount.js'),
  ]);
  const store = new ContainerStore();
  await sweepPrivateMounts();
  let container = await findContainer(store, name);
  const driver = parseDriver(flags.driver);
  const options = parseMountOptions(
    flags.options,
    flags.allowOther === true,
    process.getuid?.() === 0,
    container !== undefined || flags.rw === true,
  );
  if (flags.rw === true && options.readOnly)
    throw new LaminaError('EUSAGE', 'conflicting options: --rw and -o ro cannot be used together');
  if (flags.name !== undefined && (flags.rw !== true || container !== undefined))
    throw new LaminaError('EUSAGE', '--name is for the container that --rw creates of an image');
  if (flags.lazy === true) {
    if (flags.rw === true || container !== undefined)
      throw new LaminaError(
        'EUSAGE',
        '--lazy is for images, not for containers: they stand on an image that is here',
      );
    const { openLazily } = await import('./registry/lazy.js');
    const lazy = await openLazily(name, flags);
    if (lazy !== undefined) return mountLazy(lazy, directory, options, driver, flags);
  }
  const progress = createBar('Decompressing');
  const openOptions: OpenImageOptions = {
    ...(flags.maxInflated === undefined
      ? {}
      : { maxInflatedBytes: parseSize(flags.maxInflated, '--max-inflated') }),
    onProgress: progress.update,
  };
  const image = await (
    container === undefined
      ? openOrPull(name, flags.platform, () =>
          openImage(name, {
            ...openOptions,
            ...(flags.platform === undefined ? {} : { platform: flags.platform }),
          }),
        )
      : (await import('../container/base.js')).openBase(container, openOptions)
  ).finally(() => progress.finish());
  try {
    const warn = (message: string): void => void process.stderr.write(`lamina: warning: ${message}\n`);
    // From before the mount exists, so that an interrupt at any moment unmounts it.
    const interrupt = flags.foreground === true ? interruption() : undefined;
    let created: ContainerRecord | undefined;
    if (flags.rw === true && container === undefined)
      container = created = await createOf(store, image, flags.name);
    const writable = container === undefined ? undefined : containerLayer(store, container);
    let mounted: Mounted;
    try {
      // A server whose mount has just gone may still hold the container.
      if (container !== undefined) (await store.holdSoon(container))?.release();
      mounted = await mountOpened(image, directory, options, driver, warn, writable);
    } catch (error) {
      if (created !== undefined) await store.remove(created);
      throw error;
    }
    // Removed between being found and being held by its server.
    if (container !== undefined && (await store.find(container.id)) === undefined) {
      await (await import('../mount/umount.js')).umount(directory, { force: true });
      throw new LaminaError('ENOCONTAINER', `No such container: ${container.name}`);
    }
    if (created !== undefined) process.stdout.write(`${created.id}\n`);
    if (interrupt !== undefined) await foreground(mounted, interrupt);
    else mounted.release();
  } finally {
    image.close();
  }
}

async function mountLazy(
  lazy: OpenedLazy,
  directory: string,
  options: MountOptions,
  driver: DriverName | undefined,
  flags: Flags,
): Promise<void> {
  const { mountImage } = await import('../mount/mount.js');
  const interrupt = flags.foreground === true ? interruption() : undefined;
  let isMounted = false;
  let mounted: Mounted;
  try {
    mounted = await mountImage(lazy.mount, directory, options, driver ?? 'native');
    isMounted = true;
  } finally {
    lazy.close(isMounted);
  }
  if (interrupt !== undefined) await foreground(mounted, interrupt);
  else mounted.release();
}

/** A container by its name or whole ID; one by the beginning of its ID only where no file is called so. */
async function findContainer(store: ContainerStore, name: string): Promise<ContainerRecord | undefined> {
  if (name.includes(':') || name.includes('/')) return undefined;
  const found = await store.find(name);
  if (found === undefined || found.name === name || found.id === name) return found;
  const { existsSync } = await import('node:fs');
  return existsSync(name) ? undefined : found;
}

async function createOf(
  store: ContainerStore,
  image: OpenedImage,
  name: string | undefined,
): Promise<ContainerRecord> {
  return (await import('../container/create.js')).createContainer(store, image, name);
}

function parseDriver(text: string | undefined): DriverName | undefined {
  if (text === undefined || text === 'native' || text === 'overlay' || text === 'fuse-native') return text;
  throw new LaminaError('EUSAGE', `unknown driver "${text}"`, {
    hint: 'The drivers are "native", "overlay" (what can be written to) and "fuse-native".',
  });
}

/** Waits for the mount's end and passes signals on. A mount that verification took down ends with its error. */
async function foreground(
  { process: server, verifier, record }: Mounted,
  interrupt: AbortSignal,
): Promise<void> {
  const stop = (): void => void server.kill('SIGTERM');
  interrupt.addEventListener('abort', stop);
  if (interrupt.aborted) stop();
  const isTakenDown =
    verifier === undefined
      ? false
      : await Promise.race([exit(server).then(() => false), exit(verifier).then((status) => status === 1)]);
  if (!isTakenDown) await exit(server);
  if (interrupt.aborted) return void verifier?.kill();
  // The verifier breaks the connection, and with it the server, before it ends itself.
  if (verifier !== undefined) await exit(verifier);
  const { MountTable } = await import('../mount/table.js');
  const table = new MountTable();
  const failed = await table.readFailed(record.mountpoint);
  if (failed?.token !== record.token) return;
  await table.remove(failed.id);
  throw new LaminaError(
    'EDIGEST',
    failed.error?.replace(/^\[\w+\] /, '') ?? 'a layer is not what its digest promises',
    {
      path: record.mountpoint,
    },
  );
}

/** Aborted by the first signal that asks this process to end. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => controller.abort());
  return controller.signal;
}

/** The exit status; null when a signal ended it. */
async function exit(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null)
    await new Promise((resolve) => child.once('exit', resolve));
  return child.exitCode;
}
