/** `lamina ps`, `lamina container ls`: a container is listed while it is mounted, with --all always. */
import type { Command } from 'commander';
import type { ContainerRecord } from '../../store/container-record.js';
import { LaminaError } from '../../errors.js';
import type { MountRecord } from '../../mount/table.js';
import { formatAge, formatTable } from '../format.js';
import { formatTemplate, templateHeadings } from '../template.js';
import { openStore, shortId } from './containers.js';

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

function gather(value: string, all: string[]): string[] {
  return [...all, value];
}

interface Listed {
  record: ContainerRecord;
  mount: MountRecord | undefined;
  isMounted: boolean;
}

async function list(flags: Flags): Promise<string> {
  const store = await openStore();
  const { MountTable } = await import('../../mount/table.js');
  const mounts = await new MountTable().list();
  const filters = parseFilters(flags.filter);
  const last = flags.latest === true ? 1 : flags.last === undefined ? -1 : parseCount(flags.last);
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
    .filter((item) => [...filters].every(([key, values]) => FILTERS[key]!(item, values, records)));
  const chosen = last >= 0 ? shown.slice(0, last) : shown;
  if (flags.quiet === true) return chosen.map(({ record }) => `${idOf(record, flags)}\n`).join('');
  return render(
    chosen.map((item) => fields(item, flags)),
    flags.format ?? 'table',
  );
}

const HEADINGS: Record<string, string> = {
  ID: 'CONTAINER ID',
  Image: 'IMAGE',
  Command: 'COMMAND',
  RunningFor: 'CREATED',
  CreatedAt: 'CREATED AT',
  Status: 'STATUS',
  Ports: 'PORTS',
  Names: 'NAMES',
  Labels: 'LABELS',
  Mounts: 'MOUNTS',
};

function render(rows: readonly Record<string, string>[], wanted: string): string {
  if (wanted === 'json') return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  if (wanted === 'table') {
    const columns = ['ID', 'Image', 'Command', 'RunningFor', 'Status', 'Ports', 'Names'];
    return formatTable([
      columns.map((column) => HEADINGS[column]!),
      ...rows.map((row) => columns.map((column) => row[column]!)),
    ]);
  }
  const template = wanted.replace(/^table\s+/, '');
  const lines = rows.map((row) => formatTemplate(template, row));
  if (template === wanted) return lines.map((line) => `${line}\n`).join('');
  return formatTable([templateHeadings(template, HEADINGS), ...lines].map((line) => line.split('\t')));
}

function fields({ record, mount, isMounted }: Listed, flags: Flags): Record<string, string> {
  const created = Date.parse(record.createdAt);
  const command = record.command.join(' ');
  const shown = !flags.trunc || command.length <= 20 ? command : `${command.slice(0, 19)}\u2026`;
  const since = mount === undefined ? '' : ` ${formatAge(Date.parse(mount.createdAt)).replace(/ ago$/, '')}`;
  return {
    Command: `"${shown}"`,
    CreatedAt: record.createdAt,
    ID: idOf(record, flags),
    Image: record.image.name,
    Labels: Object.entries(record.labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    Mounts: mount?.mountpoint ?? '',
    Names: record.name,
    Ports: '',
    RunningFor: formatAge(created),
    State: isMounted ? 'mounted' : 'created',
    Status: isMounted ? `Mounted${since}` : 'Created',
  };
}

function idOf({ id }: ContainerRecord, { trunc }: Flags): string {
  return trunc ? shortId(id) : id;
}

function parseCount(text: string): number {
  if (/^-?\d+$/.test(text)) return Number(text);
  throw new LaminaError('EUSAGE', `invalid argument "${text}" for "-n, --last" flag: it is no number`);
}

type Filter = (item: Listed, values: readonly string[], all: readonly ContainerRecord[]) => boolean;

/** Several values of one key: any of them; several keys: all of them. */
const FILTERS: Record<string, Filter> = {
  id: ({ record }, values) => values.some((value) => record.id.startsWith(value)),
  name: ({ record }, values) => values.some((value) => matches(value, record.name)),
  status: ({ isMounted }, values) => values.includes(isMounted ? 'mounted' : 'created'),
  label: ({ record }, values) =>
    values.every((value) => {
      const [key = '', wanted] = value.split(/=(.*)/s);
      return Object.hasOwn(record.labels, key) && (wanted === undefined || record.labels[key] === wanted);
    }),
  ancestor: ({ record: { image } }, values) =>
    values.some(
      (value) =>
        image.name === value ||
        image.path === value ||
        image.imageId === value ||
        image.imageId.startsWith(`sha256:${value}`),
    ),
  before: ({ record }, values, all) => values.every((value) => compareTo(record, value, all) < 0),
  since: ({ record }, values, all) => values.every((value) => compareTo(record, value, all) > 0),
};

function parseFilters(texts: readonly string[]): Map<string, string[]> {
  const filters = new Map<string, string[]>();
  for (const text of texts) {
    const [key = '', value] = text.split(/=(.*)/s);
    if (value === undefined)
      throw new LaminaError(
        'EUSAGE',
        `invalid argument "${text}" for "-f, --filter" flag: invalid filter '${text}'`,
      );
    if (!Object.hasOwn(FILTERS, key))
      throw new LaminaError('EUSAGE', `invalid filter '${key}'`, {
        hint: `The filters are: ${Object.keys(FILTERS).join(' ')}.`,
      });
    filters.set(key, [...(filters.get(key) ?? []), value]);
  }
  return filters;
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
