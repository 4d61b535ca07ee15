/** Reads containers' registries.conf (containers-registries.conf(5), containers-registries.conf.d(5)), of which short names are left aside: names are docker's here. */
import { readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { fromSystemError, LaminaError } from '../errors.js';
import { asObject } from '../oci/json.js';
import type { JsonObject } from '../oci/json.js';
import type { RegistryRule, RuleMirror } from './rules.js';

const SYSTEM = '/etc/containers';

/**
 * The file that CONTAINERS_REGISTRIES_CONF names alone, where it is set; else the user's and its drop-ins, where there is one, or the system's and
 * both their drop-ins. A later table takes the place of an earlier one of the same prefix. Raises EBADIMAGE, EACCES, ENOENT (of the one that is named).
 */
export async function readRegistriesConf(): Promise<RegistryRule[]> {
  const named = process.env.CONTAINERS_REGISTRIES_CONF;
  const texts = named ? [[named, read(named)!] as const] : found();
  const rules = new Map<string, RegistryRule>();
  for (const [file, text] of texts) for (const rule of await parse(file, text)) rules.set(rule.prefix, rule);
  return [...rules.values()];
}

function found(): (readonly [string, string])[] {
  const user = path.join(process.env.XDG_CONFIG_HOME || path.join(homedir(), '.config'), 'containers');
  const at = (directory: string): string => path.join(directory, 'registries.conf');
  const own = readIfThere(at(user));
  const [main, directories] =
    own === undefined ? ([SYSTEM, [SYSTEM, user]] as const) : ([user, [user]] as const);
  const files = [at(main), ...directories.flatMap((directory) => dropIns(`${at(directory)}.d`))];
  return files.flatMap((file) => {
    const text = file === at(user) ? own : readIfThere(file);
    return text === undefined ? [] : [[file, text] as const];
  });
}

function dropIns(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => name.endsWith('.conf'))
      .sort()
      .map((name) => path.join(directory, name));
  } catch {
    return [];
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return undefined;
    throw fromSystemError(error, 'cannot read', file);
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw fromSystemError(error, 'cannot read', file);
  }
}

async function parse(file: string, text: string): Promise<RegistryRule[]> {
  const { parse: parseToml, TomlError } = await import('smol-toml');
  let table: object;
  try {
    table = parseToml(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw new LaminaError('EBADIMAGE', `${file}, line ${error.line}: it is no TOML`, {
      path: file,
      hint: 'See containers-registries.conf(5).',
    });
  }
  const object = asObject(table, file);
  return [...firstVersion(object, file), ...object.objects('registry').map((entry) => ruleOf(entry, file))];
}

function ruleOf(entry: JsonObject, file: string): RegistryRule {
  const location = withoutSlash(entry.optionalString('location'));
  const prefix = withoutSlash(entry.optionalString('prefix')) || location;
  if (!prefix) throw entry.bad('location', 'neither a prefix nor a location is given');
  if (!location && !prefix.startsWith('*.'))
    throw entry.bad('location', `it is missing for the prefix "${prefix}"`);
  if (prefix.includes('*') && !/^\*\.[^/:@*]+$/.test(prefix))
    throw entry.bad('prefix', `"${prefix}": a * stands for subdomains, as in *.example.com`);
  const isByDigest = entry.optionalBoolean('mirror-by-digest-only') === true;
  return {
    ...{ prefix, file },
    location: location || undefined,
    isInsecure: entry.optionalBoolean('insecure') === true,
    isBlocked: entry.optionalBoolean('blocked') === true,
    mirrors: entry.objects('mirror').map((mirror) => mirrorOf(mirror, isByDigest)),
  };
}

function mirrorOf(mirror: JsonObject, isByDigest: boolean): RuleMirror {
  const takes = mirror.optionalString('pull-from-mirror') || 'all';
  if (takes !== 'all' && takes !== 'digest-only' && takes !== 'tag-only')
    throw mirror.bad('pull-from-mirror', `"${takes}" is none of all, digest-only and tag-only`);
  return {
    location: withoutSlash(mirror.string('location'))!,
    isInsecure: mirror.optionalBoolean('insecure') === true,
    takes: isByDigest ? 'digest-only' : takes,
  };
}

/** `[registries.insecure]` and `[registries.block]` of files that were never renewed. */
function firstVersion(object: JsonObject, file: string): RegistryRule[] {
  const old = object.optionalObject('registries');
  const listed = (key: string): string[] => old?.optionalObject(key)?.strings('registries') ?? [];
  const [insecure, blocked] = [new Set(listed('insecure')), new Set(listed('block'))];
  return [...new Set([...insecure, ...blocked])].map((prefix) => ({
    ...{ prefix, location: prefix, file, mirrors: [] },
    isInsecure: insecure.has(prefix),
    isBlocked: blocked.has(prefix),
  }));
}

function withoutSlash(text: string | undefined): string | undefined {
  return text?.replace(/\/+$/, '');
}
