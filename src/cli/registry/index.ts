/** Commands that talk to registries: at the top, and those on images below `image` as well. */
import type { Command } from 'commander';
import { register as registerLogin } from './login.js';
import { register as registerManifest } from './manifest.js';
import { register as registerPull } from './pull.js';
import { register as registerPush } from './push.js';
import { register as registerSearch } from './search.js';

const BOTH = [registerPull, registerPush];
const TOP = [registerLogin, registerManifest, registerSearch];

/** After `image` is there. */
export function register(program: Command): void {
  const image = program.commands.find((command) => command.name() === 'image')!;
  for (const registerCommand of BOTH) {
    registerCommand(program);
    registerCommand(image);
  }
  for (const registerCommand of TOP) registerCommand(program);
}
