/** From samples to medians and ratios, and to the table that people read. */
import type { MachineFacts } from './machine.js';
import type { Sample } from './measure.js';
import { figure, median, ratioText } from './statistics.js';
import type { Unit } from './statistics.js';
import type { Preparation } from './subject.js';

export interface SubjectReport {
  name: string;
  about?: string;
  /** Why it was left out. */
  reason?: string;
  preparation?: Preparation;
}

export interface Result {
  scenario: string;
  metric: string;
  title: string;
  subject: string;
  unit: Unit;
  median: number;
  min: number;
  max: number;
  /** Median as a multiple of the reference's; absent where that was not measured. */
  ratio?: number;
}

export interface BenchReport {
  version: 1;
  image: {
    name: string;
    id: string;
    layers: number;
    /** Names below the root that this user can reach. */
    names: number;
    files: number;
    /** Of the files' contents together. */
    bytes: number;
  };
  machine: MachineFacts;
  runs: number;
  quick: boolean;
  /** Subject that the ratios are to. */
  reference?: string;
  subjects: SubjectReport[];
  results: Result[];
  samples: Sample[];
}

/** In the order in which they were first measured; within a metric in that of `subjects`. */
export function summarize(
  samples: readonly Sample[],
  subjects: readonly string[],
  reference: string | undefined,
): Result[] {
  const results: Result[] = [];
  for (const metric of new Set(samples.map((sample) => sample.metric))) {
    const ofMetric = samples.filter((sample) => sample.metric === metric);
    const valuesOf = (subject: string): number[] =>
      ofMetric.filter((sample) => sample.subject === subject).map(({ value }) => value);
    const base = reference === undefined ? [] : valuesOf(reference);
    for (const subject of subjects) {
      const values = valuesOf(subject);
      if (values.length === 0) continue;
      const { scenario, title, unit } = ofMetric[0]!;
      results.push({
        ...{ scenario, metric, title, subject, unit },
        median: median(values),
        min: Math.min(...values),
        max: Math.max(...values),
        ...(base.length === 0 ? {} : { ratio: median(values) / median(base) }),
      });
    }
  }
  return results;
}

/** What the report is about and how it was taken, a line each. */
export function headLines({ image, machine, runs, quick }: BenchReport): string[] {
  const { kernel, cpus, cpu, memoryGiB, node, filesystem } = machine;
  return [
    `${image.name}: ${count(image.layers, 'layer')}, ${count(image.names, 'name')}, ${bytesText(image.bytes)} in ${count(image.files, 'file')}`,
    `Linux ${kernel}, ${count(cpus, 'CPU')} (${cpu}), ${memoryGiB} GiB, Node ${node}, ${filesystem}, Lamina ${machine.lamina}`,
    `medians of ${count(runs, 'run')}${quick ? ' with --quick, which show little' : ''}; lower is better; ${
      machine.cachesDropped
        ? 'caches emptied before cold and first'
        : 'caches not emptied: cold and first are only newly mounted'
    }`,
  ];
}

/** The table, with a line for each subject that was left out. */
export function renderTable(report: BenchReport): string {
  const shown = report.subjects.filter(({ reason }) => reason === undefined);
  const rows: string[][] = [['', ...shown.map(({ name }) => name)]];
  rows.push(['', ...shown.map(({ about = '' }) => about)]);
  for (const metric of new Set(report.results.map((result) => result.metric))) {
    const ofMetric = report.results.filter((result) => result.metric === metric);
    const cells = shown.map(({ name }) => {
      const result = ofMetric.find(({ subject }) => subject === name);
      if (result === undefined) return '-';
      const { ratio } = result;
      const suffix = ratio === undefined || name === report.reference ? '' : ` (${ratioText(ratio)})`;
      return `${figure(result.median, result.unit)}${suffix}`;
    });
    rows.push([ofMetric[0]!.title, ...cells]);
  }
  rows.push([
    'before the first use',
    ...shown.map(({ preparation: made }) =>
      made === undefined ? '-' : `${figure(made.seconds, 's')}, ${bytesText(made.bytes)}`,
    ),
  ]);
  const lines = [...headLines(report), '', ...aligned(rows), ''];
  if (report.reference !== undefined) lines.push(`In parentheses: times that of ${report.reference}.`);
  for (const { name, reason } of report.subjects)
    if (reason !== undefined) lines.push(`${name} was left out: ${reason}`);
  return `${lines.join('\n')}\n`;
}

function aligned(rows: readonly string[][]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
}

function count(number: number, what: string): string {
  return `${number.toLocaleString('en')} ${what}${number === 1 ? '' : 's'}`;
}

export function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let size = bytes;
  for (; size >= 1000 && unit < units.length - 1; unit++) size /= 1000;
  return `${Number(size.toPrecision(3))} ${units[unit]}`;
}
