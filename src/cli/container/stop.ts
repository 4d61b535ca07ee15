/** `lamina stop`, `restart`, `kill` and `wait`, and the same below `container`. */
import type { Command } from 'commander';
import { forEach, openStore } from './containers.js';
import { parseSeconds } from './run-flags.js';

interface StopFlags {
  signal?: string;
  time?: string;
  timeout?: string;
}

export function register(parent: Command): void {
  const stop = (name: string, description: string): Command =>
    parent
      .command(name)
      .description(description)
      .argument('<container...>')
      .option('-s, --signal <string>', 'Signal to send to the container')
      .option('-t, --timeout <int>', 'Seconds to wait before killing the container')
      .option('--time <int>', 'As --timeout');
  stop('stop', 'Stop one or more running containers').action(async (names: string[], flags: StopFlags) => {
    const store = await openStore();
    const { stopContainer } = await import('../../runtime/stop.js');
    await forEach(names, async (name) => {
      await stopContainer(store, await store.get(name), stopOptions(flags));
      process.stdout.write(`${name}\n`);
    });
  });
  stop('restart', 'Restart one or more containers').action(async (names: string[], flags: StopFlags) => {
    const store = await openStore();
    const { stopContainer } = await import('../../runtime/stop.js');
    const { startContainer } = await import('./starting.js');
    await forEach(names, async (name) => {
      const record = await store.get(name);
      await stopContainer(store, record, stopOptions(flags));
      await startContainer(store, record);
      process.stdout.write(`${name}\n`);
    });
  });
  parent
    .command('kill')
    .description('Kill one or more running containers')
    .argument('<container...>')
    .option('-s, --signal <string>', 'Signal to send to the container', 'KILL')
    .action(async (names: string[], { signal }: { signal: string }) => {
      const store = await openStore();
      const { killContainer, untilGone } = await import('../../runtime/stop.js');
      const { signalNumber } = await import('../../runtime/signals.js');
      await forEach(names, async (name) => {
        const record = await store.get(name);
        killContainer(store, record, signal);
        if (signalNumber(signal) === 9) await untilGone(store, record);
        process.stdout.write(`${name}\n`);
      });
    });
  parent
    .command('wait')
    .description('Block until one or more containers stop, then print their exit codes')
    .argument('<container...>')
    .action(async (names: string[]) => {
      const store = await openStore();
      const { waitForContainer } = await import('../../runtime/stop.js');
      await forEach(names, async (name) => {
        process.stdout.write(`${await waitForContainer(store, await store.get(name))}\n`);
      });
    });
}

function stopOptions({ signal, time, timeout = time }: StopFlags): { signal?: string; timeoutSec?: number } {
  return {
    ...(signal === undefined ? {} : { signal }),
    ...(timeout === undefined ? {} : { timeoutSec: parseSeconds(timeout) }),
  };
}
