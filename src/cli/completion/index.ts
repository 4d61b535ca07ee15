/** `lamina completion SHELL`, and the hidden command that its scripts ask for names. */
import { Argument } from 'commander';
import type { Command } from 'commander';
import type { Word } from './model.js';

/** `everything` makes the program with all its commands. */
export function register(program: Command, everything: () => Command): void {
  program
    .command('completion')
    .description('Generate the completion script for a shell')
    .usage('bash|zsh|fish')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish']))
    .action(async (shell: 'bash' | 'zsh' | 'fish') => {
      const [{ modelOf }, { bashScript }, { zshScript }, { fishScript }] = await Promise.all([
        import('./model.js'),
        import('./bash.js'),
        import('./zsh.js'),
        import('./fish.js'),
      ]);
      const script = { bash: bashScript, zsh: zshScript, fish: fishScript }[shell];
      process.stdout.write(script(modelOf(everything())));
    });
  program
    .command('__complete', { hidden: true })
    .argument('<kind>')
    .action(async (kind: Word) => {
      const { namesOf } = await import('./names.js');
      const names = await namesOf(kind).catch(() => []);
      process.stdout.write(names.map((name) => `${name}\n`).join(''));
    });
}
