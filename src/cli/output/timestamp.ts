/** Moments as docker's options take them (moby daemon/internal/timestamp, GetTimestamp). */
import { LaminaError } from '../../errors.js';

const UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};
const DURATION = /^([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)$/;
const DATE =
  /^(\d{4})-(\d{2})-(\d{2})(?:T(\d{2})(?::(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?)?(Z|[+-]\d{2}:\d{2})?$/;

/**
 * Milliseconds since the epoch: Unix seconds, a Go duration before `nowMs`, or a date with or without time and zone, local
 * where there is no zone. Raises EFILTER.
 */
export function parseTimestamp(text: string, nowMs = Date.now()): number {
  if (/^-?\d+(?:\.\d{1,9})?$/.test(text)) return Number(text) * 1000;
  const durationMs = parseDuration(text);
  if (durationMs !== undefined) return nowMs - durationMs;
  return parseDate(text) ?? fail(text);
}

/** Go's time.ParseDuration, in milliseconds; undefined where `text` is none. */
export function parseDuration(text: string): number | undefined {
  const [, sign, parts = ''] = DURATION.exec(text) ?? [];
  if (parts === '') return undefined;
  let durationMs = 0;
  for (const [, value, unit] of parts.matchAll(/([\d.]+)([^\d.]+)/g))
    durationMs += Number(value) * UNITS_MS[unit!]!;
  return sign === '-' ? -durationMs : durationMs;
}

function parseDate(text: string): number | undefined {
  const match = DATE.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour = '00', minute = '00', second = '00', fraction = '', zone = ''] = match;
  const at = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}${zone}`);
  const isReal =
    !Number.isNaN(at) && Number(day) <= new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate();
  return isReal ? at + Number(`0.${fraction || '0'}`) * 1000 : undefined;
}

function fail(text: string): never {
  throw new LaminaError('EFILTER', `invalid time "${text}"`, {
    hint: 'Give Unix seconds, a duration (10m, 1h30m), or a date (2006-01-02, 2006-01-02T15:04:05Z).',
  });
}
