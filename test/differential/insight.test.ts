/**
 * Random stacks of layers: dive's score as we compute it against a computation by Python's tarfile; what each layer changes, and what
 * differs between two images, against directories that the layers were unpacked into.
 * LAMINA_DIFF_COUNT: how many stacks; LAMINA_DIFF_SEED: the first seed.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { escapeBytes } from '../../src/bytes.js';
import { ChangeCollector } from '../../src/image/analyze/changes.js';
import { DiveTreeBuilder } from '../../src/image/analyze/dive-tree.js';
import { efficiencyOf } from '../../src/image/analyze/efficiency.js';
import { diffViews } from '../../src/image/compare/diff.js';
import { mergeLayers } from '../../src/merge/merge.js';
import { scanTar } from '../../src/tar/scan.js';
import { dumpDifferences, parseDump } from '../helpers/dump-lines.js';
import { indexSources, withSources } from '../helpers/merged-dump.js';
import { Scratch } from '../helpers/overlay.js';
import { python } from '../helpers/python.js';
import { needs } from '../helpers/require.js';
import { layerTar } from '../helpers/stack.js';
import type { Stack } from '../helpers/stack.js';
import { withView } from '../helpers/view.js';
import { Oracle } from './oracle.js';
import { randomStack } from './random-stack.js';

const COUNT = Math.ceil(Number(process.env['LAMINA_DIFF_COUNT'] ?? 300) / 3);
const FIRST_SEED = Number(process.env['LAMINA_DIFF_SEED'] ?? 1);
const SEEDS = Array.from({ length: COUNT }, (_, index) => FIRST_SEED + index);
const TIMEOUT_MS = 60_000 + COUNT * 2_000;

interface DiveScore {
  efficiency: number;
  sizeBytes: number;
  userSizeBytes: number;
  wastedBytes: number;
  files: [path: string, count: number, sizeBytes: number][];
  layers: unknown;
}

const LETTERS = { added: 'A', removed: 'D', modified: 'M' } as const;

describe.skipIf(!needs('command python3'))("dive's score", () => {
  let scratch: Scratch;
  beforeAll(() => (scratch = new Scratch('dive-score')));
  afterAll(() => scratch.close());

  test(
    `of ${COUNT} random stacks from seed ${FIRST_SEED}`,
    async () => {
      let wasted = 0;
      for (const seed of SEEDS) {
        const tars = randomStack(seed).map(layerTar);
        const paths = tars.map((tar, index) => {
          const path = join(scratch.path, `${index}.tar`);
          writeFileSync(path, tar);
          return path;
        });
        const { layers: _, ...expected } = JSON.parse(await python('dive_score.py', paths)) as DiveScore;
        const found = await withSources(tars, scratch.path, (sources) =>
          efficiencyOf(
            sources.map((source) => {
              const builder = new DiveTreeBuilder();
              for (const entry of scanTar(source)) builder.add(entry);
              return builder.finish();
            }),
          ),
        );
        const files = found.inefficientFiles.map(({ path, count, sizeBytes }) => [path, count, sizeBytes]);
        expect(
          {
            efficiency: found.score,
            sizeBytes: found.sizeBytes,
            userSizeBytes: found.userSizeBytes,
            wastedBytes: found.wastedBytes,
            files: files.sort(),
          },
          `seed ${seed}`,
        ).toEqual({ ...expected, files: expected.files.sort() });
        wasted += found.wastedBytes;
      }
      expect(wasted).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );
});

describe.skipIf(!needs('root', 'kernel overlayfs', 'command python3'))('against unpacked layers', () => {
  let scratch: Scratch;
  let oracle: Oracle;

  beforeAll(() => {
    scratch = new Scratch('insight');
    const directory = join(scratch.path, 'oracle');
    mkdirSync(directory);
    oracle = new Oracle(directory);
  });
  afterAll(async () => {
    await oracle.close();
    scratch.close();
  });

  const unpacked = async (stack: Stack): Promise<string | undefined> => (await oracle.expect(stack))?.flat;

  test(
    `what each layer changes, of ${COUNT} random stacks from seed ${FIRST_SEED}`,
    async () => {
      let compared = 0;
      for (const seed of SEEDS) {
        const stack = randomStack(seed);
        const dumps: (string | undefined)[] = [];
        for (let count = 0; count <= stack.length; count++) dumps.push(await unpacked(stack.slice(0, count)));
        if (dumps.includes(undefined)) continue;
        const tars = stack.map(layerTar);
        await withSources(tars, scratch.path, (sources) => {
          const collector = new ChangeCollector();
          mergeLayers(indexSources(sources, tars), collector);
          for (const [index, changes] of collector.layers.entries()) {
            const [before, after] = [dumps[index]!, dumps[index + 1]!];
            const differing = dumpDifferences(before, after)
              // That a name more or less leads to a file is no change of its other names.
              .map((line) => line.replace(/,nlink$/, ''))
              .filter((line) => !line.endsWith(' nlink'))
              .map((line) => line.replace(/^M (\S+) .*/, 'M $1'));
            const found = changes.map(({ kind, path }) => `${LETTERS[kind]} ${escapeBytes(path)}`).sort();
            const shown = new Set(differing);
            const rewritten = found.filter((line) => !shown.has(line));
            expect(
              found.filter((line) => shown.has(line)),
              `seed ${seed} layer ${index}`,
            ).toEqual(differing.sort());
            // What was written again as it was: never a directory, and still there.
            const lines = parseDump(after);
            for (const line of rewritten) {
              expect(line, `seed ${seed} layer ${index}`).toMatch(/^M /);
              expect(lines.get(line.slice(2))?.type, `seed ${seed} layer ${index}: ${line}`).toMatch(
                /^[^d]$/,
              );
            }
            compared++;
          }
        });
      }
      expect(compared).toBeGreaterThan(COUNT / 2);
    },
    TIMEOUT_MS,
  );

  test(
    `what differs between two images, of ${COUNT} pairs from seed ${FIRST_SEED}`,
    async () => {
      let compared = 0;
      for (const seed of SEEDS) {
        const first = randomStack(seed);
        // Every other pair shares its lower layers, as images of one base do.
        const second =
          seed % 2 === 0 ? randomStack(seed + 1) : [...first.slice(0, -1), ...randomStack(seed + 1)];
        const [before, after] = [await unpacked(first), await unpacked(second)];
        if (before === undefined || after === undefined) continue;
        const found = await withView(first, (a) =>
          withView(second, (b) => {
            const side = (view: typeof a): Parameters<typeof diffViews>[0] => ({
              view,
              diffIds: view.toc.layers.map(({ diffId }) => diffId),
            });
            return diffViews(side(a), side(b)).map(
              ({ kind, path, changed }) =>
                `${LETTERS[kind]} ${escapeBytes(path)}${kind === 'modified' ? ` ${changed.join(',')}` : ''}`,
            );
          }),
        );
        expect(found.sort(), `seed ${seed}`).toEqual(dumpDifferences(before, after));
        compared++;
      }
      expect(compared).toBeGreaterThan(COUNT / 4);
    },
    TIMEOUT_MS,
  );
});
