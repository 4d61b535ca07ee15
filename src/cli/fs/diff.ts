/** `lamina fs diff IMAGE1 IMAGE2 [PATH]`: what differs between the files and packages of two images. */
import type { Command } from 'commander';
import { LaminaError } from '../../errors.js';
import type { Aspect } from '../../image/compare/attributes.js';
import type { FileDifference, Side } from '../../image/compare/diff.js';
import type { PackageComparison } from '../../image/compare/packages/compare.js';
import type { OpenedImage } from '../../image/open.js';
import type { ImageView } from '../../merge/view.js';
import { readImage } from './image.js';
import type { JsonFlags } from './image.js';

export interface DiffFlags extends JsonFlags {
  exitCode?: boolean;
  ignore?: string[];
  nameOnly?: boolean;
  packages?: boolean;
  stat?: boolean;
}

const DESCRIPTION = `Show what differs between the files and packages of two images
Files are told apart by type, content, target (of a symbolic link), device, mode, owner, mtime, xattrs and nlink
(the number of names). A for what only the second image has, D for what only the first has, M for what differs. The
exit status is 0 whether they differ or not, as git diff's; with --exit-code it is 1 when they do.`;

export function register(parent: Command): void {
  parent
    .command('diff')
    .description(DESCRIPTION)
    .usage('[OPTIONS] IMAGE1 IMAGE2 [PATH]')
    .argument('<image1>')
    .argument('<image2>')
    .argument('[path]')
    .option('--exit-code', 'Exit with 1 when there are differences, 0 when there are none')
    .option(
      '--ignore <list>',
      IGNORE_HELP,
      (value: string, all: string[]) => [...all, ...value.split(',')],
      [],
    )
    .option('--json', 'Print in JSON format')
    .option('--name-only', 'Print only the paths')
    .option('--packages', 'Compare packages only')
    .option('--platform <string>', 'Choose an image of a multi-platform archive (os[/arch[/variant]])')
    .option('--stat', 'Print how sizes changed, and a summary')
    .option('--verify', 'Hash layers that are read in place before reading them')
    .action(async (first: string, second: string, path: string | undefined, flags: DiffFlags) => {
      const ignore = await ignoredAspects(flags.ignore ?? []);
      if (flags.packages === true && path !== undefined)
        throw new LaminaError('EUSAGE', '--packages compares whole images: it takes no path');
      if ([flags.stat, flags.nameOnly, flags.json].filter(Boolean).length > 1)
        throw new LaminaError('EUSAGE', '--stat, --name-only and --json cannot be used together');
      await readImage(first, flags, ({ opened: openedA, view: a }) =>
        readImage(second, flags, async ({ opened: openedB, view: b, out }) => {
          const [{ diffViews }, { printDifferences }, { argumentBytes }] = await Promise.all([
            import('../../image/compare/diff.js'),
            import('./diff-output.js'),
            import('./output.js'),
          ]);
          const files: FileDifference[] | undefined =
            flags.packages === true
              ? undefined
              : diffViews(sideOf(openedA, a), sideOf(openedB, b), {
                  ignore,
                  ...(path === undefined ? {} : { path: argumentBytes(path) }),
                });
          const packages = path === undefined && flags.nameOnly !== true ? await packagesOf(a, b) : [];
          await printDifferences(files, packages, flags, out);
          const differs = (files ?? []).length > 0 || packages.some((one) => one.differs);
          if (flags.exitCode === true && differs) process.exitCode = 1;
        }),
      );
    });
}

const IGNORE_HELP = `What does not count, separated by commas: type, content, target, device, mode,
owner, mtime, xattrs, nlink; "attributes" for the last five`;

const ATTRIBUTES: readonly Aspect[] = ['mode', 'owner', 'mtime', 'xattrs', 'nlink'];

async function ignoredAspects(names: readonly string[]): Promise<Set<Aspect>> {
  const { ASPECTS } = await import('../../image/compare/attributes.js');
  const ignored = new Set<Aspect>();
  for (const name of names) {
    const aspects = name === 'attributes' ? ATTRIBUTES : ASPECTS.filter((aspect) => aspect === name);
    if (aspects.length === 0)
      throw new LaminaError('EUSAGE', `"${name}" for --ignore is none of ${ASPECTS.join(', ')}, attributes`);
    for (const aspect of aspects) ignored.add(aspect);
  }
  return ignored;
}

function sideOf({ archived }: OpenedImage, view: ImageView): Side {
  return { view, diffIds: archived.layers.map(({ diffId }) => diffId) };
}

async function packagesOf(a: ImageView, b: ImageView): Promise<PackageComparison[]> {
  const { comparePackages, readPackages } = await import('../../image/compare/packages/compare.js');
  return comparePackages(await readPackages(a), await readPackages(b));
}
