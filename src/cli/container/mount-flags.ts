/** `-v`, `--tmpfs` and `--mount` (docker/cli: opts/mount.go; moby: volume/mounts). */
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { LaminaError } from '../../errors.js';
import type { ContainerMount } from '../../store/container-record.js';

const PROPAGATION = new Set(['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave']);

/** `HOST:CONTAINER[:OPTIONS]`, where HOST is made when it is missing, or `CONTAINER`. Raises EUSAGE. */
export function parseVolume(text: string): ContainerMount {
  const parts = text.split(':');
  if (parts.length === 1)
    return { type: 'volume', target: targetOf(text, text), readOnly: false, options: [] };
  const [source = '', target = '', words = ''] = parts;
  if (parts.length > 3 || source === '' || target === '') throw invalid(text, 'invalid volume specification');
  if (!/^(\/|\.\.?(\/|$))/.test(source)) throw noNamedVolume(source);
  const options = words.split(',').filter((word) => word !== '');
  const unknown = options.find(
    (word) => !['ro', 'rw', 'z', 'Z', 'nocopy'].includes(word) && !PROPAGATION.has(word),
  );
  if (unknown !== undefined) throw invalid(text, `invalid mode: ${unknown}`);
  const host = path.resolve(source);
  if (!existsSync(host)) mkdirSync(host, { recursive: true });
  return {
    type: 'bind',
    source: host,
    target: targetOf(target, text),
    readOnly: options.includes('ro'),
    options: options.filter((word) => PROPAGATION.has(word)),
  };
}

/** `CONTAINER[:OPTIONS]` */
export function parseTmpfs(text: string): ContainerMount {
  const at = text.indexOf(':');
  const [target, words] = at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
  const options = words.split(',').filter((word) => word !== '');
  return {
    type: 'tmpfs',
    target: targetOf(target, text),
    readOnly: options.includes('ro'),
    options: options.filter((word) => word !== 'ro' && word !== 'rw'),
  };
}

/** `type=bind,source=A,target=B,readonly` */
export function parseMountFlag(text: string): ContainerMount {
  const fields = new Map<string, string>();
  for (const field of text.split(',')) {
    const at = field.indexOf('=');
    fields.set((at < 0 ? field : field.slice(0, at)).toLowerCase(), at < 0 ? 'true' : field.slice(at + 1));
  }
  const take = (...names: string[]): string | undefined => {
    const name = names.find((each) => fields.has(each));
    const value = name === undefined ? undefined : fields.get(name);
    for (const each of names) fields.delete(each);
    return value;
  };
  const type = take('type') ?? 'volume';
  const source = take('source', 'src');
  const target = take('target', 'destination', 'dst');
  const readOnly = /^(true|1)$/i.test(take('readonly', 'ro') ?? 'false');
  const options: string[] = [];
  const propagation = take('bind-propagation');
  if (propagation !== undefined) options.push(propagation);
  const size = take('tmpfs-size');
  if (size !== undefined) options.push(`size=${size}`);
  const mode = take('tmpfs-mode');
  if (mode !== undefined) options.push(`mode=${mode}`);
  take('consistency');
  const [unknown] = fields.keys();
  if (unknown !== undefined)
    throw invalid(text, `unexpected key '${unknown}' in '${unknown}=${fields.get(unknown)}'`);
  if (target === undefined) throw invalid(text, 'target is required');
  const common = { target: targetOf(target, text), readOnly, options };
  if (type === 'tmpfs' && source === undefined) return { type, ...common };
  if (type === 'volume' && source === undefined) return { type, ...common };
  if (type === 'volume' && source !== undefined) throw noNamedVolume(source);
  if (type !== 'bind' || source === undefined)
    throw invalid(text, type === 'bind' ? 'source is required' : `mount type ${type} with source`);
  const host = path.resolve(source);
  if (!existsSync(host))
    throw new LaminaError(
      'EUSAGE',
      `invalid mount config for type "bind": bind source path does not exist: ${host}`,
    );
  return { type, source: host, ...common };
}

function targetOf(target: string, text: string): string {
  const clean = path.posix.normalize(target).replace(/(?<=.)\/$/, '');
  if (!target.startsWith('/')) throw invalid(text, `mount path must be absolute: '${target}'`);
  if (clean === '/') throw invalid(text, "destination can't be '/'");
  return clean;
}

function invalid(text: string, what: string): LaminaError {
  return new LaminaError('EUSAGE', `invalid argument "${text}": ${what}`, {
    hint: 'See: lamina run --help.',
  });
}

function noNamedVolume(name: string): LaminaError {
  return new LaminaError('EUSAGE', `there are no named volumes: "${name}"`, {
    hint: 'Give a directory of the host: an absolute path, or one that begins with "./".',
  });
}
