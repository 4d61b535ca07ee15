/** `lamina info`, `lamina system info`, in docker's layout (docker/cli cli/command/system/info.go). The store takes the server's place. */
import os from 'node:os';
import type { Command } from 'commander';
import type { SystemInfo } from '../../system/info.js';
import { openImages } from '../image/images-store.js';
import { VERSION } from '../version.js';

export function register(parent: Command): void {
  parent
    .command('info')
    .description('Display system-wide information')
    .option(
      '-f, --format <string>',
      'Format output using a custom template:\n"json": Print in JSON format\n"TEMPLATE": Print fields, as in "{{.Driver}}"',
    )
    .action(async ({ format }: { format?: string }, command: Command) => {
      const [store, { systemInfo }] = await Promise.all([openImages(), import('../../system/info.js')]);
      const isDebug = command.optsWithGlobals<{ debug?: boolean }>().debug === true;
      const fields = fieldsOf(await systemInfo(store), isDebug);
      process.stdout.write(
        format === undefined || format === '' ? text(fields) : await formatted(fields, format),
      );
    });
}

/** docker's names, so that scripts that ask for one find it (moby api/types/system/info.go). */
function fieldsOf(info: SystemInfo, isDebug: boolean) {
  return {
    Containers: info.containers,
    ContainersRunning: info.mounted,
    ContainersPaused: 0,
    ContainersStopped: info.containers - info.mounted,
    Images: info.images,
    Driver: 'lamina',
    DriverStatus: info.driverStatus,
    KernelVersion: os.release(),
    OperatingSystem: info.operatingSystem,
    OSType: process.platform,
    Architecture: os.machine(),
    NCPU: os.availableParallelism(),
    MemTotal: os.totalmem(),
    DockerRootDir: info.root,
    Name: os.hostname(),
    ClientInfo: { Debug: isDebug, Version: VERSION },
  };
}

type Fields = ReturnType<typeof fieldsOf>;

function text(fields: Fields): string {
  const lines = [
    'Client:',
    ` Version:    ${fields.ClientInfo.Version}`,
    ` Debug Mode: ${fields.ClientInfo.Debug}`,
    '',
    'Store:',
    ` Containers: ${fields.Containers}`,
    `  Mounted: ${fields.ContainersRunning}`,
    `  Stopped: ${fields.ContainersStopped}`,
    ` Images: ${fields.Images}`,
    ` Storage Driver: ${fields.Driver}`,
    ...fields.DriverStatus.map(([name, value]) => `  ${name}: ${value}`),
    ` Kernel Version: ${fields.KernelVersion}`,
    ` Operating System: ${fields.OperatingSystem}`,
    ` OSType: ${fields.OSType}`,
    ` Architecture: ${fields.Architecture}`,
    ` CPUs: ${fields.NCPU}`,
    ` Total Memory: ${binarySize(fields.MemTotal)}`,
    ` Name: ${fields.Name}`,
    ` Lamina Root Dir: ${fields.DockerRootDir}`,
  ];
  return `${lines.join('\n')}\n`;
}

/** go-units BytesSize: `7.755GiB`. */
function binarySize(sizeBytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let size = sizeBytes;
  let unit = 0;
  for (; size >= 1024 && unit < units.length - 1; unit++) size /= 1024;
  return `${Number(size.toPrecision(4))}${units[unit]}`;
}

async function formatted(fields: Fields, format: string): Promise<string> {
  const [{ parseFormat, fieldError }, { goStruct }] = await Promise.all([
    import('../output/list.js'),
    import('../output/inspect.js'),
  ]);
  const template = parseFormat(format === 'json' ? '{{json .}}' : format);
  try {
    return `${template.execute(goStruct('system.dockerInfo', fields))}\n`;
  } catch (error) {
    throw fieldError(error, Object.keys(fields));
  }
}
