/** `lamina info`, `lamina system info`: docker's layout where it means something without a daemon (docker/cli cli/command/system/info.go). */
import type { Command } from 'commander';
import { openImages } from '../image/images-store.js';
import { VERSION } from '../version.js';

interface Flags {
  format?: string;
}

export function register(parent: Command): void {
  parent
    .command('info')
    .description('Display system-wide information')
    .option(
      '-f, --format <string>',
      'Format output using a custom template:\n"json": Print in JSON format\n"TEMPLATE": Print fields, as in "{{.Images}}"',
    )
    .action(async ({ format }: Flags) => {
      const info = await gatherInfo();
      if (format === undefined) process.stdout.write(pretty(info));
      else {
        const [{ goStruct }, { parseFormat, fieldError }] = await Promise.all([
          import('../output/inspect.js'),
          import('../output/list.js'),
        ]);
        const struct = goStruct('system.dockerInfo', info);
        try {
          const text = parseFormat(format === 'json' ? '{{json .}}' : format).execute(struct);
          process.stdout.write(`${text}\n`);
        } catch (error) {
          throw fieldError(error, Object.keys(info));
        }
      }
    });
}

type Info = Awaited<ReturnType<typeof gatherInfo>>;

async function gatherInfo() {
  const [images, { openStore }, { MountTable }, os, { existsSync, readFileSync }, { serverBinary }] =
    await Promise.all([
      openImages(),
      import('../container/containers.js'),
      import('../../mount/table.js'),
      import('node:os'),
      import('node:fs'),
      import('../../server-binary.js'),
    ]);
  const containers = await openStore();
  const records = await containers.list();
  let mounted = 0;
  for (const record of records) if (await containers.isMounted(record)) mounted++;
  const mounts = (await new MountTable().list()).filter(({ state }) => state !== 'failed').length;
  const read = (file: string): string => {
    try {
      return readFileSync(file, 'utf8').trim();
    } catch {
      return '';
    }
  };
  let server: string;
  try {
    server = serverBinary();
  } catch {
    server = 'not built';
  }
  return {
    Containers: records.length,
    ContainersRunning: mounted,
    ContainersStopped: records.length - mounted,
    Images: images.snapshot().images.length,
    Mounts: mounts,
    ServerVersion: VERSION,
    Driver: server === 'not built' ? 'fuse-native' : 'native',
    DriverStatus: [
      ['Server', server],
      ['/dev/fuse', existsSync('/dev/fuse') ? 'present' : 'missing'],
      ['io_uring', read('/sys/module/fuse/parameters/enable_uring') === 'Y' ? 'enabled' : 'not enabled'],
    ],
    KernelVersion: os.release(),
    OperatingSystem: /^PRETTY_NAME="?(.*?)"?$/m.exec(read('/etc/os-release'))?.[1] ?? os.type(),
    OSType: process.platform,
    Architecture: os.machine(),
    NCPU: os.cpus().length,
    MemTotal: os.totalmem(),
    Name: os.hostname(),
    DockerRootDir: images.root,
  };
}

function pretty(info: Info): string {
  return [
    'Client:',
    ` Version:    ${VERSION}`,
    '',
    'Server: none is needed',
    ` Containers: ${info.Containers}`,
    `  Mounted: ${info.ContainersRunning}`,
    `  Stopped: ${info.ContainersStopped}`,
    ` Images: ${info.Images}`,
    ` Mounts: ${info.Mounts}`,
    ` Mount Driver: ${info.Driver}`,
    ...info.DriverStatus.map(([name, value]) => `  ${name}: ${value}`),
    ` Kernel Version: ${info.KernelVersion}`,
    ` Operating System: ${info.OperatingSystem}`,
    ` OSType: ${info.OSType}`,
    ` Architecture: ${info.Architecture}`,
    ` CPUs: ${info.NCPU}`,
    ` Total Memory: ${binarySize(info.MemTotal)}`,
    ` Name: ${info.Name}`,
    ` Lamina Root Dir: ${info.DockerRootDir}`,
    '',
  ].join('\n');
}

/** docker's units.BytesSize: `7.653GiB`. */
function binarySize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let size = bytes;
  let unit = 0;
  for (; size >= 1024 && unit < units.length - 1; unit++) size /= 1024;
  return `${Number(size.toPrecision(4))}${units[unit]}`;
}
