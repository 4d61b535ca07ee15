/** `lamina cp`, `lamina container cp`: files between a container and the host; `-` is a tar. */
import type { Command } from 'commander';
import type { Copied } from '../../container/cp.js';
import { displayBytes } from '../../bytes.js';
import { LaminaError } from '../../errors.js';
import { openStore } from './containers.js';

interface Flags {
  archive?: boolean;
  followLink?: boolean;
  quiet?: boolean;
}

export function register(parent: Command): void {
  parent
    .command('cp')
    .description(
      "Copy files/folders between a container and the local filesystem\n\nUse '-' as the source to read a tar archive from stdin\nand extract it to a directory destination in a container.\nUse '-' as the destination to stream a tar archive of a\ncontainer source to stdout.",
    )
    .usage('[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tlamina cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH')
    .argument('<source>')
    .argument('<destination>')
    .option('-a, --archive', 'Archive mode (copy all uid/gid information)')
    .option('-L, --follow-link', 'Always follow symbol link in SRC_PATH')
    .option(
      '-q, --quiet',
      'Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached',
    )
    .action(run);
}

async function run(source: string, destination: string, flags: Flags): Promise<void> {
  const [{ copyFromContainer, copyToContainer, splitArgument }, { argumentBytes, Output }] =
    await Promise.all([import('../../container/cp.js'), import('../fs/output.js')]);
  if (source === '') throw usage('source can not be empty');
  if (destination === '') throw usage('destination can not be empty');
  const [from, to] = [splitArgument(source), splitArgument(destination)];
  if (from.container !== undefined && to.container !== undefined)
    throw usage('copying between containers is not supported');
  const store = await openStore();
  if (from.container !== undefined) {
    if (destination === '-' && process.stdout.isTTY)
      throw usage('cowardly refusing to write a tar to a terminal. Redirect it');
    const out = new Output(process.stdout);
    const copied = await copyFromContainer(
      store,
      await store.get(from.container),
      argumentBytes(source).slice(from.container.length + 1),
      destination === '-' ? undefined : destination,
      flags,
      (chunk) => out.write(chunk),
    );
    if (destination !== '-') await report(copied, destination, flags);
  } else if (to.container !== undefined) {
    const copied = await copyToContainer(
      store,
      await store.get(to.container),
      source === '-' ? process.stdin : source,
      argumentBytes(destination).slice(to.container.length + 1),
      flags,
    );
    await report(copied, destination, flags);
  } else throw usage('must specify at least one container source');
}

async function report(
  { sizeBytes, lostXattrs, skippedSockets }: Copied,
  destination: string,
  flags: Flags,
): Promise<void> {
  for (const path of skippedSockets)
    process.stderr.write(`lamina: warning: not copied: ${displayBytes(path)} is a socket\n`);
  if (lostXattrs > 0)
    process.stderr.write(`lamina: warning: ${lostXattrs} extended attribute(s) could not be set\n`);
  if (flags.quiet === true || !process.stdout.isTTY) return;
  const { formatSize } = await import('../output/sizes.js');
  process.stderr.write(`Successfully copied ${formatSize(sizeBytes, 3)} to ${destination}\n`);
}

function usage(message: string): LaminaError {
  return new LaminaError('EUSAGE', message, { hint: "Run 'lamina cp --help' for more information" });
}
