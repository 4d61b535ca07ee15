/** Commands that talk to registries, but for `pull` and `push`, which are commands on images (cli/image). */
import type { Command } from 'commander';
import { register as registerLogin } from './login.js';
import { register as registerManifest } from './manifest.js';
import { register as registerSearch } from './search.js';

export function register(program: Command): void {
  for (const registerCommand of [registerLogin, registerManifest, registerSearch]) registerCommand(program);
}
