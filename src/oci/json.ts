/**
 * JSON from outside, read strictly where we use it and tolerantly elsewhere: unknown fields are ignored, and an optional field may be
 * null (image-spec config.md; Go writes null for an empty slice). Every error says which document and which field.
 */
import { LaminaError } from '../errors.js';

/** Registries must take manifests of 4 MiB and may refuse larger ones (distribution-spec); no tool makes larger ones. */
export const DEFAULT_MAX_JSON_BYTES = 4 * 1024 * 1024;

/** Text from outside for a message: quoted, one line long at most, without control characters or changes of direction. */
export function quoted(text: string): string {
  const short = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}...` : text;
  // JSON.stringify escapes only what lies below U+0020.
  return JSON.stringify(short).replace(
    /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

const MAX_SHOWN = 200;

/** An object of a document, and where in it: `manifest sha256:..., layers[2]`. */
export class JsonObject {
  readonly #fields: Record<string, unknown>;

  constructor(
    fields: object,
    readonly where: string,
  ) {
    this.#fields = fields as Record<string, unknown>;
  }

  /** undefined where the field is absent or null. */
  get(key: string): unknown {
    return this.#fields[key] ?? undefined;
  }

  /** Names of all fields, whatever they hold. */
  keys(): string[] {
    return Object.keys(this.#fields);
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  optionalString(key: string): string | undefined {
    return this.#typed(key, 'string', 'a string');
  }

  string(key: string): string {
    return this.optionalString(key) ?? this.#missing(key);
  }

  optionalBoolean(key: string): boolean | undefined {
    return this.#typed(key, 'boolean', 'true or false');
  }

  optionalNumber(key: string): number | undefined {
    return this.#typed(key, 'number', 'a number');
  }

  /** A size in bytes: a whole number, not negative, below 2^53. */
  sizeBytes(key: string): number {
    const size = this.optionalNumber(key) ?? this.#missing(key);
    if (Number.isSafeInteger(size) && size >= 0) return size;
    throw this.bad(key, `${size} is not a size in bytes`);
  }

  optionalObject(key: string): JsonObject | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    return asObject(value, this.#at(key));
  }

  object(key: string): JsonObject {
    return this.optionalObject(key) ?? this.#missing(key);
  }

  /** Absent and null are an empty array. */
  array(key: string): unknown[] {
    const value = this.get(key) ?? [];
    if (Array.isArray(value)) return value as unknown[];
    throw this.bad(key, 'is not an array');
  }

  objects(key: string): JsonObject[] {
    return this.array(key).map((value, index) => asObject(value, `${this.#at(key)}[${index}]`));
  }

  strings(key: string): string[] {
    return this.optionalStrings(key) ?? [];
  }

  /** For fields where none and an empty list differ, as Cmd and Entrypoint. */
  optionalStrings(key: string): string[] | undefined {
    if (!this.has(key)) return undefined;
    return this.array(key).map((value, index) => {
      if (typeof value === 'string') return value;
      throw this.bad(`${key}[${index}]`, 'is not a string');
    });
  }

  /** An object of strings, such as annotations and labels. Values that are null are left out. */
  stringMap(key: string): ReadonlyMap<string, string> {
    const object = this.optionalObject(key);
    const map = new Map<string, string>();
    for (const name of object?.keys() ?? []) {
      const value = object!.optionalString(name);
      if (value !== undefined) map.set(name, value);
    }
    return map;
  }

  /** EBADIMAGE about a field. */
  bad(key: string, problem: string): LaminaError {
    return new LaminaError('EBADIMAGE', `${this.#at(key)}: ${problem}`);
  }

  #at(key: string): string {
    return `${this.where}, ${/^[\w.[\]]{1,100}$/.test(key) ? key : quoted(key)}`;
  }

  #missing(key: string): never {
    throw this.bad(key, 'is missing');
  }

  #typed<T>(key: string, type: string, expected: string): T | undefined {
    const value = this.get(key);
    // typeof is the check that makes this true: the caller's T and `type` are one and the same.
    if (value === undefined || typeof value === type) return value as T | undefined;
    throw this.bad(key, `is not ${expected}`);
  }
}

/** A whole document that must be an object. `what` names it. Raises EBADIMAGE, and ELIMIT when longer than `maxBytes`. */
export function parseJsonObject(bytes: Buffer, what: string, maxBytes = DEFAULT_MAX_JSON_BYTES): JsonObject {
  return asObject(parseJson(bytes, what, maxBytes), what);
}

/** Any JSON value. Bytes that are not UTF-8 become U+FFFD, as in Go. */
export function parseJson(bytes: Buffer, what: string, maxBytes = DEFAULT_MAX_JSON_BYTES): unknown {
  checkJsonSize(bytes.length, what, maxBytes);
  try {
    return JSON.parse(bytes.toString('utf8')) as unknown;
  } catch (cause) {
    // The parser's own message quotes the document, which may hold anything.
    throw new LaminaError('EBADIMAGE', `${what} is not valid JSON`, { path: what, cause });
  }
}

/** Raises ELIMIT when a document is too long to be read at all. */
export function checkJsonSize(sizeBytes: number, what: string, maxBytes: number): void {
  if (sizeBytes <= maxBytes) return;
  throw new LaminaError(
    'ELIMIT',
    `${what} has ${sizeBytes} bytes, more than maxJsonBytes (${maxBytes}) allows`,
    { path: what },
  );
}

/** Raises EBADIMAGE unless `value` is an object. */
export function asObject(value: unknown, where: string): JsonObject {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return new JsonObject(value, where);
  throw new LaminaError('EBADIMAGE', `${where} is not a JSON object`);
}
