/** `lamina ps`, `lamina container ls`: a container is listed while it is mounted, with --all always. */
import type { Command } from 'commander';
import type { ContainerRecord } from '../../store/container-record.js';
import { LaminaError } from '../../errors.js';
import type { MountRecord } from '../../mount/table.js';
import { gather } from '../output/gather.js';
import type { Filters } from '../output/filters.js';
import type { ListKind, Row } from '../output/list.js';
import { shortId } from '../output/ids.js';
import { openStore } from './containers.js';

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
    .option('-a, --all', 'Show all containers (default shows just mounted)')
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
  isMounted: boolean;
}

const FILTERS = ['id', 'name', 'status', 'label', 'ancestor', 'before', 'since'];

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
  const [
    store,
    { MountTable },
    { parseFilters },
    { formatList },
    { formatAge, formatLocalTime },
    { ellipsis },
  ] = await Promise.all([
    openStore(),
    import('../../mount/table.js'),
    import('../output/filters.js'),
    import('../output/list.js'),
    import('../output/times.js'),
    import('../output/width.js'),
  ]);
  const filters = parseFilters(flags.filter, FILTERS);
  const last = flags.latest === true ? 1 : flags.last === undefined ? -1 : parseCount(flags.last);
  const mounts = await new MountTable().list();
  const records = await store.list();
  for (const { error } of await store.damaged()) process.stderr.write(`lamina: warning: ${error.message}\n`);
  const listed: Listed[] = [];
  for (const record of records) {
    const mount = mounts.find((entry) => entry.record.container === record.id && entry.state !== 'failed');
    // Another user's table, or run directory, may hold the mount: the lock tells in any case.
    listed.push({
      record,
      mount: mount?.record,
      isMounted: mount !== undefined || (await store.isMounted(record)),
    });
  }
  const isAll = flags.all === true || last >= 0 || filters.has('status');
  const shown = listed
    .filter((item) => isAll || item.isMounted)
    .filter((item) => fits(item, filters, records));
  const chosen = last >= 0 ? shown.slice(0, last) : shown;
  const row = ({ record, mount, isMounted }: Listed): Row => {
    const command = record.command.join(' ');
    const since =
      mount === undefined ? '' : ` ${formatAge(Date.parse(mount.createdAt)).replace(/ ago$/, '')}`;
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
      State: isMounted ? 'mounted' : 'created',
      Status: isMounted ? `Mounted${since}` : 'Created',
    };
  };
  return formatList(chosen.map(row), KIND, flags.quiet === true ? '{{.ID}}' : flags.format);
}

function parseCount(text: string): number {
  if (/^-?\d+$/.test(text)) return Number(text);
  throw new LaminaError('EUSAGE', `invalid argument "${text}" for "-n, --last" flag: it is no number`);
}

function fits({ record, isMounted }: Listed, filters: Filters, all: readonly ContainerRecord[]): boolean {
  const { image } = record;
  return (
    filters.some('id', (value) => record.id.startsWith(value)) &&
    filters.some('name', (value) => matches(value, record.name)) &&
    filters.some('status', (value) => value === (isMounted ? 'mounted' : 'created')) &&
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
