/** `lamina version`, in docker's layout (docker/cli cli/command/system/version.go). There is no server to speak of. */
import os from 'node:os';
import type { Command } from 'commander';
import { VERSION } from './version.js';

export function register(program: Command): void {
  program
    .command('version')
    .description('Show the Lamina version information')
    .option(
      '-f, --format <string>',
      'Format output using a custom template:\n"json": Print in JSON format\n"TEMPLATE": Print fields, as in "{{.Client.Version}}"',
    )
    .action(async ({ format }: { format?: string }) => {
      process.stdout.write(await versionText(format));
    });
}

async function versionText(format: string | undefined): Promise<string> {
  const client = {
    Version: VERSION,
    NodeVersion: process.version,
    Os: process.platform,
    Arch: goArchitecture(process.arch),
    KernelVersion: os.release(),
  };
  if (format === undefined || format === '') {
    const { alignLines } = await import('./output/table.js');
    const lines = [
      ['Version:', client.Version],
      ['Node version:', client.NodeVersion],
      ['OS/Arch:', `${client.Os}/${client.Arch}`],
      ['Kernel version:', client.KernelVersion],
    ];
    return `Client:\n${alignLines(lines, 19, 1)
      .map((line) => ` ${line}\n`)
      .join('')}`;
  }
  const [{ goJson }, { fieldError, parseFormat }, { typed }] = await Promise.all([
    import('./go-template/json.js'),
    import('./output/list.js'),
    import('./go-template/template.js'),
  ]);
  const version = typed('system.versionInfo', {
    Client: typed('*system.clientVersion', client),
    Server: null,
  });
  if (format === 'json') return `${goJson(version)}\n`;
  const template = parseFormat(format);
  try {
    return `${template.execute(version)}\n`;
  } catch (error) {
    throw fieldError(error);
  }
}

/** Go's name of an architecture, which docker and OCI use. */
function goArchitecture(arch: string): string {
  const names: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' };
  return names[arch] ?? arch;
}
