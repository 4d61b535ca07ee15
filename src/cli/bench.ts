/** `lamina bench`: how fast an image is through Lamina and through what else this machine has. */
import type { Command } from 'commander';
import type { BenchFlags } from '../bench/options.js';
import { fromSystemError } from '../errors.js';

interface Flags extends BenchFlags {
  json?: boolean;
  svg?: string;
}

export function register(program: Command): void {
  program
    .command('bench')
    .description('Measure an image through Lamina and through its peers')
    .argument('<image>')
    .option(
      '--against <list>',
      'Peers to compare with: overlayfs, fuse-overlayfs, plain (default all); ratios are to the first that can run',
    )
    .option('--depth <list>', 'Also look up names in the image made deeper, to these numbers of layers')
    .option('--json', 'Print in JSON format, with every sample')
    .option('--keep', 'Keep what was unpacked, and print where')
    .option('--no-drop-caches', "Do not empty the kernel's caches before what is cold (root)")
    .option('--only <list>', 'Measure only these: lookup, find, ls, read, open, depth')
    .option('--platform <string>', 'Choose an image of a multi-platform archive (os[/arch[/variant]])')
    .option('--quick', 'Once, with few names and bytes: shows that it works, not how fast it is')
    .option('--runs <number>', 'Rounds; the table has the medians (default 3)')
    .option('--svg <file>', 'Draw the result as a picture')
    .option('--work <dir>', 'Where to unpack what the peers need (default beside the store)')
    .action(async (image: string, flags: Flags) => run(image, flags));
}

/** As a shell shows an end by signal. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

async function run(image: string, flags: Flags): Promise<void> {
  const [{ bench }, { parseBenchOptions }, { renderTable }, { VERSION }] = await Promise.all([
    import('../bench/bench.js'),
    import('../bench/options.js'),
    import('../bench/report.js'),
    import('./version.js'),
  ]);
  const options = parseBenchOptions(flags);
  const abort = new AbortController();
  let exitCode: number | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    exitCode ??= SIGNALS[signal as keyof typeof SIGNALS];
    abort.abort();
  };
  for (const signal of Object.keys(SIGNALS)) process.on(signal, onSignal);
  const progress = progressLine();
  try {
    const report = await bench(image, options, {
      version: VERSION,
      signal: abort.signal,
      onProgress: progress.show,
      onKept: (directory) => process.stderr.write(`kept: ${directory}\n`),
    }).finally(progress.clear);
    if (flags.svg !== undefined) await writeSvg(flags.svg, report);
    process.stdout.write(
      flags.json === true ? `${JSON.stringify(report, undefined, 2)}\n` : renderTable(report),
    );
  } catch (error) {
    // An interrupt also ends the programs that were running: their failure is not news.
    if (exitCode === undefined) throw error;
    process.exitCode = exitCode;
  } finally {
    for (const signal of Object.keys(SIGNALS)) process.off(signal, onSignal);
  }
}

async function writeSvg(file: string, report: import('../bench/report.js').BenchReport): Promise<void> {
  const [{ renderSvg }, { writeFile }] = await Promise.all([
    import('../bench/svg.js'),
    import('node:fs/promises'),
  ]);
  try {
    await writeFile(file, renderSvg(report));
  } catch (error) {
    throw fromSystemError(error, 'cannot write', file);
  }
}

/** One line that changes in place, on a terminal only. */
function progressLine(): { show(done: number, total: number, what: string): void; clear(): void } {
  const stream = process.stderr;
  if (!stream.isTTY) return { show: () => {}, clear: () => {} };
  return {
    show(done, total, what) {
      const line = total === 0 ? what : `${done + 1}/${total}  ${what}`;
      stream.write(`\r\x1b[K${line.slice(0, (stream.columns || 80) - 1)}`);
    },
    clear: () => void stream.write('\r\x1b[K'),
  };
}
