/** `RUN --mount=...` as it is written (Dockerfile reference, RUN --mount). */
import { LaminaError } from '../errors.js';
import { parseSize } from '../image/open.js';

export type RunMount =
  | { type: 'bind'; target: string; from: string | undefined; source: string; isWritable: boolean }
  | {
      type: 'cache';
      target: string;
      id: string;
      sharing: 'shared' | 'private' | 'locked';
      from: string | undefined;
      source: string;
      isReadOnly: boolean;
      mode: number;
      uid: number;
      gid: number;
    }
  | { type: 'tmpfs'; target: string; sizeBytes: number | undefined }
  | {
      type: 'secret';
      id: string;
      /** undefined: only in the environment. */
      target: string | undefined;
      env: string | undefined;
      isRequired: boolean;
      mode: number;
      uid: number;
      gid: number;
    };

const KEYS: Record<RunMount['type'], readonly string[]> = {
  bind: ['target', 'source', 'from', 'readwrite', 'readonly'],
  cache: ['target', 'id', 'source', 'from', 'readonly', 'readwrite', 'sharing', 'mode', 'uid', 'gid'],
  tmpfs: ['target', 'size'],
  secret: ['target', 'id', 'env', 'required', 'mode', 'uid', 'gid'],
};
const ALIASES: Record<string, string> = {
  dst: 'target',
  destination: 'target',
  src: 'source',
  rw: 'readwrite',
  ro: 'readonly',
};

/** Raises EBUILD. */
export function parseRunMount(text: string): RunMount {
  const values = new Map<string, string>();
  for (const part of text.split(',')) {
    const at = part.indexOf('=');
    const key = (at < 0 ? part : part.slice(0, at)).trim().toLowerCase();
    values.set(ALIASES[key] ?? key, at < 0 ? 'true' : part.slice(at + 1));
  }
  const type = values.get('type') ?? 'bind';
  values.delete('type');
  if (type === 'ssh') throw bad('mounts of type ssh are not supported');
  const known = Object.hasOwn(KEYS, type) ? KEYS[type as RunMount['type']] : undefined;
  if (known === undefined) throw bad(`unsupported mount type "${type}"`);
  for (const key of values.keys())
    if (!known.includes(key)) throw bad(`unexpected key '${key}' for mount type '${type}'`);
  const target = values.get('target');
  if (target === undefined && type !== 'secret') throw bad(`a mount of type ${type} needs a target`);
  const [from, source] = [values.get('from'), values.get('source')];
  const isTrue = (key: string): boolean | undefined => flag(values.get(key), key);
  const owner = { uid: number(values.get('uid'), 'uid'), gid: number(values.get('gid'), 'gid') };
  switch (type as RunMount['type']) {
    case 'bind': {
      const isWritable = isTrue('readwrite') ?? isTrue('readonly') === false;
      return { type: 'bind', target: target!, from, source: source ?? '/', isWritable };
    }
    case 'tmpfs': {
      const size = values.get('size');
      return {
        type: 'tmpfs',
        target: target!,
        sizeBytes: size === undefined ? undefined : parseSize(size, 'size'),
      };
    }
    case 'cache': {
      const sharing = values.get('sharing') ?? 'shared';
      if (sharing !== 'shared' && sharing !== 'private' && sharing !== 'locked')
        throw bad(`unsupported sharing value '${sharing}'`);
      return {
        ...{
          type: 'cache',
          target: target!,
          id: values.get('id') ?? target!,
          sharing,
          from,
          source: source ?? '/',
        },
        isReadOnly: isTrue('readonly') ?? false,
        mode: octal(values.get('mode'), 0o755),
        ...owner,
      };
    }
    case 'secret': {
      const env = values.get('env');
      const id = values.get('id') ?? target?.split('/').at(-1);
      if (id === undefined) throw bad('a secret needs an id or a target');
      const isFile = target !== undefined || env === undefined;
      return {
        ...{ type: 'secret', id, target: isFile ? (target ?? `/run/secrets/${id}`) : undefined, env },
        isRequired: isTrue('required') ?? false,
        mode: octal(values.get('mode'), 0o400),
        ...owner,
      };
    }
  }
}

function flag(text: string | undefined, key: string): boolean | undefined {
  if (text === undefined) return undefined;
  if (/^(true|1)$/i.test(text)) return true;
  if (/^(false|0)$/i.test(text)) return false;
  throw bad(`invalid value for ${key}: ${text}`);
}

function number(text: string | undefined, key: string): number {
  if (text === undefined) return 0;
  if (!/^\d{1,10}$/.test(text)) throw bad(`invalid value for ${key}: ${text}`);
  return Number(text);
}

function octal(text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  if (!/^[0-7]{1,5}$/.test(text)) throw bad(`invalid value for mode: ${text}`);
  return parseInt(text, 8) & 0o7777;
}

function bad(what: string): LaminaError {
  return new LaminaError('EBUILD', what, {
    hint: 'See: https://docs.docker.com/reference/dockerfile/#run---mount',
  });
}
