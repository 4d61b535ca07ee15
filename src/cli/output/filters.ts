/** `--filter key=value` (docker/cli opts/opts.go FilterOpt; moby daemon/internal/filters). */
import { LaminaError } from '../../errors.js';
import { parseTimestamp } from './timestamp.js';

/** Values by key. Of one key's values one must fit, of different keys all. */
export class Filters {
  readonly #values: ReadonlyMap<string, readonly string[]>;

  constructor(values: ReadonlyMap<string, readonly string[]>) {
    this.#values = values;
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  get(key: string): readonly string[] {
    return this.#values.get(key) ?? [];
  }

  /** True where the key is not given, or one of its values fits. */
  some(key: string, fits: (value: string) => boolean): boolean {
    return !this.has(key) || this.get(key).some(fits);
  }

  every(key: string, fits: (value: string) => boolean): boolean {
    return this.get(key).every(fits);
  }

  /** Undefined where it is not given. Raises EFILTER. */
  flag(key: string): boolean | undefined {
    const values = new Set(this.get(key).map((value) => FLAGS[value]));
    if (values.size === 0) return undefined;
    if (values.size > 1 || values.has(undefined))
      throw new LaminaError('EFILTER', `invalid filter '${key}=[${this.get(key).join(' ')}]'`, {
        hint: `Give ${key}=true or ${key}=false.`,
      });
    return [...values][0];
  }

  /** Of `until`, milliseconds since the epoch. Raises EFILTER. */
  untilMs(nowMs = Date.now()): number | undefined {
    const [value, ...more] = this.get('until');
    if (more.length > 0) throw new LaminaError('EFILTER', 'more than one until filter specified');
    return value === undefined ? undefined : parseTimestamp(value, nowMs);
  }

  /** By `label=KEY[=VALUE]`, all of which must be there, and `label!=`, none. */
  labelsFit(labels: Readonly<Record<string, string>>): boolean {
    const isThere = (text: string): boolean => {
      const [key = '', wanted] = text.split(/=(.*)/s);
      return Object.hasOwn(labels, key) && (wanted === undefined || labels[key] === wanted);
    };
    return this.every('label', isThere) && this.every('label!', (text) => !isThere(text));
  }
}

const FLAGS: Readonly<Record<string, boolean>> = {
  '1': true,
  true: true,
  True: true,
  TRUE: true,
  t: true,
  T: true,
  '0': false,
  false: false,
  False: false,
  FALSE: false,
  f: false,
  F: false,
};

/** `flag` is as the help names it: `-f, --filter`. Raises EUSAGE, and EFILTER for a key that is not `known`. */
export function parseFilters(
  texts: readonly string[],
  known: readonly string[],
  flag = '-f, --filter',
): Filters {
  const values = new Map<string, string[]>();
  for (const text of texts) {
    if (text === '') continue;
    const [name = '', value] = text.split(/=(.*)/s);
    if (value === undefined)
      throw new LaminaError(
        'EUSAGE',
        `invalid argument "${text}" for "${flag}" flag: bad format of filter (expected name=value)`,
      );
    const key = name.trim().toLowerCase();
    if (!known.includes(key))
      throw new LaminaError('EFILTER', `invalid filter '${key}'`, {
        hint: `The filters are: ${known.join(' ')}.`,
      });
    values.set(key, [...(values.get(key) ?? []), value.trim()]);
  }
  return new Filters(values);
}
