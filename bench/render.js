/**
 * `npm run bench:results`: writes bench/RESULTS.md from the raw samples in bench/results. Of each metric it takes the last
 * full run: the one in which most subjects took part, at least three rounds long where there is such a one.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { groupBy, REFERENCES, requestsOf } from './lib/report.js';
import { figure, median, spread } from './lib/stats.js';
import { PROJECT } from './lib/work.js';
import { SCENARIOS } from './scenarios/all.js';
import { SUBJECTS } from './subjects/index.js';

const ENOUGH_ROUNDS = 3;
const ORDER = SUBJECTS.map((subject) => subject.name);

const HEAD = `# Results

Made by \`npm run bench:results\` from \`results/*.jsonl\`; what was measured and how: README.md and the head of each scenario.
Medians of interleaved rounds on a machine that others use as well: compare within a row, not between rows or runs. Lower is
better everywhere. The column \`/ overlayfs\` is the median as a multiple of kernel overlayfs's, \`/ fuse-overlayfs\` likewise.
The spread is the largest deviation of a sample from its median, of the subject where it was largest.
`;

/** The samples of the run of one metric that is shown. */
function lastFullRun(samples) {
  const runs = [...groupBy(samples, (sample) => sample.date).values()];
  const subjectsIn = (run) => new Set(run.map((sample) => sample.subject)).size;
  const roundsIn = (run) => new Set(run.map((sample) => sample.round)).size;
  const widest = Math.max(...runs.map(subjectsIn));
  const whole = runs.filter((run) => subjectsIn(run) === widest);
  const rounds = Math.min(ENOUGH_ROUNDS, Math.max(...whole.map(roundsIn)));
  return whole
    .filter((run) => roundsIn(run) >= rounds)
    .sort((a, b) => a[0].date.localeCompare(b[0].date))
    .at(-1);
}

function environmentOf(samples) {
  const [{ date, commit, kernel, node, cpus, cpu, memoryGiB, loadBefore, nice, laminaOptions }] = samples;
  const rounds = new Set(samples.map((sample) => sample.round)).size;
  return `${date.slice(0, 16).replace('T', ' ')} UTC, commit ${commit}, Linux ${kernel}, Node ${node}, ${cpus} CPUs (${cpu}), ${memoryGiB} GiB, load ${loadBefore} before${laminaOptions === undefined ? '' : `, Lamina with ${laminaOptions.join(',')}`}${nice === undefined ? '' : `, nice ${nice}`}, ${rounds} round${rounds > 1 ? 's' : ''}`;
}

function row(metric, samples, subjects, references) {
  const values = new Map(
    [...groupBy(samples, (sample) => sample.subject)].map(([subject, own]) => [
      subject,
      own.map((sample) => sample.value),
    ]),
  );
  const cells = [metric];
  for (const subject of subjects) {
    const own = values.get(subject);
    cells.push(own === undefined ? '' : figure(median(own), samples[0].unit));
    if (!subject.startsWith('lamina')) continue;
    for (const reference of references) {
      const other = values.get(reference);
      cells.push(own && other ? (median(own) / median(other)).toFixed(2) : '');
    }
  }
  cells.push(`${(Math.max(...[...values.values()].map(spread)) * 100).toFixed(0)}%`);
  return cells;
}

const bySubjectOrder = (a, b) => ORDER.indexOf(a) - ORDER.indexOf(b);

/** A table for the metrics of a scenario that were taken in one run. */
function table(samples) {
  const subjects = [...new Set(samples.map((sample) => sample.subject))].sort(bySubjectOrder);
  const references = REFERENCES.filter((name) => subjects.includes(name));
  const head = [
    '',
    ...subjects.flatMap((subject) =>
      subject.startsWith('lamina') ? [subject, ...references.map((name) => `/ ${name}`)] : [subject],
    ),
    'spread',
  ];
  const metrics = groupBy(samples, (sample) =>
    samples.some((other) => other.metric === sample.metric && other.image !== sample.image)
      ? `${sample.metric} (${sample.image})`
      : sample.metric,
  );
  const lines = [head, head.map((_, column) => (column === 0 ? '---' : '---:'))];
  for (const [metric, own] of metrics) lines.push(row(metric, own, subjects, references));
  return [
    environmentOf(samples),
    '',
    ...lines.map((cells) => `| ${cells.join(' | ')} |`),
    '',
    ...requestLines(metrics),
  ];
}

/** What a scenario asked of Lamina: the same by either transport, so only the one that took more is listed. */
function requestLines(metrics) {
  const lines = [];
  for (const [metric, samples] of metrics) {
    const counted = samples.filter((sample) => sample.requests);
    if (counted.length > 0) lines.push(`- ${metric}: ${requestsOf(counted)}`);
  }
  return lines.length > 0 ? ['FUSE requests an operation (Lamina):', '', ...lines, ''] : [];
}

function scenarioBlock(scenario) {
  const file = join(PROJECT, 'bench/results', `${scenario.name}.jsonl`);
  if (!existsSync(file)) return [];
  const samples = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
  const shown = [...groupBy(samples, (sample) => `${sample.metric} ${sample.image}`).values()].flatMap(
    lastFullRun,
  );
  const tables = [...groupBy(shown, (sample) => sample.date).values()].flatMap(table);
  return [`### ${scenario.name}`, '', ...tables];
}

function render() {
  const lines = [HEAD];
  for (const [title, group] of [
    ['Reading', undefined],
    ['Writing', 'write'],
  ]) {
    const blocks = SCENARIOS.filter((scenario) => scenario.group === group).flatMap(scenarioBlock);
    if (blocks.length > 0) lines.push(`## ${title}`, '', ...blocks);
  }
  return `${lines.join('\n').trim()}\n`;
}

writeFileSync(join(PROJECT, 'bench/RESULTS.md'), render());
