/** `lamina logs` and `attach`, and the same below `container`. */
import type { Command } from 'commander';
import type { ContainerStore } from '../../container/store.js';
import { LaminaError } from '../../errors.js';
import type { ContainerRecord } from '../../store/container-record.js';
import { openStore } from './containers.js';

interface Flags {
  follow?: boolean;
  since?: string;
  tail: string;
  timestamps?: boolean;
  until?: string;
}

export function register(parent: Command): void {
  parent
    .command('logs')
    .description('Fetch the logs of a container')
    .argument('<container>')
    .option('-f, --follow', 'Follow log output')
    .option(
      '--since <string>',
      'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    )
    .option('-n, --tail <string>', 'Number of lines to show from the end of the logs', 'all')
    .option('-t, --timestamps', 'Show timestamps')
    .option(
      '--until <string>',
      'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    )
    .action(async (name: string, flags: Flags) => {
      const store = await openStore();
      await show(store, await store.get(name), flags);
    });
  parent
    .command('attach')
    .description('Attach local standard output and error streams to a running container')
    .argument('<container>')
    .option('--no-stdin', 'Accepted: standard input is never attached')
    .action(async (name: string) => {
      const store = await openStore();
      const record = await store.get(name);
      const [{ containerState }, { waitForContainer, killContainer }] = await Promise.all([
        import('../../runtime/state.js'),
        import('../../runtime/stop.js'),
      ]);
      if (containerState(store, record).status !== 'running')
        throw new LaminaError('ENOTRUNNING', 'cannot attach to a stopped container, start it first');
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const)
        process.on(signal, () => killContainer(store, record, signal));
      const status = waitForContainer(store, record);
      await show(store, record, { follow: true, tail: '0' });
      process.exitCode = await status;
      process.exit();
    });
}

async function show(store: ContainerStore, record: ContainerRecord, flags: Flags): Promise<void> {
  const [{ readLog, LOG_FILE }, { containerState }, { parseTimestamp }] = await Promise.all([
    import('../../runtime/log.js'),
    import('../../runtime/state.js'),
    import('../output/timestamp.js'),
  ]);
  const file = store.fileOf(record, LOG_FILE);
  const [sinceMs, untilMs] = [flags.since, flags.until].map((text) =>
    text === undefined ? undefined : parseTimestamp(text),
  );
  const wanted = flags.tail === 'all' ? Infinity : Number(flags.tail);
  const write = ({
    text,
    stream,
    time,
  }: {
    text: string;
    stream: 'stdout' | 'stderr';
    time: string;
  }): void => {
    process[stream].write(flags.timestamps === true ? `${nanoseconds(time)} ${text}` : text);
  };
  const fits = ({ time }: { time: string }): boolean => {
    const at = Date.parse(time);
    return (sinceMs === undefined || at >= sinceMs) && (untilMs === undefined || at < untilMs);
  };
  // Only what is there when the command begins can be counted from its end.
  const skipped = Number.isInteger(wanted) && wanted >= 0 ? Math.max(0, (await count(file)) - wanted) : 0;
  const isRunning = (): boolean => containerState(store, record).status === 'running';
  const isOver = (): boolean =>
    flags.follow !== true || !isRunning() || (untilMs !== undefined && Date.now() > untilMs);
  let index = 0;
  for await (const line of readLog(file, isOver)) if (index++ >= skipped && fits(line)) write(line);
}

async function count(file: string): Promise<number> {
  const { readLog } = await import('../../runtime/log.js');
  let lines = 0;
  for await (const line of readLog(file, () => true)) lines += line.text === '' ? 0 : 1;
  return lines;
}

/** As docker prints them: always nine digits. */
function nanoseconds(time: string): string {
  return time.replace(/(?:\.(\d+))?Z$/, (_, digits: string = '') => `.${digits.padEnd(9, '0')}Z`);
}
