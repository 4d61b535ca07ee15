/** `lamina exec`, `lamina container exec` */
import type { Command } from 'commander';
import { gather } from '../output/gather.js';
import { openStore } from './containers.js';
import { checkTerminal } from './run.js';

interface Flags {
  detach?: boolean;
  env: string[];
  envFile: string[];
  interactive?: boolean;
  privileged?: boolean;
  tty?: boolean;
  user?: string;
  workdir?: string;
}

export function register(parent: Command): void {
  parent
    .command('exec')
    .description('Execute a command in a running container')
    .usage('[OPTIONS] CONTAINER COMMAND [ARG...]')
    .argument('<container>')
    .argument('<command...>')
    .passThroughOptions()
    .option('-d, --detach', 'Detached mode: run command in the background')
    .option('-e, --env <list>', 'Set environment variables', gather, [])
    .option('--env-file <list>', 'Read in a file of environment variables', gather, [])
    .option('-i, --interactive', 'Keep STDIN open even if not attached')
    .option('--privileged', 'Give extended privileges to the command')
    .option('-t, --tty', 'Allocate a pseudo-TTY')
    .option('-u, --user <string>', 'Username or UID (format: "<name|uid>[:<group|gid>]")')
    .option('-w, --workdir <string>', 'Working directory inside the container')
    .action(async (name: string, args: string[], flags: Flags) => {
      checkTerminal(flags);
      const store = await openStore();
      const [{ execInContainer }, { readEnvFile }, { withOwnValue }] = await Promise.all([
        import('../../runtime/exec.js'),
        import('./env-file.js'),
        import('./run-flags.js'),
      ]);
      process.exitCode = await execInContainer(store, await store.get(name), {
        args,
        env: [...flags.envFile.flatMap(readEnvFile), ...flags.env.map(withOwnValue)],
        ...(flags.user === undefined ? {} : { user: flags.user }),
        ...(flags.workdir === undefined ? {} : { workingDir: flags.workdir }),
        terminal: flags.tty === true,
        stdin: flags.interactive === true,
        detach: flags.detach === true,
        privileged: flags.privileged === true,
      });
    });
}
