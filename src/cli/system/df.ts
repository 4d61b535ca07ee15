/** `lamina system df` (docker/cli cli/command/formatter/disk_usage.go); derived data stands where docker has the build cache. */
import type { Command } from 'commander';
import type { DiskUsage } from '../../system/disk-usage.js';
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
    .action(async (flags: Flags) => run(flags));
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

async function run({ format, verbose }: Flags): Promise<void> {
  const [store, { diskUsage }, { formatList }, { formatSize }] = await Promise.all([
    openImages(),
    import('../../system/disk-usage.js'),
    import('../output/list.js'),
    import('../output/sizes.js'),
  ]);
  const usage = await diskUsage(store);
  if (verbose === true) {
    const { images, containers } = await verboseRows(usage);
    const { derived } = usage;
    process.stdout.write(
      `Images space usage:\n\n${formatList(images, IMAGES)}` +
        `\nContainers space usage:\n\n${formatList(containers, CONTAINERS)}` +
        `\nDerived data usage: ${formatSize(derived.sizeBytes)}\n`,
    );
    return;
  }
  const row = (Type: string, count: number, active: number, bytes: number, reclaimable: number): Row => ({
    Active: String(active),
    Reclaimable:
      formatSize(reclaimable) + (bytes > 0 ? ` (${Math.floor((reclaimable * 100) / bytes)}%)` : ''),
    Size: formatSize(bytes),
    TotalCount: String(count),
    Type,
  });
  const { images, containers, derived } = usage;
  const sum = (of: readonly { sizeBytes: number }[]): number =>
    of.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
  const mounted = containers.filter(({ isMounted }) => isMounted);
  const rows = [
    row(
      'Images',
      images.length,
      images.filter((image) => image.containers > 0).length,
      usage.imageBytes,
      usage.reclaimableImageBytes,
    ),
    row('Containers', containers.length, mounted.length, sum(containers), sum(containers) - sum(mounted)),
    row('Derived Data', derived.count, derived.neededCount, derived.sizeBytes, derived.reclaimableBytes),
  ];
  process.stdout.write(formatList(rows, SUMMARY, format));
}

async function verboseRows(usage: DiskUsage): Promise<{ images: Row[]; containers: Row[] }> {
  const [{ formatSize }, { formatAge }, { shortId }, { ellipsis }] = await Promise.all([
    import('../output/sizes.js'),
    import('../output/times.js'),
    import('../output/ids.js'),
    import('../output/width.js'),
  ]);
  const images = usage.images.map(({ image, sizeBytes, sharedBytes, containers }) => {
    // Only the first tag, as docker.
    const [, repository = '<none>', tag = '<none>'] = /^(.*):([^:/]*)$/.exec(image.tags[0] ?? '') ?? [];
    return {
      Repository: repository,
      Tag: tag,
      ID: shortId(image.imageId),
      CreatedSince: image.createdMs < 0 ? 'N/A' : formatAge(image.createdMs),
      Size: formatSize(sizeBytes, 3),
      SharedSize: formatSize(sharedBytes),
      UniqueSize: formatSize(sizeBytes - sharedBytes),
      Containers: String(containers),
    };
  });
  const containers = usage.containers.map(({ record, isMounted, sizeBytes }) => ({
    ID: shortId(record.id),
    Image: record.image.name,
    Command: `"${ellipsis(record.command.join(' '), 20)}"`,
    LocalVolumes: '0',
    Size: formatSize(sizeBytes, 3),
    RunningFor: formatAge(Date.parse(record.createdAt)),
    Status: isMounted ? 'Mounted' : 'Created',
    Names: record.name,
  }));
  return { images, containers };
}
