/** `lamina container inspect`: what is known of a container, in docker's names. */
import type { Command } from 'commander';
import type { ContainerRecord } from '../../store/container-record.js';
import type { ContainerStore } from '../../container/store.js';
import { mountpointsOf, openStore } from './containers.js';

export function register(parent: Command): void {
  parent
    .command('inspect')
    .description('Display detailed information on one or more containers')
    .argument('<container...>')
    .option(
      '-f, --format <string>',
      'Format output using a custom template:\n"json": Print in JSON format\n"TEMPLATE": Print fields, as in "{{.Name}} {{json .State}}"',
    )
    .action(async (names: string[], flags: { format?: string }) => {
      const [store, { inspectAll }] = await Promise.all([openStore(), import('../inspect-all.js')]);
      await inspectAll(names, flags.format, async (name) => containerObject(store, await store.get(name)));
    });
}

/** docker's object, as far as a container here has what docker's has. */
export async function containerObject(store: ContainerStore, record: ContainerRecord): Promise<object> {
  const [{ containerState }, { volumeDirectory }, { LOG_FILE }] = await Promise.all([
    import('../../runtime/state.js'),
    import('../../runtime/volumes.js'),
    import('../../runtime/log.js'),
  ]);
  const state = containerState(store, record);
  const isMounted = state.status !== 'running' && (await store.isMounted(record));
  const [command = '', ...args] = record.command;
  const { settings } = record;
  return {
    Id: record.id,
    Created: record.createdAt,
    Path: command,
    Args: args,
    State: {
      Status: isMounted ? 'mounted' : state.status,
      Running: state.status === 'running',
      Paused: false,
      Restarting: false,
      OOMKilled: false,
      Dead: false,
      Pid: state.pid,
      ExitCode: state.exitCode,
      Error: state.error,
      StartedAt: state.startedAt ?? NEVER,
      FinishedAt: state.finishedAt ?? NEVER,
      Mounted: isMounted,
    },
    Image: record.image.imageId,
    LogPath: store.fileOf(record, LOG_FILE),
    Name: `/${record.name}`,
    Platform: record.image.platform,
    GraphDriver: {
      Data: {
        UpperDir: store.upperOf(record),
        WorkDir: store.workOf(record),
        MergedDirs: await mountpointsOf(record),
      },
      Name: 'lamina',
    },
    ...(settings === undefined
      ? {}
      : {
          HostConfig: {
            NetworkMode: settings.network,
            AutoRemove: settings.autoRemove,
            CapAdd: settings.capAdd,
            CapDrop: settings.capDrop,
            ExtraHosts: settings.addHosts,
            GroupAdd: settings.groupAdd,
            Init: settings.init,
            Privileged: settings.privileged,
            ReadonlyRootfs: settings.readOnly,
            Runtime: settings.runtime ?? '',
            SecurityOpt: [
              ...(settings.seccomp === 'default' ? [] : [`seccomp=${settings.seccomp}`]),
              ...(settings.noNewPrivileges ? ['no-new-privileges'] : []),
            ],
          },
          Mounts: settings.mounts.map(({ type, source, target, readOnly }) => ({
            Type: type,
            Source: source ?? (type === 'volume' ? volumeDirectory(store, record, target) : ''),
            Destination: target,
            RW: !readOnly,
          })),
        }),
    Config: {
      ...(settings === undefined
        ? {}
        : {
            Hostname: settings.hostname ?? record.id.slice(0, 12),
            User: settings.user,
            Tty: settings.tty,
            OpenStdin: settings.openStdin,
            Env: settings.env,
            Cmd: settings.cmd,
            Entrypoint: settings.entrypoint,
            WorkingDir: settings.workingDir,
            StopSignal: settings.stopSignal ?? 'SIGTERM',
          }),
      Image: record.image.name,
      Labels: record.labels,
    },
    ImageSource: {
      Path: record.image.path,
      Transport: record.image.transport ?? '',
      Reference: record.image.reference ?? '',
      Layers: record.image.diffIds,
    },
  };
}

/** Go's zero time, as docker shows it. */
const NEVER = '0001-01-01T00:00:00Z';
