/** `lamina run IMAGE [COMMAND]`, `lamina container run` (docker/cli: cli/command/container/run.go). */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import { addRunOptions } from './run-flags.js';
import type { RunFlags } from './run-flags.js';

interface Flags extends RunFlags {
  detach?: boolean;
  attach: string[];
  sigProxy: boolean;
}

export function register(parent: Command): void {
  const command = parent
    .command('run')
    .description('Create and run a new container from an image')
    .usage('[OPTIONS] IMAGE [COMMAND] [ARG...]')
    .argument('<image>')
    .argument('[command...]')
    .passThroughOptions()
    .option(
      '-a, --attach <list>',
      'Attach to STDIN, STDOUT or STDERR',
      (word: string, all: string[]) => [...all, word],
      [],
    )
    .option('-d, --detach', 'Run container in background and print container ID');
  addRunOptions(command).action(async (image: string, words: string[], flags: Flags) => {
    checkTerminal(flags);
    process.exitCode = await run(image, words, flags).catch((error: unknown) => {
      // docker: 125 for all that keeps the container from being started.
      if (!(error instanceof LaminaError) || error.exitCode !== 1) throw error;
      const { code, message, hint } = error;
      throw new LaminaError(code, message, { hint, cause: error, exitCode: 125 });
    });
  });
}

async function run(image: string, words: string[], flags: Flags): Promise<number> {
  if (flags.detach === true && flags.attach.length > 0)
    throw new LaminaError('EUSAGE', 'conflicting options: cannot specify both --attach and --detach');
  const attached = attachment(flags);
  const [{ makeContainer }, { prepareContainer }, { checkRunnable, settingsOf }, { checkUser }] =
    await Promise.all([
      import('./make.js'),
      import('../../runtime/prepare.js'),
      import('../../runtime/settings.js'),
      import('../../runtime/privilege.js'),
    ]);
  checkUser();
  const { store, record, opened } = await makeContainer(image, words, flags, true);
  try {
    checkRunnable(record.settings ?? settingsOf(opened.archived.config.config));
    const prepared = await prepareContainer(store, record, opened);
    opened.close();
    if (flags.detach === true) {
      const { runDetached } = await import('../../runtime/detached.js');
      await runDetached(prepared);
      process.stdout.write(`${record.id}\n`);
      return 0;
    }
    const { runAttached } = await import('../../runtime/foreground.js');
    return await runAttached(prepared, attached);
  } catch (error) {
    opened.close();
    // What went wrong matters more than what is left of it.
    if (flags.rm === true) await store.remove(record).catch(() => {});
    throw error;
  }
}

/** As docker: what is typed needs a terminal to be typed at. */
export function checkTerminal({
  interactive,
  tty,
  detach,
}: {
  interactive?: boolean;
  tty?: boolean;
  detach?: boolean;
}): void {
  if (tty === true && interactive === true && detach !== true && !process.stdin.isTTY)
    throw new LaminaError('EUSAGE', 'the input device is not a TTY', { hint: 'Leave out -t.', exitCode: 1 });
}

function attachment({ attach, interactive }: Flags): { stdin: boolean; stdout: boolean; stderr: boolean } {
  const names = attach.map((name) => name.toLowerCase());
  const unknown = names.find((name) => !['stdin', 'stdout', 'stderr'].includes(name));
  if (unknown !== undefined)
    throw new LaminaError(
      'EUSAGE',
      `invalid argument "${unknown}" for "-a, --attach" flag: valid streams are STDIN, STDOUT and STDERR`,
    );
  const has = (name: string): boolean => names.length === 0 || names.includes(name);
  return { stdin: interactive === true && has('stdin'), stdout: has('stdout'), stderr: has('stderr') };
}
