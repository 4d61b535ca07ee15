/** Where samples go: a table for a person at the end, and every raw sample, appended, to bench/results/SCENARIO.jsonl. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { figure, median, spread } from './stats.js';
import { PROJECT } from './work.js';

/** What a figure depends on besides the code under test; holds no host names and no paths. */
export function environment() {
  const git = (...args) =>
    execFileSync('git', args, { cwd: PROJECT, encoding: 'utf8', stdio: 'pipe' }).trim();
  let commit;
  try {
    commit = git('rev-parse', '--short=12', 'HEAD');
    if (git('status', '--porcelain', '--untracked-files=no', '--', 'src', 'native') !== '')
      commit += '+changes';
  } catch {
    commit = 'unknown';
  }
  return {
    date: new Date().toISOString(),
    commit,
    kernel: release(),
    node: process.version,
    cpus: cpus().length,
    cpu: cpus()[0]?.model ?? 'unknown',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    loadBefore: Number(loadavg()[0].toFixed(2)),
  };
}

/** sample: { scenario, metric, image, subject, round, value, unit, operations?, serverSec?, requests? }. */
export function record(samples, about) {
  const directory = join(PROJECT, 'bench/results');
  mkdirSync(directory, { recursive: true });
  for (const sample of samples) {
    appendFileSync(
      join(directory, `${sample.scenario}.jsonl`),
      `${JSON.stringify({ ...about, ...sample })}\n`,
    );
  }
}

/** What others are held against, where a metric has it. */
export const REFERENCES = ['overlayfs', 'fuse-overlayfs', 'umoci-unpack', 'tar-tf + node-e-0'];

/** One block a metric and image, one line a subject: median, spread, and the ratio to each reference that took part. */
export function table(samples) {
  const lines = [];
  for (const [metric, ofMetric] of groupBy(samples, (sample) => `${sample.metric} (${sample.image})`)) {
    const subjects = groupBy(ofMetric, (sample) => sample.subject);
    const middle = (subject) => median(subjects.get(subject).map((sample) => sample.value));
    const references = REFERENCES.filter((name) => subjects.has(name));
    const counted = ofMetric.some((sample) => sample.serverSec !== undefined);
    const rows = [
      [
        metric,
        'median',
        'spread',
        ...references.map((name) => `/${name}`),
        'rounds',
        ...(counted ? ['server CPU', 'requests/op'] : []),
      ],
    ];
    for (const [subject, ofSubject] of subjects) {
      const values = ofSubject.map((sample) => sample.value);
      rows.push([
        `  ${subject}`,
        figure(median(values), ofSubject[0].unit),
        `${(spread(values) * 100).toFixed(0)}%`,
        ...references.map((name) => (median(values) / middle(name)).toFixed(2)),
        String(values.length),
        ...(counted ? [serverTimeOf(ofSubject), requestsOf(ofSubject)] : []),
      ]);
    }
    lines.push(...aligned(rows), '');
  }
  return lines.join('\n');
}

/** Processor time that the serving processes took, the median. */
function serverTimeOf(samples) {
  if (samples[0].serverSec === undefined) return '-';
  return figure(median(samples.map((sample) => sample.serverSec)), 's');
}

/** FUSE requests an operation, all and the frequent ones, of the sample in the middle. */
export function requestsOf(samples) {
  const counted = samples.filter((sample) => sample.requests);
  if (counted.length === 0) return '-';
  const { operations, requests } = counted.sort((a, b) => a.requests.total - b.requests.total)[
    counted.length >> 1
  ];
  const { total, ...kinds } = requests;
  const each = (count) => (count / operations).toFixed(2);
  const frequent = Object.entries(kinds)
    .sort(([, a], [, b]) => b - a)
    .filter(([, count]) => count / operations >= 0.05)
    .map(([name, count]) => `${name} ${each(count)}`);
  return [each(total), ...(frequent.length > 0 ? [`(${frequent.join(', ')})`] : [])].join(' ');
}

function aligned(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column])))
      .join('  '),
  );
}

export function groupBy(list, key) {
  const groups = new Map();
  for (const item of list) {
    if (!groups.has(key(item))) groups.set(key(item), []);
    groups.get(key(item)).push(item);
  }
  return groups;
}
