/** `--init`: a small process before the command that passes signals on and waits for what is left behind. */
import { existsSync } from 'node:fs';
import { LaminaError } from '../errors.js';
import { bindMount } from './mounts.js';
import type { SpecMount } from './mounts.js';

const PROGRAMS = [
  '/usr/libexec/docker/docker-init',
  '/usr/bin/docker-init',
  '/usr/bin/tini-static',
  '/usr/bin/catatonit',
  '/usr/libexec/podman/catatonit',
];
const PLACE = '/sbin/docker-init';

/** Raises ENOENT that names the package. */
export function withInit(args: readonly string[]): { args: readonly string[]; mount: SpecMount } {
  const program = PROGRAMS.find((file) => existsSync(file));
  if (program === undefined)
    throw new LaminaError(
      'ENOENT',
      '--init needs an init program that is linked statically, and none is installed',
      {
        hint: 'Install the Debian package catatonit: apt-get install catatonit.',
        exitCode: 125,
      },
    );
  return { args: [PLACE, '--', ...args], mount: bindMount(program, PLACE, ['ro']) };
}
