/** `lamina analyze --ci`: dive's report to the letter (dive 0.13, cmd/dive/cli/internal/command/ci/evaluator.go), without its colours. */
import { readFile } from 'node:fs/promises';
import { fromSystemError, LaminaError } from '../../errors.js';
import type { Analysis } from '../../image/analyze/analyze.js';
import { CI_RULES, DEFAULT_CI_THRESHOLDS, evaluateRules } from '../../image/analyze/ci-rules.js';
import type { CiResult, CiThresholds } from '../../image/analyze/ci-rules.js';
import { jsonText } from '../fs/output.js';
import type { Output } from '../fs/output.js';
import type { AnalyzeFlags } from './index.js';

const DEFAULT_CONFIG = '.dive-ci';

/** A flag counts before the file, the file before the default. Raises EUSAGE, and ENOENT for a file that was named. */
export async function readRules(flags: AnalyzeFlags): Promise<CiThresholds> {
  const fromFile = await readConfig(flags.ciConfig);
  const thresholds = { ...DEFAULT_CI_THRESHOLDS };
  for (const rule of CI_RULES) thresholds[rule] = flags[rule] ?? fromFile[rule] ?? thresholds[rule];
  return thresholds;
}

async function readConfig(given: string | undefined): Promise<Partial<CiThresholds>> {
  const path = given ?? DEFAULT_CONFIG;
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (given === undefined && (error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw fromSystemError(error, 'cannot read', path);
  }
  const { parse } = await import('yaml');
  let config: unknown;
  try {
    // Every value as it is written: 0.90 stays 0.90 in the report.
    config = parse(text, { schema: 'failsafe' });
  } catch (error) {
    throw badConfig(path, String((error as Error).message).split('\n')[0]!, error);
  }
  const rules = fieldOf(config, 'rules');
  const found: Partial<Record<keyof CiThresholds, string>> = {};
  for (const rule of CI_RULES) {
    const value = fieldOf(rules, rule);
    if (value === undefined || value === '' || value === '~' || value === 'null') continue;
    if (typeof value !== 'string') throw badConfig(path, `"${rule}" must be one value`);
    found[rule] = value;
  }
  return found;
}

function fieldOf(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string, unknown>)[key];
}

function badConfig(path: string, why: string, cause?: unknown): LaminaError {
  return new LaminaError('EUSAGE', `${path} is not a file of CI rules: ${why}`, {
    path,
    cause,
    hint: 'It is YAML with a section "rules": lowestEfficiency, highestWastedBytes, highestUserWastedPercent.',
  });
}

/** Prints the report; returns whether the image passes. */
export async function printCi(
  { efficiency }: Analysis,
  thresholds: CiThresholds,
  asJson: boolean,
  out: Output,
): Promise<boolean> {
  const results = evaluateRules(efficiency, thresholds);
  const passes = !results.some(({ status }) => status === 'FAIL');
  if (asJson) {
    const { score, wastedBytes, wastedUserPercent } = efficiency;
    await out.print(
      `${jsonText({ pass: passes, efficiency: score, wastedBytes, wastedUserPercent, results })}\n`,
    );
    return passes;
  }
  const { inefficientFiles, score, wastedBytes, wastedUserPercent } = efficiency;
  const percent = (ratio: number): string => `${twoDigits(ratio * 100)} %`;
  const size = wastedBytes > 0 ? `(${humanizeBytes(wastedBytes)})` : '';
  await out.print('Analysis:\n');
  await out.print(`  efficiency:        ${percent(score)}\n`);
  await out.print(`  wastedBytes:       ${wastedBytes} bytes ${size}\n`);
  await out.print(`  userWastedPercent: ${wastedBytes > 0 ? percent(wastedUserPercent) : '0 %'}\n\n`);
  await out.print(`Inefficient Files:${inefficientFiles.length === 0 ? ' (None)' : ''}\n`);
  if (inefficientFiles.length > 0) await out.print('  Count  Wasted Space  File Path\n');
  for (const { path, count, sizeBytes } of inefficientFiles)
    await out.print(
      `  ${String(count).padEnd(5)}  ${humanizeBytes(sizeBytes).padEnd(12)}  ${out.name(path)}\n`,
    );
  await out.print('\nEvaluation:\n');
  for (const { rule, status, message } of results) await out.print(`  ${status}  ${rule} (${message})\n`);
  await out.print(`\n${passes ? 'PASS' : 'FAIL'} [${tally(results)}]\n`);
  return passes;
}

function tally(results: readonly CiResult[]): string {
  return (['PASS', 'FAIL', 'SKIP'] as const)
    .map((status) => ({ status, count: results.filter((result) => result.status === status).length }))
    .filter(({ count }) => count > 0)
    .map(({ status, count }) => `${status.toLowerCase()}:${count}`)
    .join(' ');
}

function twoDigits(value: number): string {
  return Number.isFinite(value) ? value.toFixed(2) : value === Infinity ? '+Inf' : 'NaN';
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];

/** go-humanize's Bytes: two significant digits below ten, whole numbers above. */
export function humanizeBytes(sizeBytes: number): string {
  if (sizeBytes < 10) return `${sizeBytes} B`;
  const power = Math.floor(Math.log(sizeBytes) / Math.log(1000) + 1e-12);
  const value = Math.floor((sizeBytes / 1000 ** power) * 10 + 0.5) / 10;
  return `${value.toFixed(value < 10 ? 1 : 0)} ${UNITS[power]}`;
}
