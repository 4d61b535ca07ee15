/** `lamina images`, `lamina image ls`: docker's classic table, one line for each name (docker/cli cli/command/image/list.go, formatter/image.go). */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import type { ListedImage } from '../../image/list.js';
import type { Reference } from '../../oci/reference.js';
import type { Snapshot } from '../../store/snapshot.js';
import { gather } from '../output/gather.js';
import { openImages } from './images-store.js';
import { visibleLines } from '../output/visible.js';

interface Flags {
  all?: boolean;
  digests?: boolean;
  filter: string[];
  format?: string;
  trunc: boolean;
  quiet?: boolean;
  tree?: boolean;
}

export function register(parent: Command): void {
  const isGroup = parent.name() === 'image';
  const command = parent
    .command(isGroup ? 'ls' : 'images')
    .description('List images')
    .usage('[OPTIONS] [REPOSITORY[:TAG]]')
    .argument('[repository]')
    .option('-a, --all', 'Show all images (default hides intermediate and dangling images)')
    .option('--digests', 'Show digests')
    .option('-f, --filter <filter>', 'Filter output based on conditions provided', gather, [])
    .option(
      '--format <string>',
      'Format output using a custom template:\n"table": Print output in table format with column headers (default)\n"table TEMPLATE": Print output in table format using the given template\n"json": Print in JSON format\n"TEMPLATE": Print fields, as in "{{.Repository}}:{{.Tag}}"',
    )
    .option('--no-trunc', "Don't truncate output")
    .option('-q, --quiet', 'Only show image IDs')
    .option('--tree', 'List each image with all its names and its platform')
    .action(async (repository: string | undefined, flags: Flags) => {
      process.stdout.write(await list(repository, flags));
    });
  if (isGroup) command.alias('list');
}

const FILTERS = ['dangling', 'label', 'label!', 'before', 'since', 'reference', 'until'];

async function list(repository: string | undefined, flags: Flags): Promise<string> {
  const [store, { listImages }, { parseFilters }] = await Promise.all([
    openImages(),
    import('../../image/list.js'),
    import('../output/filters.js'),
  ]);
  if (flags.tree === true) refuseWithTree(flags);
  const filters = parseFilters(flags.filter, FILTERS);
  const snapshot = store.snapshot();
  const isDangling = filters.flag('dangling');
  const untilMs = filters.untilMs();
  const references = [...filters.get('reference'), ...(repository === undefined ? [] : [repository])];
  const listed = listImages(snapshot, {
    isAll: flags.all === true,
    ...(isDangling === undefined ? {} : { isDangling }),
    ...(untilMs === undefined ? {} : { untilMs }),
    labels: filters.get('label'),
    withoutLabels: filters.get('label!'),
    before: filters.get('before'),
    since: filters.get('since'),
    references,
  });
  warnOfDamage(snapshot);
  if (listed.length === 0 && repository !== undefined) hintAtCommand(repository);
  if (flags.tree === true) {
    const [{ formatTree, treeOf }, { createStyle }] = await Promise.all([
      import('./tree.js'),
      import('../output/style.js'),
    ]);
    const columns = process.stdout.isTTY ? process.stdout.columns : 0;
    return formatTree(await treeOf(store, listed), columns, createStyle(process.stdout));
  }
  const digests = flags.digests === true || /\.Digest\b/.test(flags.format ?? '');
  const lines = listed.flatMap((item) => linesOf(item, digests));
  const { formatList } = await import('../output/list.js');
  const { shortId } = await import('../output/ids.js');
  const idOf = ({ image }: Line): string => (flags.trunc ? shortId(image.imageId) : image.imageId);
  if (flags.quiet === true) return lines.map((line) => `${idOf(line)}\n`).join('');
  const row = await fieldsOf();
  const digestColumn = flags.digests === true ? '{{.Digest}}\t' : '';
  return formatList(
    lines.map((line) => row(line, idOf(line))),
    {
      table: `{{.Repository}}\t{{.Tag}}\t${digestColumn}{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}`,
      headings: HEADINGS,
      type: 'formatter.imageContext',
    },
    flags.format === 'raw' ? rawFormat(flags.digests === true) : flags.format,
  );
}

/** In docker's words, which calls --digests by the name of its variable. */
function refuseWithTree({ quiet, trunc, digests, format }: Flags): void {
  const refused = { quiet, 'no-trunc': !trunc, 'show-digest': digests, format: format !== undefined };
  for (const [name, isGiven] of Object.entries(refused))
    if (isGiven === true) throw new LaminaError('EUSAGE', `--${name} is not yet supported with --tree`);
}

const HEADINGS = {
  ID: 'IMAGE ID',
  Repository: 'REPOSITORY',
  Tag: 'TAG',
  Digest: 'DIGEST',
  CreatedSince: 'CREATED',
  CreatedAt: 'CREATED AT',
  Size: 'SIZE',
  Containers: 'CONTAINERS',
  VirtualSize: 'SIZE',
  SharedSize: 'SHARED SIZE',
  UniqueSize: 'UNIQUE SIZE',
};

function rawFormat(digests: boolean): string {
  return `repository: {{.Repository}}
tag: {{.Tag}}
${digests ? 'digest: {{.Digest}}\n' : ''}image_id: {{.ID}}
created_at: {{.CreatedAt}}
virtual_size: {{.Size}}
`;
}

/** A line of the table. */
interface Line {
  image: ListedImage['image'];
  repository: string;
  tag: string;
  digest: string;
}

const NONE = '<none>';

/** One for each tag; with digests, for each digest of its repository as well. A digest without a tag has a line of its own. */
function linesOf({ image, names }: ListedImage, digests: boolean): Line[] {
  const lines: Line[] = [];
  const line = (repository: string, tag = NONE, digest = NONE): void =>
    void lines.push({ image, repository, tag, digest });
  const repositories = new Map<string, Reference[]>();
  for (const name of names) {
    const key = repositoryOf(name);
    repositories.set(key, [...(repositories.get(key) ?? []), name]);
  }
  for (const [repository, ofOne] of repositories) {
    const tags = ofOne.flatMap(({ tag, digest }) => (digest === undefined ? (tag ?? []) : []));
    const known = ofOne.flatMap(({ digest }) => digest ?? []);
    if (tags.length === 0) for (const digest of known) line(repository, NONE, digest);
    for (const tag of tags)
      for (const digest of digests && known.length > 0 ? known : [NONE]) line(repository, tag, digest);
  }
  if (lines.length === 0) line(NONE);
  return lines;
}

function repositoryOf({ domain, path }: Reference): string {
  const name = domain === 'docker.io' ? path.replace(/^library\/(?=[^/]+$)/, '') : `${domain}/${path}`;
  return name;
}

async function fieldsOf(): Promise<(line: Line, id: string) => Record<string, unknown>> {
  const [{ formatAge, formatLocalTime }, { formatSize }] = await Promise.all([
    import('../output/times.js'),
    import('../output/sizes.js'),
  ]);
  const nowMs = Date.now();
  return ({ image, repository, tag, digest }, id) => {
    const size = formatSize(image.sizeBytes, 3);
    return {
      ID: id,
      Repository: repository,
      Tag: tag,
      Digest: digest,
      CreatedSince: image.createdMs < 0 ? '' : formatAge(image.createdMs, nowMs),
      CreatedAt: formatLocalTime(image.createdMs),
      Size: size,
      Containers: 'N/A',
      SharedSize: 'N/A',
      UniqueSize: 'N/A',
    };
  };
}

/** An image that cannot be read must not keep the others from being listed. */
function warnOfDamage({ damaged }: Snapshot): void {
  for (const { entry, error } of damaged)
    process.stderr.write(
      `lamina: warning: ${entry.descriptor.digest} cannot be read: ${visibleLines(error.message)}\n`,
    );
}

const COMMANDS = 'build history import inspect list load ls prune pull push rm save tag'.split(' ');

/** `lamina images ls` looks for an image called so. */
function hintAtCommand(word: string): void {
  if (COMMANDS.includes(word))
    process.stderr.write(`No images found matching "${word}": did you mean "lamina image ${word}"?\n`);
}
