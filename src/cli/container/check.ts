/** `lamina container check` */
import type { Command } from 'commander';
import { displayBytes } from '../../bytes.js';
import { LaminaError } from '../../errors.js';
import { openStore } from './containers.js';

export function register(parent: Command): void {
  parent
    .command('check')
    .description("Verify a container's own layer")
    .argument('<container>')
    .option('--repair', 'Put right what is wrong')
    .action(async (name: string, flags: { repair?: boolean }) => {
      const { checkContainer } = await import('../../container/check.js');
      const store = await openStore();
      const record = await store.get(name);
      const isRepaired = flags.repair === true;
      const problems = await checkContainer(store, record, isRepaired);
      const state = isRepaired ? ': repaired' : '';
      for (const { path, what } of problems) process.stdout.write(`${displayBytes(path)}: ${what}${state}\n`);
      if (isRepaired || problems.length === 0) return;
      const count = `${problems.length} problem${problems.length === 1 ? '' : 's'}`;
      throw new LaminaError('EUPPER', `container "/${record.name}" has ${count}`, {
        hint: `Repair it with: lamina container check --repair ${record.name}`,
      });
    });
}
