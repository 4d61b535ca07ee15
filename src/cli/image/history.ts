/** `lamina history`, `lamina image history` (docker/cli cli/command/image/history.go, formatter/history.go) */
import type { Command } from 'commander';
import type { HistoryRow } from '../../image/history.js';
import { checkPlatform, openImages } from './images-store.js';

interface Flags {
  format?: string;
  human: boolean;
  platform?: string;
  trunc: boolean;
  quiet?: boolean;
}

export function register(parent: Command): void {
  parent
    .command('history')
    .description('Show the history of an image')
    .argument('<image>')
    .option(
      '--format <string>',
      'Format output using a custom template:\n"table": Print output in table format with column headers (default)\n"table TEMPLATE": Print output in table format using the given template\n"json": Print in JSON format\n"TEMPLATE": Print fields, as in "{{.ID}}: {{.CreatedBy}}"',
    )
    .option('-H, --human', 'Print sizes and dates in human readable format', true)
    .option('--no-human', 'Print sizes in bytes and dates in full')
    .option('--no-trunc', "Don't truncate output")
    .option('--platform <string>', 'Show history for the given platform (os[/arch[/variant]])')
    .option('-q, --quiet', 'Only show image IDs')
    .action(async (name: string, flags: Flags) => {
      process.stdout.write(await show(name, flags));
    });
}

const HEADINGS = {
  ID: 'IMAGE',
  CreatedSince: 'CREATED',
  CreatedAt: 'CREATED AT',
  CreatedBy: 'CREATED BY',
  Size: 'SIZE',
  Comment: 'COMMENT',
};

async function show(name: string, flags: Flags): Promise<string> {
  const [store, { imageHistory }, { formatList }, { shortId }] = await Promise.all([
    openImages(),
    import('../../image/history.js'),
    import('../output/list.js'),
    import('../output/ids.js'),
  ]);
  const snapshot = store.snapshot();
  const { image } = snapshot.get(name);
  await checkPlatform(image, name, flags.platform);
  const rows = imageHistory(snapshot, image);
  const idOf = ({ imageId }: HistoryRow): string => {
    if (imageId === undefined) return '<missing>';
    return flags.trunc ? shortId(imageId) : imageId;
  };
  if (flags.quiet === true) return rows.map((row) => `${idOf(row)}\n`).join('');
  const fields = await fieldsOf(flags);
  const created = flags.human ? '{{.CreatedSince}}' : '{{.CreatedAt}}';
  return formatList(
    rows.map((row) => ({ ID: idOf(row), ...fields(row) })),
    {
      table: `{{.ID}}\t${created}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}`,
      headings: HEADINGS,
      type: 'image.historyContext',
    },
    flags.format,
  );
}

/** docker shows no age before: images that are built to be the same each time are from 1970 or 1980. */
const EARLIEST_MS = Date.parse('2000-01-01T00:00:00Z');
const CREATED_BY_COLUMNS = 45;

async function fieldsOf({ human, trunc }: Flags): Promise<(row: HistoryRow) => Record<string, unknown>> {
  const [{ formatAge, formatRfc3339 }, { formatSize }, { ellipsis }] = await Promise.all([
    import('../output/times.js'),
    import('../output/sizes.js'),
    import('../output/width.js'),
  ]);
  const nowMs = Date.now();
  return ({ createdMs, createdBy, sizeBytes, comment }) => {
    const at = formatRfc3339(createdMs ?? YEAR_ONE_MS);
    const since = createdMs === undefined || createdMs <= EARLIEST_MS ? 'N/A' : formatAge(createdMs, nowMs);
    const by = createdBy.replaceAll('\t', ' ');
    return {
      CreatedSince: human ? since : at,
      CreatedAt: at,
      CreatedBy: trunc ? ellipsis(by, CREATED_BY_COLUMNS) : by,
      Size: human ? formatSize(sizeBytes, 3) : String(sizeBytes),
      Comment: comment,
    };
  };
}

const YEAR_ONE_MS = Date.parse('0001-01-01T00:00:00Z');
