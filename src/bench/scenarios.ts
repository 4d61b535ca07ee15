/** What is measured, as series of passes over one fresh mount each. */
import type { ByteString } from '../bytes.js';
import { bytesToBuffer } from '../bytes.js';
import { filesWithin, isLine, workOf } from './listing.js';
import type { LayerNames, ListedName } from './listing.js';
import type { BenchOptions, ScenarioName } from './options.js';
import { spread } from './statistics.js';
import type { Unit } from './statistics.js';
import type { Pass, Target, Work } from './subject.js';

/** What the kernel has forgotten before a pass: entries and attributes, also the pages, or nothing. */
export type Forgotten = 'names' | 'pages' | 'nothing';

export interface Step {
  /** `lookup-top-cold`; undefined: it only warms. */
  metric: string | undefined;
  title: string;
  /** us: for each operation; s: for the whole pass. */
  unit: Unit;
  pass: Pass;
  forgotten: Forgotten;
}

export interface Series {
  scenario: ScenarioName;
  target: Target;
  steps: Step[];
}

/** Sizes of what is done, with and without --quick. */
const SIZES = {
  full: { names: 2000, warmOperations: 20_000, files: Infinity, readBytes: Infinity, opens: 30_000 },
  quick: { names: 200, warmOperations: 2000, files: 1000, readBytes: 32 << 20, opens: 2000 },
} as const;
const SMALL_FILE_BYTES = 4096;

/** Writes a list into the bench's directory; -> its path. */
export type ListWriter = (name: string, paths: readonly ByteString[]) => string;

/** The series of one image. Scenarios for which it has nothing (no files, one layer) are left out. */
export function seriesOf(target: Target, options: BenchOptions, writeList: ListWriter): Series[] {
  return new SeriesBuilder(target, options, writeList).build();
}

class SeriesBuilder {
  readonly #sizes: (typeof SIZES)[keyof typeof SIZES];
  readonly #series: Series[] = [];

  constructor(
    private readonly target: Target,
    private readonly options: BenchOptions,
    private readonly writeList: ListWriter,
  ) {
    this.#sizes = options.quick ? SIZES.quick : SIZES.full;
  }

  build(): Series[] {
    this.#lookups();
    this.#walks();
    this.#reads();
    return this.#series.filter(({ scenario }) => this.options.only.includes(scenario));
  }

  /** The same, for an image that was made deeper: a look-up anywhere, and one in vain. */
  buildDepth(): Series[] {
    const { names, layerCount, missing } = this.target.listing;
    const found = names.filter(({ path }) => isLine(path));
    this.#lookup('depth', `depth-${layerCount}-hit`, `${layerCount} layers, name`, found);
    this.#miss('depth', `depth-${layerCount}-miss`, `${layerCount} layers, missing name`, missing);
    return this.#series;
  }

  #lookups(): void {
    const { byLayer, layerCount, missing } = this.target.listing;
    const whereOf = ({ layer }: LayerNames): string => `layer ${layer + 1} of ${layerCount}`;
    for (const place of ['top', 'middle', 'bottom'] as const) {
      const group = byLayer[place];
      if (group !== undefined)
        this.#lookup('lookup', `lookup-${place}`, `look-up, ${whereOf(group)}`, group.names);
    }
    this.#miss('lookup', 'lookup-miss', 'look-up, missing name', missing);
  }

  #lookup(scenario: ScenarioName, metric: string, title: string, all: readonly ListedName[]): void {
    const names = spread(all, this.#sizes.names);
    const list = this.#list(metric, names);
    this.#coldAndWarm(scenario, metric, title, 'stat', list, workOf(names));
  }

  #miss(scenario: ScenarioName, metric: string, title: string, all: readonly ByteString[]): void {
    const paths = spread(all, this.#sizes.names);
    const list = this.writeList(this.#fileName(metric), paths);
    this.#coldAndWarm(scenario, metric, title, 'negative', list, { operations: paths.length, bytes: 0 });
  }

  /** A warm pass goes through the list as often as a clock needs. */
  #coldAndWarm(
    scenario: ScenarioName,
    metric: string,
    title: string,
    command: 'stat' | 'negative',
    list: string,
    work: Work,
  ): void {
    if (work.operations === 0) return;
    const times = Math.ceil(this.#sizes.warmOperations / work.operations);
    const step = (warmth: 'cold' | 'warm', repeated: number): Step => ({
      metric: `${metric}-${warmth}`,
      title: `${title}, ${warmth}`,
      unit: 'us',
      forgotten: warmth === 'cold' ? 'names' : 'nothing',
      pass: {
        command,
        list,
        times: repeated,
        expected: { operations: work.operations * repeated, bytes: work.bytes * repeated },
      },
    });
    this.#series.push({ scenario, target: this.target, steps: [step('cold', 1), step('warm', times)] });
  }

  #walks(): void {
    const { names, skipped } = this.target.listing;
    const list = this.writeList(this.#fileName('skipped'), skipped);
    const all = workOf(names);
    const walks = [
      { scenario: 'find', title: 'find', command: 'walk', expected: { ...all, bytes: 0 } },
      { scenario: 'ls', title: 'ls -lR', command: 'list', expected: all },
    ] as const;
    for (const { scenario, title, command, expected } of walks) {
      const pass: Pass = { command, list, expected };
      const steps = (['cold', 'warm'] as const).map((warmth) => ({
        metric: `${scenario}-${warmth}`,
        title: `${title}, ${warmth}`,
        unit: 's' as const,
        forgotten: warmth === 'cold' ? ('names' as const) : ('nothing' as const),
        pass,
      }));
      this.#series.push({ scenario, target: this.target, steps });
    }
  }

  #reads(): void {
    const { files } = this.target.listing;
    const read = filesWithin(files, this.#sizes.readBytes, this.#sizes.files);
    const reading: Pass = { command: 'read-all', list: this.#list('read', read), expected: workOf(read) };
    const timed = { unit: 's', pass: reading } as const;
    if (read.length > 0)
      this.#series.push({
        scenario: 'read',
        target: this.target,
        steps: [
          { ...timed, metric: 'read-first', title: 'read all files, first', forgotten: 'pages' },
          { ...timed, metric: 'read-warm', title: 'read all files, warm', forgotten: 'nothing' },
        ],
      });

    const small = spread(
      files.filter(({ inode }) => inode.sizeBytes > 0 && inode.sizeBytes <= SMALL_FILE_BYTES),
      this.#sizes.names,
    );
    if (small.length === 0) return;
    const list = this.#list('open', small);
    const rounds = Math.ceil(this.#sizes.opens / small.length);
    const once = workOf(small);
    this.#series.push({
      scenario: 'open',
      target: this.target,
      steps: [
        {
          metric: undefined,
          title: 'warming',
          unit: 'us',
          forgotten: 'nothing',
          pass: { command: 'read-all', list, expected: once },
        },
        {
          metric: 'open-warm',
          title: 'open, read 4 KiB, close, warm',
          unit: 'us',
          forgotten: 'nothing',
          pass: {
            command: 'open-read-close',
            list,
            times: rounds * small.length,
            expected: { operations: rounds * once.operations, bytes: rounds * once.bytes },
          },
        },
      ],
    });
  }

  #list(name: string, names: readonly ListedName[]): string {
    return this.writeList(
      this.#fileName(name),
      names.map(({ path }) => path),
    );
  }

  #fileName(name: string): string {
    return `${this.target.label}-${name}.list`.replaceAll(/[^\w.-]/g, '_');
  }
}

/** As `seriesOf`, for an image that was made deeper. */
export function depthSeriesOf(target: Target, options: BenchOptions, writeList: ListWriter): Series[] {
  return new SeriesBuilder(target, options, writeList).buildDepth();
}

/** The bytes of a list: one path a line. */
export function listBytes(paths: readonly ByteString[]): Buffer {
  return bytesToBuffer(paths.map((path) => `${path}\n`).join(''));
}
