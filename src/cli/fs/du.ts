/** `lamina fs du`: as GNU du. A directory itself takes up nothing in an image, and a hard link is counted once. */
import type { Command } from 'commander';
import type { ByteString } from '../../bytes.js';
import { LaminaError } from '../../errors.js';
import type { Located } from '../../merge/view.js';
import { imageCommand, readImage } from './image.js';
import type { JsonFlags, Reading } from './image.js';

interface DuFlags extends JsonFlags {
  all?: boolean;
  apparentSize?: boolean;
  bytes?: boolean;
  humanReadable?: boolean;
  maxDepth?: string;
  summarize?: boolean;
  total?: boolean;
}

export function register(parent: Command): void {
  imageCommand(parent, 'du', 'Print how much space files take up')
    .argument('[path...]')
    .option('-a, --all', 'Print files too, not only directories')
    .option('--apparent-size', 'Count sizes, not blocks: holes too')
    .option('-b, --bytes', 'As --apparent-size, in bytes')
    .option('-c, --total', 'Print a grand total')
    .option('-d, --max-depth <number>', 'Print only what is at most so deep')
    .option('-h, --human-readable', 'Print sizes as 1K 234M 2G')
    .option('--json', 'Print in JSON format')
    .option('-s, --summarize', 'Print only one total for each path')
    .action(async (image: string, paths: string[], flags: DuFlags) => {
      const maxDepth = depthOf(flags);
      await readImage(image, flags, (reading) => new Usage(reading, flags, maxDepth).print(paths));
    });
}

function depthOf({ maxDepth, summarize, all }: DuFlags): number {
  if (summarize === true) {
    if (all === true) throw new LaminaError('EUSAGE', 'cannot both summarize and show all entries');
    return 0;
  }
  if (maxDepth === undefined) return Infinity;
  if (!/^\d+$/.test(maxDepth)) throw new LaminaError('EUSAGE', `invalid maximum depth "${maxDepth}"`);
  return Number(maxDepth);
}

interface Line {
  path: ByteString;
  sizeBytes: number;
}

class Usage {
  readonly #counted = new Set<number>();

  constructor(
    private readonly reading: Reading,
    private readonly flags: DuFlags,
    private readonly maxDepth: number,
  ) {}

  async print(paths: readonly string[]): Promise<void> {
    const { view, out } = this.reading;
    const [{ argumentBytes, JsonArray, jsonName }, { humanSize }, { dataBlocks }, { joinPath }] =
      await Promise.all([
        import('./output.js'),
        import('./attributes.js'),
        import('../../merge/view-read.js'),
        import('../../merge/view.js'),
      ]);
    const isApparent = this.flags.apparentSize === true || this.flags.bytes === true;
    const lines: Line[] = [];
    const add = ({ ino, path }: Located, depth: number): number => {
      const { type, sizeBytes: length } = view.toc.inode(ino);
      if (type !== 'dir' && this.#counted.has(ino)) return 0;
      this.#counted.add(ino);
      let sizeBytes = isApparent ? length : dataBlocks(view.extents(ino)) * 512;
      for (const child of view.toc.entries(ino)) {
        sizeBytes += add({ ino: child.ino, path: joinPath(path, child.name) }, depth + 1);
      }
      const isShown = depth <= this.maxDepth && (type === 'dir' || this.flags.all === true || depth === 0);
      if (isShown) lines.push({ path, sizeBytes });
      return sizeBytes;
    };
    let total = 0;
    for (const path of paths.length === 0 ? ['/'] : paths.map(argumentBytes)) {
      // Once counted is not counted again, as du does: a path inside of one that came before adds nothing.
      const { ino } = view.locate(path, { follow: false, syscall: 'lstat' });
      total += add({ ino, path }, 0);
    }
    if (this.flags.json === true) {
      const json = new JsonArray(out);
      for (const { path, sizeBytes } of lines) await json.add({ ...jsonName('path', path), sizeBytes });
      await json.end();
      return;
    }
    const shown = (sizeBytes: number): string =>
      this.flags.humanReadable === true
        ? humanSize(sizeBytes)
        : String(this.flags.bytes === true ? sizeBytes : Math.ceil(sizeBytes / 1024));
    for (const { path, sizeBytes } of lines) await out.print(`${shown(sizeBytes)}\t${out.name(path)}\n`);
    if (this.flags.total === true) await out.print(`${shown(total)}\ttotal\n`);
  }
}
