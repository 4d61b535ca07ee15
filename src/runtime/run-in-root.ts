/**
 * Runs one process in a root filesystem and waits for it: what an image build needs of a runtime. All that it makes is gone when it
 * returns, however it returns; what a killed process left, `sweepBundles` takes away.
 */
import os from 'node:os';
import { createBundle, removeBundle } from './bundle.js';
import type { CapabilityRequest } from './capabilities.js';
import { checkCommand } from './command.js';
import { processEnvironment } from './environment.js';
import { writeEtcFiles } from './etc-files.js';
import { runForeground } from './execute.js';
import type { Streams } from './execute.js';
import { findRuntime } from './find.js';
import { makeDirectoryInRoot } from './in-root.js';
import { standardMounts } from './mounts.js';
import type { SpecMount } from './mounts.js';
import { specOf } from './spec.js';
import type { Rlimit } from './spec.js';
import { checkUser } from './privilege.js';
import { makeMountTargets, removeMade } from './targets.js';
import { resolveUser } from './user.js';

export interface RunInRoot extends Partial<Streams> {
  /** A directory that can be written to, mounted by the caller and unmounted by them afterwards. */
  rootfs: string;
  /** A command that is not a path is looked for in PATH. */
  args: readonly string[];
  /** NAME=VALUE; PATH and HOME are added where they are missing, HOME from the root's own passwd file. */
  env: readonly string[];
  /** Absolute; made (root's, 0755) when it is missing. Default `/`. */
  cwd?: string;
  /** `USER[:GROUP]`, names or numbers, as in an image; default root. */
  user?: string;
  /** After the standard ones, in this order: `bindMount`, `tmpfsMount`. Places that are missing are made, and taken away afterwards. */
  mounts?: readonly SpecMount[];
  /** Default `host`: the network of this machine. `none`: loopback alone. */
  network?: 'host' | 'none';
  /** Default: the host's with its network, otherwise the first digits of the bundle's ID. */
  hostname?: string;
  /** `HOST:IP`, for /etc/hosts. */
  addHosts?: readonly string[];
  capabilities?: CapabilityRequest;
  /** `default`, `unconfined` or the path of a profile. */
  seccomp?: string;
  rlimits?: readonly Rlimit[];
  /** Name or path of the runtime; default as `findRuntime`. */
  runtime?: string;
  /** Kills the process and all that it started; the exit status is then 137. */
  abort?: AbortSignal;
}

/**
 * @returns the exit status; 128+n when signal n ended the process. By default stdin is /dev/null, and the output is this process's own.
 * Raises ENORUNTIME, EUSER, ENOCOMMAND (127), ENOTEXECUTABLE (126), ERUNTIME, EUSAGE, ENOTDIR and ELOOP (the root's own links).
 */
export async function runInRoot(request: RunInRoot): Promise<number> {
  checkUser();
  const runtime = findRuntime(request.runtime);
  const { rootfs, network = 'host', cwd = '/', capabilities = {} } = request;
  const user = resolveUser(rootfs, request.user ?? '');
  const env = processEnvironment({ image: request.env, user });
  const bundle = await createBundle(runtime.path);
  try {
    const hostname = request.hostname ?? (network === 'host' ? os.hostname() : bundle.id.slice(0, 12));
    const privileged = capabilities.privileged === true;
    const mounts = [
      ...standardMounts({ network, cgroups: runtime.cgroups, privileged }),
      ...writeEtcFiles(bundle, network, hostname, request.addHosts),
      ...(request.mounts ?? []),
    ];
    makeDirectoryInRoot(rootfs, cwd);
    checkCommand(rootfs, request.args, { env, cwd, mounts });
    const spec = specOf({
      rootfs,
      readOnly: false,
      process: {
        args: request.args,
        env,
        cwd,
        user,
        terminal: false,
        capabilities,
        ...(request.rlimits === undefined ? {} : { rlimits: request.rlimits }),
      },
      hostname,
      network,
      mounts,
      seccomp: request.seccomp ?? 'default',
      cgroup: runtime.cgroups ? `/lamina-${bundle.id}` : undefined,
    });
    const targets = makeMountTargets(rootfs, mounts);
    try {
      return await runForeground(runtime, bundle, spec, {
        stdin: request.stdin ?? 'ignore',
        stdout: request.stdout ?? 'inherit',
        stderr: request.stderr ?? 'inherit',
        ...(request.abort === undefined ? {} : { abort: request.abort }),
      });
    } finally {
      removeMade(targets);
    }
  } finally {
    removeBundle(bundle);
  }
}
