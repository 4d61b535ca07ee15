/** `lamina ps`, `lamina container ls`: a container is listed while it runs or is mounted, with --all always. */
import type { Command } from 'commander';
import type { ContainerRecord } from '../../store/container-record.js';
import { LaminaError } from '../../errors.js';
import type { MountRecord } from '../../mount/table.js';
import { gather } from '../output/gather.js';
import type { Filters } from '../output/filters.js';
import type { ListKind, Row } from '../output/list.js';
import { shortId } from '../output/ids.js';
import type { ContainerState } from '../../runtime/state.js';
import { openStore } from './containers.js';

type Times = typeof import('../output/times.js');

interface Flags {
  all?: boolean;
  filter: string[];
  format?: string;
  last?: string;
  latest?: boolean;
  quiet?: boolean;
  trunc: boolean;
}

export function register(parent: Command): void {
  define(parent, parent.name() === 'container' ? 'ls' : 'ps');
}

function define(parent: Command, name: string): void {
  const command = parent
    .command(name)
    .description('List containers')
    .option('-a, --all', 'Show all containers (default shows just running and mounted)')
    .option('-f, --filter <filter>', 'Filter output based on conditions provided', gather, [])
    .option(
      '--format <string>',
      'Format output using a custom template:\n"table": Print output in table format with column headers (default)\n"table TEMPLATE": Print output in table format using the given template\n"json": Print in JSON format\n"TEMPLATE": Print fields, as in "{{.ID}} {{.Names}}"',
    )
    .option('-n, --last <int>', 'Show n last created containers (includes all states)')
    .option('-l, --latest', 'Show the latest created container (includes all states)')
    .option('--no-trunc', "Don't truncate output")
    .option('-q, --quiet', 'Only display container IDs')
    .action(async (flags: Flags) => {
      process.stdout.write(await list(flags));
    });
  if (name === 'ls') command.aliases(['list', 'ps']);
}

interface Listed {
  record: ContainerRecord;
  mount: MountRecord | undefined;
  /** docker's words, and `mounted` of one that does not run. */
  status: 'created' | 'running' | 'exited' | 'mounted';
  state: ContainerState;
}

const FILTERS = ['id', 'name', 'status', 'exited', 'label', 'ancestor', 'before', 'since'];
const STATUSES = ['created', 'running', 'exited', 'mounted', 'paused', 'restarting', 'removing', 'dead'];

const KIND: ListKind = {
  table: '{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}',
  headings: {
    ID: 'CONTAINER ID',
    Image: 'IMAGE',
    Command: 'COMMAND',
    RunningFor: 'CREATED',
    CreatedAt: 'CREATED AT',
    State: 'STATE',
    Status: 'STATUS',
    Ports: 'PORTS',
    Names: 'NAMES',
    Labels: 'LABELS',
    Mounts: 'MOUNTS',
  },
  type: '*formatter.ContainerContext',
};

async function list(flags: Flags): Promise<string> {
  const [store, { containerState }, { MountTable }, { parseFilters }, { formatList }, times, { ellipsis }] =
    await Promise.all([
      openStore(),
      import('../../runtime/state.js'),
      import('../../mount/table.js'),
      import('../output/filters.js'),
      import('../output/list.js'),
      import('../output/times.js'),
      import('../output/width.js'),
    ]);
  const filters = parseFilters(flags.filter, FILTERS);
  checkFilters(filters);
  const { formatAge, formatLocalTime } = times;
  const last = flags.latest === true ? 1 : flags.last === undefined ? -1 : parseCount(flags.last);
  const mounts = await new MountTable().list();
  const records = await store.list();
  for (const { error } of await store.damaged()) process.stderr.write(`lamina: warning: ${error.message}\n`);
  const listed: Listed[] = [];
  for (const record of records) {
    const mount = mounts.find((entry) => entry.record.container === record.id && entry.state !== 'failed');
    const state = containerState(store, record);
    // Another user's table, or run directory, may hold the mount: the lock tells in any case.
    const isMounted = async (): Promise<boolean> => mount !== undefined || store.isMounted(record);
    const status = state.status !== 'running' && (await isMounted()) ? 'mounted' : state.status;
    listed.push({ record, mount: mount?.record, status, state });
  }
  const isAll = flags.all === true || last >= 0 || filters.has('status') || filters.has('exited');
  const shown = listed
    .filter((item) => isAll || item.status === 'running' || item.status === 'mounted')
    .filter((item) => fits(item, filters, records));
  const chosen = last >= 0 ? shown.slice(0, last) : shown;
  const row = (item: Listed): Row => {
    const { record, mount, status } = item;
    const command = record.command.join(' ');
    return {
      Command: `"${flags.trunc ? ellipsis(command, 20) : command}"`,
      CreatedAt: formatLocalTime(Date.parse(record.createdAt)),
      ID: flags.trunc ? shortId(record.id) : record.id,
      Image: record.image.name,
      Label: (key: string) => record.labels[key] ?? '',
      Labels: Object.entries(record.labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(','),
      Mounts: mount?.mountpoint ?? '',
      Names: record.name,
      Ports: '',
      RunningFor: formatAge(Date.parse(record.createdAt)),
      State: status,
      Status: statusText(item, times),
    };
  };
  return formatList(chosen.map(row), KIND, flags.quiet === true ? '{{.ID}}' : flags.format);
}

/** In docker's words (moby container/state.go, String). */
function statusText({ status, state, mount }: Listed, times: Times): string {
  const since = (text: string | undefined): string =>
    text === undefined ? '' : ` ${times.formatDuration(Date.now() - Date.parse(text))}`;
  if (status === 'running') return `Up${since(state.startedAt)}`;
  if (status === 'exited') return `Exited (${state.exitCode})${since(state.finishedAt)} ago`;
  return status === 'mounted' ? `Mounted${since(mount?.createdAt)}` : 'Created';
}

/** Raises EFILTER. */
function checkFilters(filters: Filters): void {
  filters.every('status', (value) => {
    if (STATUSES.includes(value)) return true;
    throw new LaminaError('EFILTER', `invalid filter 'status=${value}'`, {
      hint: `The states are: ${STATUSES.slice(0, 4).join(', ')}.`,
    });
  });
  filters.every('exited', (value) => {
    if (/^-?\d+$/.test(value)) return true;
    throw new LaminaError('EFILTER', `invalid filter 'exited=${value}'`, { hint: 'Give an exit status.' });
  });
}

function parseCount(text: string): number {
  if (/^-?\d+$/.test(text)) return Number(text);
  throw new LaminaError('EUSAGE', `invalid argument "${text}" for "-n, --last" flag: it is no number`);
}

function fits({ record, status, state }: Listed, filters: Filters, all: readonly ContainerRecord[]): boolean {
  const { image } = record;
  return (
    filters.some('id', (value) => record.id.startsWith(value)) &&
    filters.some('name', (value) => matches(value, record.name)) &&
    filters.some('status', (value) => value === status) &&
    filters.some('exited', (value) => state.status === 'exited' && Number(value) === state.exitCode) &&
    filters.labelsFit(record.labels) &&
    filters.some(
      'ancestor',
      (value) =>
        [image.name, image.path, image.imageId].includes(value) ||
        image.imageId.startsWith(`sha256:${value}`),
    ) &&
    filters.every('before', (value) => compareTo(record, value, all) < 0) &&
    filters.every('since', (value) => compareTo(record, value, all) > 0)
  );
}

/** docker takes a name as a regular expression. */
function matches(pattern: string, name: string): boolean {
  try {
    return new RegExp(pattern).test(name) || new RegExp(pattern).test(`/${name}`);
  } catch {
    return name === pattern;
  }
}

/** Below 0: created before the other. */
function compareTo(record: ContainerRecord, reference: string, all: readonly ContainerRecord[]): number {
  const other = all.find(
    ({ id, name }) => name === reference || id === reference || id.startsWith(reference),
  );
  if (other === undefined) throw new LaminaError('ENOCONTAINER', `No such container: ${reference}`);
  return all.indexOf(other) - all.indexOf(record);
}
