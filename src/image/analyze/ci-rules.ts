/**
 * dive's three rules for CI and what it says of them. Source: dive 0.13, cmd/dive/cli/internal/command/ci/rules.go and
 * internal/options/{ci,ci_rules}.go. Sizes are written as go-humanize reads them (bytes.go, ParseBytes).
 */
import { LaminaError } from '../../errors.js';
import type { Efficiency } from './efficiency.js';

export const CI_RULES = ['lowestEfficiency', 'highestWastedBytes', 'highestUserWastedPercent'] as const;

export type CiRule = (typeof CI_RULES)[number];

/** As written; `disabled`, `off`, `false` and nothing switch a rule off. */
export type CiThresholds = Readonly<Record<CiRule, string>>;

export const DEFAULT_CI_THRESHOLDS: CiThresholds = {
  lowestEfficiency: '0.9',
  highestWastedBytes: 'disabled',
  highestUserWastedPercent: '0.1',
};

export interface CiResult {
  rule: CiRule;
  status: 'PASS' | 'FAIL' | 'SKIP';
  /** The threshold, or by what it was missed. */
  message: string;
}

/** In the order of the rules' names, as dive lists them. Raises EUSAGE for a threshold that is none. */
export function evaluateRules(efficiency: Efficiency, thresholds: CiThresholds): CiResult[] {
  const results = CI_RULES.map((rule): CiResult => {
    const written = thresholds[rule];
    if (isDisabled(written)) return { rule, status: 'SKIP', message: 'disabled' };
    const threshold = rule === 'highestWastedBytes' ? bytesOf(rule, written) : ratioOf(rule, written);
    const failure = failureOf(rule, threshold, efficiency);
    return { rule, status: failure === undefined ? 'PASS' : 'FAIL', message: failure ?? written };
  });
  return results.sort((a, b) => (a.rule < b.rule ? -1 : 1));
}

/** Why the rule is not kept; undefined when it is. */
function failureOf(rule: CiRule, threshold: number, efficiency: Efficiency): string | undefined {
  const { score, wastedBytes, wastedUserPercent } = efficiency;
  switch (rule) {
    case 'lowestEfficiency':
      return threshold > score
        ? `image efficiency is too low (efficiency=${fixed(score)} < threshold=${threshold})`
        : undefined;
    case 'highestWastedBytes':
      return wastedBytes > threshold
        ? `too many bytes wasted (wasted-bytes=${wastedBytes} > threshold=${threshold})`
        : undefined;
    case 'highestUserWastedPercent':
      return wastedUserPercent > threshold
        ? `too many bytes wasted, relative to the user bytes added (%-user-wasted-bytes=${fixed(wastedUserPercent)} > threshold=${threshold})`
        : undefined;
  }
}

function isDisabled(written: string): boolean {
  return ['', 'disabled', 'off', 'false'].includes(written.trim().toLowerCase());
}

function ratioOf(rule: CiRule, written: string): number {
  const ratio = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(written) ? Number(written) : NaN;
  if (Number.isNaN(ratio)) throw invalid(rule, written, 'it is not a number');
  if (ratio < 0 || ratio > 1) throw invalid(rule, written, 'it must lie between 0 and 1');
  return ratio;
}

const BINARY_UNITS = ['', 'ki', 'mi', 'gi', 'ti', 'pi', 'ei'];
const DECIMAL_UNITS = ['', 'k', 'm', 'g', 't', 'p', 'e'];

/** `20MB`, `1.5 GiB`, `1,000`: a letter alone is decimal, as is `kB`; `Ki` and `KiB` are binary. */
function bytesOf(rule: CiRule, written: string): number {
  const match = /^([\d.,]+)(.*)$/.exec(written);
  const number = Number(match?.[1]!.replaceAll(',', '') ?? NaN);
  const unit = match?.[2]!.trim().toLowerCase().replace(/b$/, '') ?? '';
  const [binary, decimal] = [BINARY_UNITS.indexOf(unit), DECIMAL_UNITS.indexOf(unit)];
  if (Number.isNaN(number) || (binary < 0 && decimal < 0)) throw invalid(rule, written, 'it is not a size');
  return Math.floor(number * (decimal >= 0 ? 1000 ** decimal : 1024 ** binary));
}

function invalid(rule: CiRule, written: string, why: string): LaminaError {
  return new LaminaError('EUSAGE', `invalid ${rule} config value, given "${written}": ${why}`, {
    hint: 'Ratios lie between 0 and 1, sizes are written as 20MB or 1GiB, "disabled" switches a rule off.',
  });
}

/** Go's %2.2f. */
function fixed(value: number): string {
  return Number.isFinite(value) ? value.toFixed(2) : value === Infinity ? '+Inf' : 'NaN';
}
