/** `lamina search` */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import { gather } from '../output/gather.js';
import type { ListKind } from '../output/list.js';
import { addTlsOption, withClient } from './client.js';
import type { TlsFlags } from './client.js';

interface Flags extends TlsFlags {
  filter: string[];
  format?: string;
  limit?: string;
  trunc: boolean;
}

const KIND: ListKind = {
  table: '{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}',
  headings: { Name: 'NAME', Description: 'DESCRIPTION', StarCount: 'STARS', IsOfficial: 'OFFICIAL' },
  type: '*search.Context',
};
const DEFAULT_LIMIT = 25;
const DESCRIPTION_COLUMNS = 45;

export function register(program: Command): void {
  addTlsOption(
    program
      .command('search')
      .description('Search Docker Hub, or a registry, for images')
      .usage('[OPTIONS] TERM')
      .argument('<term>')
      .option(
        '-f, --filter <filter>',
        'Filter output based on conditions provided (stars=N, is-official=BOOL)',
        gather,
        [],
      )
      .option('--format <string>', 'Pretty-print search using a Go template')
      .option('--limit <int>', 'Max number of search results')
      .option('--no-trunc', "Don't truncate output"),
  ).action(async (term: string, flags: Flags) => run(term, flags));
}

async function run(term: string, flags: Flags): Promise<void> {
  const [{ searchRegistry }, { parseFilters }, { formatList }, { ellipsis }] = await Promise.all([
    import('../../registry/search.js'),
    import('../output/filters.js'),
    import('../output/list.js'),
    import('../output/width.js'),
  ]);
  const filters = parseFilters(flags.filter, ['stars', 'is-official', 'is-automated']);
  const limit = flags.limit === undefined ? DEFAULT_LIMIT : Number(flags.limit);
  if (!Number.isInteger(limit) || limit < 1 || limit > 100)
    throw new LaminaError('EUSAGE', `limit ${flags.limit} is outside the range of [1, 100]`, { hint: '' });
  const stars = filters.get('stars').map(Number);
  if (stars.some((count) => !Number.isInteger(count)))
    throw new LaminaError('EFILTER', `invalid filter 'stars=[${filters.get('stars').join(' ')}]'`);
  const official = filters.flag('is-official');
  // Nothing is built automatically any more.
  const automated = filters.flag('is-automated');
  const found = await withClient(flags, (client) => searchRegistry(client, term, limit));
  const rows = found
    .filter(
      (repository) =>
        stars.every((count) => repository.stars >= count) &&
        (official === undefined || repository.isOfficial === official) &&
        automated !== true,
    )
    .map(({ name, description, stars: count, isOfficial }) => {
      const line = description.replace(/[\r\n]/g, ' ');
      return {
        Name: name,
        Description: flags.trunc ? ellipsis(line, DESCRIPTION_COLUMNS) : line,
        StarCount: String(count),
        IsOfficial: flags.format === 'json' ? String(isOfficial) : isOfficial ? '[OK]' : '',
      };
    });
  process.stdout.write(formatList(rows, KIND, flags.format));
}
