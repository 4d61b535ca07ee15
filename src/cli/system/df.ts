/** `lamina system df` (docker/cli cli/command/formatter/disk_usage.go), with derived data in the place of the build cache. */
import type { Command } from 'commander';
import type { ContainerDiskUsage, DiskUsage, ImageDiskUsage, Usage } from '../../system/disk-usage.js';
import { openImages } from '../image/images-store.js';
import type { ListKind, Row } from '../output/list.js';

interface Flags {
  format?: string;
  verbose?: boolean;
}

export function register(parent: Command): void {
  parent
    .command('df')
    .description('Show disk usage')
    .option(
      '--format <string>',
      'Format output using a custom template:\n"table": Print output in table format with column headers (default)\n"table TEMPLATE": Print output in table format using the given template\n"json": Print in JSON format\n"TEMPLATE": Print fields, as in "{{.Type}}: {{.Size}}"',
    )
    .option('-v, --verbose', 'Show detailed information on space usage')
    .action(async (flags: Flags) => {
      const [store, { diskUsage }] = await Promise.all([openImages(), import('../../system/disk-usage.js')]);
      const usage = await diskUsage(store);
      process.stdout.write(await (flags.verbose === true ? details : summary)(usage, flags.format));
    });
}

const SUMMARY: ListKind = {
  table: '{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}',
  headings: {
    Type: 'TYPE',
    TotalCount: 'TOTAL',
    Active: 'ACTIVE',
    Size: 'SIZE',
    Reclaimable: 'RECLAIMABLE',
  },
  type: 'formatter.diskUsageContext',
};

const RAW = `type: {{.Type}}
total: {{.TotalCount}}
active: {{.Active}}
size: {{.Size}}
reclaimable: {{.Reclaimable}}
`;

async function summary(
  { images, containers, derived }: DiskUsage,
  format: string | undefined,
): Promise<string> {
  const [{ formatList }, { formatSize }] = await Promise.all([
    import('../output/list.js'),
    import('../output/sizes.js'),
  ]);
  const row = (type: string, { items, activeCount, sizeBytes, reclaimableBytes }: Usage<unknown>): Row => ({
    Active: String(activeCount),
    Reclaimable: `${formatSize(reclaimableBytes)}${sizeBytes > 0 ? ` (${Math.floor((reclaimableBytes * 100) / sizeBytes)}%)` : ''}`,
    Size: formatSize(sizeBytes),
    TotalCount: String(items.length),
    Type: type,
  });
  const rows = [row('Images', images), row('Containers', containers), row('Derived Data', derived)];
  return formatList(rows, SUMMARY, format === 'raw' ? RAW : format);
}

const IMAGES: ListKind = {
  table:
    '{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}',
  headings: {
    Repository: 'REPOSITORY',
    Tag: 'TAG',
    ID: 'IMAGE ID',
    CreatedSince: 'CREATED',
    Size: 'SIZE',
    SharedSize: 'SHARED SIZE',
    UniqueSize: 'UNIQUE SIZE',
    Containers: 'CONTAINERS',
  },
  type: 'formatter.imageContext',
};

const CONTAINERS: ListKind = {
  table:
    '{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}',
  headings: {
    ID: 'CONTAINER ID',
    Image: 'IMAGE',
    Command: 'COMMAND',
    LocalVolumes: 'LOCAL VOLUMES',
    Size: 'SIZE',
    RunningFor: 'CREATED',
    Status: 'STATUS',
    Names: 'NAMES',
  },
  type: 'formatter.ContainerContext',
};

const DERIVED: ListKind = {
  table: '{{.Name}}\t{{.Size}}\t{{.Needed}}',
  headings: { Name: 'NAME', Size: 'SIZE', Needed: 'NEEDED' },
  type: 'formatter.derivedContext',
};

/** `--format` is for all three kinds at once, as fields Images, Containers and DerivedData; only without one is it a table. */
async function details(usage: DiskUsage, format: string | undefined): Promise<string> {
  const isTable = format === undefined || format === '' || format === 'table';
  const [{ formatList, parseFormat, fieldError }, { formatSize }, row] = await Promise.all([
    import('../output/list.js'),
    import('../output/sizes.js'),
    rowsOf(isTable),
  ]);
  const rows = {
    Images: usage.images.items.map(row.image),
    Containers: usage.containers.items.map(row.container),
    DerivedData: usage.derived.items.map(({ name, sizeBytes, isNeeded }) => ({
      Name: name,
      Needed: String(isNeeded),
      Size: formatSize(sizeBytes),
    })),
  };
  if (isTable)
    return (
      `Images space usage:\n\n${formatList(rows.Images, IMAGES)}` +
      `\nContainers space usage:\n\n${formatList(rows.Containers, CONTAINERS)}` +
      `\nDerived data usage: ${formatSize(usage.derived.sizeBytes)}\n\n${formatList(rows.DerivedData, DERIVED)}`
    );
  const { goStruct } = await import('../output/inspect.js');
  const template = parseFormat(format === 'json' ? '{{json .}}' : format);
  try {
    return `${template.execute(goStruct('formatter.diskUsageContext', rows))}\n`;
  } catch (error) {
    throw fieldError(error, Object.keys(rows));
  }
}

/** How an image and a container are shown; short where it is for people. */
async function rowsOf(
  isShort: boolean,
): Promise<{ image: (item: ImageDiskUsage) => Row; container: (item: ContainerDiskUsage) => Row }> {
  const [{ formatSize }, { formatAge, formatLocalTime }, { shortId }, { ellipsis }] = await Promise.all([
    import('../output/sizes.js'),
    import('../output/times.js'),
    import('../output/ids.js'),
    import('../output/width.js'),
  ]);
  const idOf = (id: string): string => (isShort ? shortId(id) : id);
  return {
    image: ({ image, sharedBytes, uniqueBytes, containerCount }) => {
      // docker shows the first name alone.
      const [, repository, tag] = /^(.*):([^:/]*)$/.exec(image.tags[0] ?? '') ?? [];
      return {
        Containers: String(containerCount),
        CreatedAt: formatLocalTime(image.createdMs),
        CreatedSince: image.createdMs < 0 ? 'N/A' : formatAge(image.createdMs),
        ID: idOf(image.imageId),
        Repository: repository ?? '<none>',
        SharedSize: formatSize(sharedBytes),
        Size: formatSize(sharedBytes + uniqueBytes, 3),
        Tag: tag ?? '<none>',
        UniqueSize: formatSize(uniqueBytes),
      };
    },
    container: ({ record, isMounted, sizeBytes }) => {
      const command = record.command.join(' ');
      return {
        Command: `"${isShort ? ellipsis(command, 20) : command}"`,
        CreatedAt: record.createdAt,
        ID: idOf(record.id),
        Image: record.image.name,
        LocalVolumes: '0',
        Names: record.name,
        RunningFor: formatAge(Date.parse(record.createdAt)),
        Size: formatSize(sizeBytes, 3),
        Status: isMounted ? 'Mounted' : 'Created',
      };
    },
  };
}
