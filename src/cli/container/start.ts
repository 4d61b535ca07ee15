/** `lamina start`, `lamina container start` */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import { forEach, openStore } from './containers.js';

interface Flags {
  attach?: boolean;
  interactive?: boolean;
}

export function register(parent: Command): void {
  parent
    .command('start')
    .description('Start one or more stopped containers')
    .argument('<container...>')
    .option('-a, --attach', 'Attach STDOUT/STDERR and forward signals')
    .option('-i, --interactive', "Attach container's STDIN")
    .action(async (names: string[], flags: Flags) => {
      const isAttached = flags.attach === true || flags.interactive === true;
      if (isAttached && names.length > 1)
        throw new LaminaError('EUSAGE', 'you cannot start and attach multiple containers at once', {
          exitCode: 1,
        });
      const store = await openStore();
      const { startContainer } = await import('./starting.js');
      await forEach(names, async (name) => {
        const record = await store.get(name);
        if (!isAttached) {
          await startContainer(store, record);
          process.stdout.write(`${name}\n`);
          return;
        }
        const { prepareContainer } = await import('../../runtime/prepare.js');
        const { runAttached } = await import('../../runtime/foreground.js');
        const prepared = await prepareContainer(store, record);
        process.exitCode = await runAttached(prepared, {
          stdin: flags.interactive === true && prepared.settings.openStdin,
          stdout: true,
          stderr: true,
        });
      });
    });
}
