/** A further process in a container that runs. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { ContainerStore } from '../container/store.js';
import { LaminaError } from '../errors.js';
import type { ContainerRecord } from '../store/container-record.js';
import { bundleAt } from './bundle.js';
import { commandNotFound, logFormat, runtimeError, startFailure } from './execute.js';
import { processEnvironment } from './environment.js';
import { runtimeAt } from './find.js';
import { specProcess } from './spec.js';
import type { OciSpec } from './spec.js';
import { containerState } from './state.js';
import { resolveUser } from './user.js';

export interface ExecRequest {
  args: readonly string[];
  /** NAME=VALUE, over the container's. */
  env: readonly string[];
  /** The container's when undefined. */
  user?: string;
  workingDir?: string;
  terminal: boolean;
  /** Otherwise /dev/null. */
  stdin: boolean;
  detach: boolean;
  privileged: boolean;
}

/**
 * @returns its exit status; 0 when it is left to itself
 * Raises ENOTRUNNING, ENOCOMMAND, ENOTEXECUTABLE, ERUNTIME, EUSER.
 */
export async function execInContainer(
  store: ContainerStore,
  record: ContainerRecord,
  request: ExecRequest,
): Promise<number> {
  const { pid, status, runtime: runtimePath } = containerState(store, record);
  if (status !== 'running' || pid === 0 || runtimePath === undefined)
    throw new LaminaError('ENOTRUNNING', `container ${record.id} is not running`);
  const runtime = runtimeAt(runtimePath);
  const bundle = bundleAt(record.id);
  const own = (JSON.parse(readFileSync(path.join(bundle.directory, 'config.json'), 'utf8')) as OciSpec)
    .process;
  // As the process inside sees it, with all that is mounted over its root.
  const root = `/proc/${pid}/root`;
  const user = resolveUser(root, request.user ?? record.settings?.user ?? '', record.settings?.groupAdd);
  const inherited = own.env.filter((text) => !text.startsWith('HOME=') || request.user === undefined);
  const spec = {
    ...own,
    args: request.args,
    terminal: request.terminal,
    env: processEnvironment({
      image: request.terminal ? ['TERM=xterm', ...inherited] : inherited,
      overrides: request.env,
      user,
    }),
    cwd: request.workingDir ?? own.cwd,
    user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
    ...(request.privileged
      ? {
          capabilities: specProcess({ ...own, user, capabilities: { privileged: true } }).capabilities,
        }
      : {}),
  };
  const scratch = mkdtempSync(path.join(bundle.directory, 'exec-'));
  const [file, log] = [path.join(scratch, 'process.json'), path.join(scratch, 'log')];
  try {
    writeFileSync(file, JSON.stringify(spec), { mode: 0o600 });
    const detach = request.detach ? ['--detach'] : [];
    const words = ['--log', log, ...logFormat(runtime), 'exec', ...detach, '--process', file, record.id];
    const code = await run([...runtime.command, ...words], request);
    const failure = code === 0 ? undefined : startFailure(log);
    if (failure === undefined) return code;
    if (/no such file or directory|not found/i.test(failure) && !/chdir|cwd/i.test(failure))
      throw commandNotFound(request.args[0] ?? '', failure);
    throw runtimeError(failure, runtime, request.args[0] ?? '');
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Keys of a terminal are bytes; signals of this process's group reach the runtime too, which passes them on. */
function run([program = '', ...words]: readonly string[], request: ExecRequest): Promise<number> {
  const output = request.detach ? 'ignore' : 'inherit';
  const child = spawn(program, words, { stdio: [request.stdin ? 'inherit' : 'ignore', output, output] });
  const ignored = ['SIGINT', 'SIGQUIT', 'SIGWINCH'] as const;
  const ignore = (): void => {};
  for (const signal of ignored) process.on(signal, ignore);
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, pass);
  return new Promise((resolve, reject) => {
    child.on('error', (cause) =>
      reject(
        new LaminaError('ERUNTIME', `cannot run ${program}: ${cause.message}`, { path: program, cause }),
      ),
    );
    child.on('close', (code, signal) => {
      for (const each of ignored) process.off(each, ignore);
      resolve(code ?? (signal === 'SIGKILL' ? 137 : 143));
    });
  });
}
