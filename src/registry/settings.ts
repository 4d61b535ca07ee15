/**
 * How registries are reached: which may be spoken to without TLS, and who stands in for whom. The keys are those of docker's daemon.json
 * (`insecure-registries`, `registry-mirrors`); `mirrors` gives mirrors of other registries than Docker Hub. Later files add to
 * earlier ones.
 */
import { readFileSync } from 'node:fs';
import { BlockList, isIP } from 'node:net';
import { homedir } from 'node:os';
import path from 'node:path';
import { fromSystemError } from '../errors.js';
import { asObject, parseJson } from '../oci/json.js';
import { readRegistriesConf } from './registries-conf.js';
import type { RegistryRule } from './rules.js';

export interface RegistrySettings {
  /** `host[:port]` or CIDR. */
  insecure: readonly string[];
  /** By domain, as in `Reference.domain`; base URLs, tried in order before the registry itself. */
  mirrors: ReadonlyMap<string, readonly string[]>;
  /** Of containers' registries.conf. */
  rules?: readonly RegistryRule[];
  /** What the user says for this command: false allows plain http and any certificate, true allows neither anywhere. */
  tlsVerify?: boolean;
}

export const HUB = 'docker.io';
/** Where Docker Hub's registry is. */
const HUB_HOST = 'registry-1.docker.io';

/**
 * LAMINA_REGISTRIES alone where it is set, and then of containers' files only the one that is named as well. Raises EBADIMAGE for a file that is no
 * such thing, EACCES.
 */
export async function readSettings(tlsVerify?: boolean): Promise<RegistrySettings> {
  const isAlone = Boolean(process.env.LAMINA_REGISTRIES) && !process.env.CONTAINERS_REGISTRIES_CONF;
  const rules = isAlone ? [] : await readRegistriesConf();
  const files = process.env.LAMINA_REGISTRIES
    ? [process.env.LAMINA_REGISTRIES]
    : [
        '/etc/docker/daemon.json',
        '/etc/lamina/registries.json',
        path.join(
          process.env.XDG_CONFIG_HOME || path.join(homedir(), '.config'),
          'lamina',
          'registries.json',
        ),
      ];
  const insecure: string[] = [];
  const mirrors = new Map<string, string[]>();
  const addMirrors = (domain: string, urls: readonly string[]): void => {
    mirrors.set(domain, [...(mirrors.get(domain) ?? []), ...urls]);
  };
  for (const file of files) {
    const text = readIfThere(file);
    if (text === undefined) continue;
    const object = asObject(parseJson(text, file), file);
    insecure.push(...object.strings('insecure-registries'));
    addMirrors(HUB, object.strings('registry-mirrors'));
    const others = object.optionalObject('mirrors');
    for (const domain of others?.keys() ?? []) addMirrors(domain, others!.strings(domain));
  }
  return { insecure, mirrors, rules, ...(tlsVerify === undefined ? {} : { tlsVerify }) };
}

function readIfThere(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    // Docker's file is docker's; who may not read it does without.
    if (code === 'EACCES' && file.startsWith('/etc/')) return undefined;
    throw fromSystemError(error, 'cannot read', file);
  }
}

/** `host[:port]` that serves a domain. */
export function apiHost(domain: string): string {
  return domain === HUB ? HUB_HOST : domain;
}

/** Docker takes every registry on the loopback interface for insecure, too. */
export function isInsecure(host: string, { insecure, tlsVerify }: RegistrySettings): boolean {
  if (tlsVerify !== undefined) return !tlsVerify;
  const name = hostName(host);
  if (name === 'localhost' || LOOPBACK.check(name, isIP(name) === 6 ? 'ipv6' : 'ipv4')) return true;
  return insecure.some((entry) => {
    const slash = entry.indexOf('/');
    if (slash < 0) return entry === host || entry === name;
    const [network, bits] = [entry.slice(0, slash), Number(entry.slice(slash + 1))];
    const family = isIP(network) === 6 ? 'ipv6' : 'ipv4';
    if (isIP(network) === 0 || isIP(name) !== isIP(network) || !Number.isInteger(bits)) return false;
    const list = new BlockList();
    try {
      list.addSubnet(network, bits, family);
    } catch {
      return false;
    }
    return list.check(name, family);
  });
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Without port and brackets. */
export function hostName(host: string): string {
  return host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}
