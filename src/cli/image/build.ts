/** `lamina build`, `lamina image build`, `lamina builder build` */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { BuildOptions } from '../../build/options.js';
import type { OpenedImage } from '../../image/open.js';
import { LaminaError } from '../../errors.js';
import { sourceDateEpoch } from '../epoch.js';
import { gather } from '../output/gather.js';
import { openImages } from './images-store.js';

interface Flags {
  tag: string[];
  file?: string;
  cache: boolean;
  squash?: boolean;
  buildArg: string[];
  target?: string;
  label: string[];
  platform?: string;
  pull?: boolean;
  quiet?: boolean;
  iidfile?: string;
  progress: string;
  secret: string[];
  network: string;
  addHost: string[];
}

export function register(parent: Command): void {
  parent
    .command('build')
    .description('Build an image from a Dockerfile')
    .usage('[OPTIONS] PATH | URL | -')
    .argument('<context>')
    .option('--add-host <list>', 'Add a custom host-to-IP mapping ("host:ip")', gather, [])
    .option('--build-arg <list>', 'Set build-time variables', gather, [])
    .option('-f, --file <string>', 'Name of the Dockerfile (default: "PATH/Dockerfile")')
    .option('--force-rm', 'Accepted without effect: no container stays')
    .option('--iidfile <string>', 'Write the image ID to a file')
    .option('--label <list>', 'Set metadata for an image', gather, [])
    .option('--network <string>', 'Network of RUN: "default", "host" or "none"', 'default')
    .option('--no-cache', 'Do not use cache when building the image')
    .option('--platform <string>', 'Set the target platform (os[/arch[/variant]])')
    .option('--progress <string>', 'Set type of progress output ("auto", "plain", "quiet")', 'auto')
    .option('--pull', 'Always attempt to pull the images that FROM names')
    .option('-q, --quiet', 'Suppress the build output and print image ID on success')
    .option('--rm', 'Accepted without effect: no container stays', true)
    .option(
      '--secret <list>',
      'Secret to expose to the build (id=NAME,src=FILE or id=NAME,env=VARIABLE)',
      gather,
      [],
    )
    .option('--squash', 'Squash newly built layers into a single new layer')
    .option('-t, --tag <list>', 'Name and optionally a tag ("name:tag")', gather, [])
    .option('--target <string>', 'Set the target build stage to build')
    .action(async (place: string, flags: Flags) => run(place, flags));
}

async function run(place: string, flags: Flags): Promise<void> {
  const [
    { withContext },
    { buildImage },
    { parseTagName },
    { plainProgress, quietProgress },
    platforms,
    store,
  ] = await Promise.all([
    import('../../build/context.js'),
    import('../../build/build.js'),
    import('../../image/tag.js'),
    import('../output/build-progress.js'),
    import('../../oci/platform.js'),
    openImages(),
  ]);
  if (!['auto', 'plain', 'quiet', 'tty'].includes(flags.progress))
    throw new LaminaError('EUSAGE', `invalid progress mode "${flags.progress}"`);
  const isQuiet = flags.quiet === true || flags.progress === 'quiet';
  const platform = flags.platform ?? (process.env.DOCKER_DEFAULT_PLATFORM || undefined);
  const abort = new AbortController();
  const args = pairs(flags.buildArg);
  const options: BuildOptions = {
    store,
    names: flags.tag.map(parseTagName),
    target: flags.target,
    args,
    labels: flags.label.map((text) => split(text)),
    platform: platform === undefined ? platforms.hostPlatform() : platforms.parsePlatform(platform),
    noCache: !flags.cache,
    squash: flags.squash === true,
    network: network(flags.network),
    addHosts: flags.addHost,
    secrets: secrets(flags.secret),
    epochSec: epoch(args),
    openImage: (name, wanted) => openBase(name, wanted ?? platform, flags.pull === true),
    progress: isQuiet ? quietProgress() : plainProgress(process.stderr),
    abort: abort.signal,
  };
  const cancel = (signal: NodeJS.Signals): void => {
    process.exitCode = signal === 'SIGINT' ? 130 : 143;
    abort.abort();
  };
  process.once('SIGINT', cancel).once('SIGTERM', cancel);
  try {
    const imageId = await withContext({ root: store.root, place, file: flags.file }, async (context) => {
      try {
        return (await buildImage(context, options)).imageId;
      } catch (error) {
        await explain(error, context.dockerfile);
        throw error;
      }
    });
    if (flags.iidfile !== undefined) writeFileSync(flags.iidfile, imageId);
    if (isQuiet || flags.tag.length === 0) process.stdout.write(`${imageId}\n`);
  } finally {
    process.off('SIGINT', cancel).off('SIGTERM', cancel);
  }
}

/** What the command printed last, and where it stands in the Dockerfile. */
async function explain(error: unknown, dockerfile: { file: string; text: string }): Promise<void> {
  const { quoteLines, StepError } = await import('../../build/errors.js');
  if (!(error instanceof StepError)) return;
  const { output, step, line, endLine } = error;
  if (step !== '') process.stderr.write(['------', ` > ${step}`, ...output, '------', ''].join('\n'));
  process.stderr.write(`${quoteLines(dockerfile, line, endLine)}\n`);
}

async function openBase(name: string, platform: string | undefined, isFresh: boolean): Promise<OpenedImage> {
  const [{ openImage }, { openOrPull }] = await Promise.all([
    import('../../image/open.js'),
    import('../registry/on-demand.js'),
  ]);
  const wanted = platform === undefined ? {} : { platform };
  if (/^(docker-archive|oci|oci-archive):/.test(name)) return openImage(name, wanted);
  // FROM names images, never files that lie about.
  const open = (): Promise<OpenedImage> => openImage(`store:${name}`, wanted);
  return openOrPull(name, platform, open, isFresh ? 'always' : 'missing');
}

function network(text: string): 'host' | 'none' {
  if (text === 'default' || text === 'host') return 'host';
  if (text === 'none') return 'none';
  throw new LaminaError('EUSAGE', `invalid network "${text}"`, { hint: 'Give default, host or none.' });
}

/** `NAME=value`; `NAME` alone takes the value of the environment, and is not set where that has none. */
function pairs(texts: readonly string[]): Map<string, string> {
  return new Map(
    texts.flatMap((text) => {
      if (text.includes('=')) return [split(text)];
      const value = process.env[text];
      return value === undefined ? [] : [[text, value] as [string, string]];
    }),
  );
}

function split(text: string): [string, string] {
  const at = text.indexOf('=');
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

/** Also as an argument of the build, as docker takes it. */
function epoch(args: ReadonlyMap<string, string>): number | undefined {
  const text = args.get('SOURCE_DATE_EPOCH');
  return text !== undefined && /^\d{1,12}$/.test(text) ? Number(text) : sourceDateEpoch();
}

function secrets(texts: readonly string[]): (id: string) => Buffer | undefined {
  const known = new Map(
    texts.map((text) => {
      const fields = new Map(text.split(',').map(split));
      const id = fields.get('id');
      if (id === undefined || id === '')
        throw new LaminaError('EUSAGE', `invalid secret "${text}": it has no id`);
      return [id, fields];
    }),
  );
  return (id) => {
    const fields = known.get(id);
    if (fields === undefined) return undefined;
    const file = fields.get('src') ?? fields.get('source');
    const variable =
      fields.get('env') ?? (file === undefined && process.env[id] !== undefined ? id : undefined);
    if (variable !== undefined && fields.get('type') !== 'file')
      return Buffer.from(process.env[variable] ?? '');
    try {
      return readFileSync(file ?? id);
    } catch (cause) {
      throw new LaminaError('ENOENT', `secret ${id}: cannot read ${file ?? id}`, { cause, path: file ?? id });
    }
  };
}
