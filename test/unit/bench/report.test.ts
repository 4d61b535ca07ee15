/** Tables, pictures, and that a subject which does other work is found out. */
import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { checkWork } from '../../../src/bench/measure.js';
import type { Sample } from '../../../src/bench/measure.js';
import { renderTable, summarize } from '../../../src/bench/report.js';
import type { BenchReport } from '../../../src/bench/report.js';
import type { Step } from '../../../src/bench/scenarios.js';
import { renderSvg } from '../../../src/bench/svg.js';
import { needs } from '../../helpers/require.js';

function sample(metric: string, subject: string, value: number, round = 0): Sample {
  const scenario = metric.split('-')[0]!;
  return {
    scenario,
    metric,
    title: `${scenario} <&> "x"`,
    subject,
    round,
    unit: 's',
    value,
    operations: 1,
    bytes: 0,
  };
}

const SAMPLES = [
  ...[2, 9, 1].map((value, round) => sample('find-cold', 'lamina', value, round)),
  ...[4, 4, 5].map((value, round) => sample('find-cold', 'overlayfs', value, round)),
  sample('read-warm', 'lamina', 0.5),
];

const REPORT: BenchReport = {
  version: 1,
  image: { name: 'a<b>&"c"\u0001', id: 'sha256:0', layers: 1, names: 1234, files: 1, bytes: 2_500_000 },
  machine: {
    date: '2026-01-01T00:00:00.000Z',
    lamina: '1.0.0',
    kernel: '6.18',
    node: 'v20',
    cpus: 2,
    cpu: 'CPU',
    memoryGiB: 8,
    filesystem: 'ext4',
    isRoot: true,
    cachesDropped: true,
    loadBefore: 0,
  },
  runs: 3,
  quick: false,
  reference: 'overlayfs',
  subjects: [
    { name: 'lamina', about: '/dev/fuse', preparation: { seconds: 0.25, bytes: 3_400_000 } },
    { name: 'overlayfs' },
    { name: 'fuse-overlayfs', reason: 'fuse-overlayfs is not installed' },
  ],
  results: summarize(SAMPLES, ['lamina', 'overlayfs'], 'overlayfs'),
  samples: SAMPLES,
};

test('medians, extremes, and ratios to the reference where it was measured', () => {
  expect(
    REPORT.results.map(({ metric, subject, median, min, max, ratio }) => [
      metric,
      subject,
      median,
      min,
      max,
      ratio,
    ]),
  ).toEqual([
    ['find-cold', 'lamina', 2, 1, 9, 0.5],
    ['find-cold', 'overlayfs', 4, 4, 5, 1],
    ['read-warm', 'lamina', 0.5, 0.5, 0.5, undefined],
  ]);
});

test('the table has a row for each metric and says who was left out and why', () => {
  const lines = renderTable(REPORT).split('\n');
  const row = (start: string): string[] =>
    lines
      .find((line) => line.startsWith(start))!
      .slice(start.length)
      .trim()
      .split(/\s{2,}/);
  expect(row('find <&> "x"')).toEqual(['2.00 s (0.50x)', '4.00 s']);
  expect(row('read <&> "x"')).toEqual(['500 ms', '-']);
  expect(row('before the first use')).toEqual(['250 ms, 3.4 MB', '-']);
  expect(lines).toContain('In parentheses: times that of overlayfs.');
  expect(lines).toContain('fuse-overlayfs was left out: fuse-overlayfs is not installed');
  expect(lines[0]).toMatch(/1 layer, 1,234 names, 2\.5 MB in 1 file$/);
});

describe.skipIf(!needs('command python3'))('the picture', () => {
  const READ = `import sys, json, xml.dom.minidom as m
d = m.parse(sys.stdin.buffer)
text = lambda e: "".join(n.data for n in e.childNodes)
json.dump({"texts": [text(e) for e in d.getElementsByTagName("text")],
  "bars": [float(e.getAttribute("width")) for e in d.getElementsByTagName("rect") if e.hasAttribute("rx")],
  "lowest": max(float(e.getAttribute("y")) for e in d.getElementsByTagName("text")),
  "height": float(d.documentElement.getAttribute("height"))}, sys.stdout)`;
  const picture = (): { texts: string[]; bars: number[]; lowest: number; height: number } =>
    JSON.parse(
      execFileSync('python3', ['-c', READ], { input: renderSvg(REPORT), encoding: 'utf8' }),
    ) as ReturnType<typeof picture>;

  test('is well-formed, whatever the image is called', () => {
    const { texts } = picture();
    expect(texts[0]).toBe('lamina bench a<b>&"c"?');
    expect(texts).toContain('2.00 s (0.50x)');
    expect(texts).toContain('4.00 s');
  });

  test('has bars as long as their medians, within the picture', () => {
    const { bars, lowest, height } = picture();
    expect(bars).toHaveLength(3);
    expect(bars[1]! / bars[0]!).toBeCloseTo(4 / 2, 1);
    expect(lowest).toBeLessThan(height);
  });
});

test('a subject that finds less, or reads less, fails the bench', () => {
  const pass = { command: 'read-all', expected: { operations: 3, bytes: 30 } } as const;
  const step: Step = { metric: 'read', title: 'read', unit: 's', forgotten: 'nothing', pass };
  expect(() => checkWork(step, { seconds: 1, operations: 3, bytes: 30 }, 'lamina')).not.toThrow();
  for (const done of [
    { operations: 2, bytes: 30 },
    { operations: 3, bytes: 29 },
  ])
    expect(() => checkWork(step, { seconds: 1, ...done }, 'lamina')).toThrow(
      expect.objectContaining({ code: 'EBENCH' }),
    );
});
