/** Brings a container to the point where a runtime can run it: bundle, mount, spec. And takes all that down again. */
import { readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { ContainerStore } from '../container/store.js';
import { LaminaError } from '../errors.js';
import type { OpenedImage } from '../image/open.js';
import type { ContainerRecord, ContainerSettings } from '../store/container-record.js';
import { bundleAt, bundleOwner, createBundle } from './bundle.js';
import type { Bundle } from './bundle.js';
import { checkCommand } from './command.js';
import { deleteIfLeft } from './execute.js';
import { processEnvironment } from './environment.js';
import { writeEtcFiles } from './etc-files.js';
import { findRuntime, runtimeAt } from './find.js';
import type { Runtime } from './find.js';
import { makeDirectoryInRoot } from './in-root.js';
import { withInit } from './init-program.js';
import { standardMounts } from './mounts.js';
import type { SpecMount } from './mounts.js';
import { checkUser } from './privilege.js';
import { mountRoot } from './rootfs.js';
import { parseUlimit, settingsOf } from './settings.js';
import { specOf } from './spec.js';
import type { OciSpec } from './spec.js';
import { containerState, now, recordEvent } from './state.js';
import { endBundle, orphanedBundles, removeOrphan } from './sweep.js';
import type { Orphan } from './sweep.js';
import { makeMountTargets, removeMade } from './targets.js';
import type { MadeTargets } from './targets.js';
import { resolveUser } from './user.js';
import { settingsMounts } from './volumes.js';

export interface PreparedContainer {
  store: ContainerStore;
  record: ContainerRecord;
  settings: ContainerSettings;
  runtime: Runtime;
  bundle: Bundle;
  spec: OciSpec;
}

const TARGETS = 'targets.json';

/**
 * Everything but starting it. `finishContainer` takes it down.
 * @param opened its image, where it is open already
 * Raises EINUSE when it runs or is mounted, ENORUNTIME, EUSER, ENOCOMMAND, ENOTEXECUTABLE, EUSAGE, EBASE and what mounting raises; nothing is
 * left then, and the failure is recorded.
 */
export async function prepareContainer(
  store: ContainerStore,
  record: ContainerRecord,
  opened?: OpenedImage,
): Promise<PreparedContainer> {
  checkUser();
  const runtime = findRuntime(record.settings?.runtime);
  const orphan = orphanedBundles().find(({ name }) => name === record.id);
  if (orphan !== undefined) await finishOrphan(store, orphan);
  const bundle = await createBundle(runtime.path, record.id, record.id).catch((error: unknown) => {
    if (error instanceof LaminaError && ['ENOTEMPTY', 'EEXIST'].includes(error.errno ?? ''))
      throw new LaminaError('EINUSE', `container ${record.name} is running already`, { hint: '' });
    throw error;
  });
  try {
    const config = await mountRoot(store, record, bundle, opened);
    const settings = record.settings ?? settingsOf(config);
    const spec = await makeSpec(store, record, settings, runtime, bundle);
    return { store, record, settings, runtime, bundle, spec };
  } catch (error) {
    await undo(bundle);
    recordFailure(store, record, error);
    throw error;
  }
}

/** So that `inspect` can tell, as docker's does. */
export function recordFailure(store: ContainerStore, record: ContainerRecord, error: unknown): void {
  if (!(error instanceof LaminaError)) return;
  const { exitCode, message } = error;
  recordEvent(store, record, {
    event: 'failed',
    at: now(),
    exitCode: exitCode === 1 ? 125 : exitCode,
    error: message,
  });
}

async function makeSpec(
  store: ContainerStore,
  record: ContainerRecord,
  settings: ContainerSettings,
  runtime: Runtime,
  bundle: Bundle,
): Promise<OciSpec> {
  const { rootfs } = bundle;
  const { network, tty, privileged } = settings;
  const user = resolveUser(rootfs, settings.user, settings.groupAdd);
  const hostname = settings.hostname ?? (network === 'host' ? os.hostname() : record.id.slice(0, 12));
  const env = processEnvironment({ image: settings.env, user, hostname, terminal: tty });
  const cwd = path.posix.resolve('/', settings.workingDir);
  const init = settings.init ? withInit(record.command) : undefined;
  const mounts: SpecMount[] = [
    ...standardMounts({ network, cgroups: runtime.cgroups, privileged }),
    ...writeEtcFiles(bundle, network, hostname, settings.addHosts),
    ...(init === undefined ? [] : [init.mount]),
    ...settingsMounts(store, record, settings.mounts, rootfs),
  ];
  if (cwd !== '/') makeDirectoryInRoot(rootfs, cwd);
  checkCommand(rootfs, record.command, { env, cwd, mounts });
  const spec = specOf({
    rootfs,
    readOnly: settings.readOnly,
    process: {
      args: init?.args ?? record.command,
      env,
      cwd,
      user,
      terminal: tty,
      capabilities: { add: settings.capAdd, drop: settings.capDrop, privileged },
      noNewPrivileges: settings.noNewPrivileges,
      rlimits: settings.ulimits.map(parseUlimit),
    },
    hostname,
    network,
    mounts,
    seccomp: settings.seccomp,
    cgroup: runtime.cgroups ? `/lamina-${record.id}` : undefined,
  });
  const targets = makeMountTargets(rootfs, mounts);
  if (targets.made.length > 0) writeFileSync(path.join(bundle.directory, TARGETS), JSON.stringify(targets));
  return spec;
}

/** @param isKept its layer is to look as if nothing had been mounted in it */
async function undo(bundle: Bundle, isKept = true): Promise<void> {
  const owner = bundleOwner(bundle.id);
  if (owner !== undefined) deleteIfLeft(runtimeAt(owner.runtime), bundle.id);
  const targets = isKept ? readTargets(bundle) : undefined;
  if (targets !== undefined) removeMade(targets);
  await endBundle(bundle);
}

function readTargets({ directory }: Bundle): MadeTargets | undefined {
  try {
    return JSON.parse(readFileSync(path.join(directory, TARGETS), 'utf8')) as MadeTargets;
  } catch {
    return undefined;
  }
}

/**
 * Takes down what is left of a container whose process has ended, records the end, and removes it where it is to go then.
 * @param exitCode undefined: recorded already, or nobody knows
 */
export async function finishContainer(
  store: ContainerStore,
  record: ContainerRecord,
  exitCode: number | undefined,
): Promise<void> {
  if (exitCode !== undefined) recordEvent(store, record, { event: 'exit', at: now(), exitCode });
  await undo(bundleAt(record.id), record.settings?.autoRemove !== true);
  recordEvent(store, record, { event: 'end', at: now() });
  if (record.settings?.autoRemove === true) await removeQuietly(store, record);
}

async function removeQuietly(store: ContainerStore, record: ContainerRecord): Promise<void> {
  await store.remove(record).catch((error: unknown) => {
    // Somebody was faster.
    if (!(error instanceof LaminaError) || error.code !== 'ENOCONTAINER') throw error;
  });
}

/** Takes away what a process that is gone left; a container that was to be removed at its end is removed. One of another store is only ended. */
export async function finishOrphan(store: ContainerStore, orphan: Orphan): Promise<void> {
  const record = orphan.container === undefined ? undefined : await store.find(orphan.container);
  const made = readTargets(bundleAt(orphan.name));
  await removeOrphan(orphan, () => made !== undefined && removeMade(made));
  if (record === undefined) return;
  if (containerState(store, record).status !== 'created') await finishContainer(store, record, undefined);
  else if (record.settings?.autoRemove === true) await removeQuietly(store, record);
}
