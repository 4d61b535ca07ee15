/** What variables stand for: ARG before the first FROM, ARG and ENV in a stage, and what is there by itself (Dockerfile reference, ARG). */
import { environment } from '../image/expand.js';
import type { Lookup } from '../image/expand.js';
import { formatPlatform, hostPlatform } from '../oci/platform.js';
import type { Platform } from '../oci/platform.js';

/** Handed to RUN without an ARG, and no part of what a step depends on. */
const PROXIES = ['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY'].flatMap((name) => [
  name,
  name.toLowerCase(),
]);

export type BuildArgs = ReadonlyMap<string, string>;

/** BUILDPLATFORM, TARGETARCH and their like. */
export function platformArgs(target: Platform): Map<string, string> {
  const args = new Map<string, string>();
  for (const [prefix, platform] of [
    ['BUILD', hostPlatform()],
    ['TARGET', target],
  ] as const) {
    args.set(`${prefix}PLATFORM`, formatPlatform(platform));
    args.set(`${prefix}OS`, platform.os);
    args.set(`${prefix}ARCH`, platform.architecture);
    args.set(`${prefix}VARIANT`, platform.variant ?? '');
  }
  return args;
}

export interface DeclaredArg {
  name: string;
  /** undefined: declared without a value. */
  value: string | undefined;
}

/** The variables of one stage. */
export class Scope {
  /** What commands see: the config's environment and the arguments, whichever was set last. */
  readonly #env: Map<string, string>;
  readonly args: DeclaredArg[];

  /** @param parent the stage that this one continues: what it knew goes on, and holds the environment of its config already */
  constructor(env: readonly string[], parent?: Scope) {
    this.#env = new Map(parent === undefined ? [] : parent.#env);
    if (parent === undefined) for (const pair of env) this.setEnv(pair);
    this.args = [...(parent?.args ?? [])];
  }

  readonly lookup: Lookup = (name) => this.#env.get(name);

  /** `NAME=value` */
  setEnv(pair: string): void {
    const at = pair.indexOf('=');
    this.#env.set(pair.slice(0, at), pair.slice(at + 1));
  }

  declare(arg: DeclaredArg): void {
    const known = this.args.find(({ name }) => name === arg.name);
    if (known === undefined) this.args.push(arg);
    else known.value = arg.value;
    if (arg.value !== undefined) this.#env.set(arg.name, arg.value);
  }

  /** What a command of RUN sees: proxies that were given as arguments come with it. */
  environment(given: BuildArgs): string[] {
    const env = new Map(this.#env);
    for (const name of PROXIES)
      if (given.has(name) && !this.args.some((arg) => arg.name === name)) env.set(name, given.get(name)!);
    return [...env].map(([name, value]) => `${name}=${value}`);
  }

  /** The part of the environment that a command's result depends on. */
  get dependencies(): string[] {
    return [...this.#env].map(([name, value]) => `${name}=${value}`);
  }

  /** `|2 A=1 B=2 `, as history says which arguments a command saw. */
  get argsText(): string {
    if (this.args.length === 0) return '';
    const pairs = this.args.map(({ name, value }) => `${name}=${this.lookup(name) ?? value ?? ''}`);
    return `|${pairs.length} ${pairs.join(' ')} `;
  }
}

/** The arguments before the first FROM. */
export class GlobalScope {
  readonly #values: Map<string, string>;

  constructor(target: Platform, given: BuildArgs) {
    this.#values = platformArgs(target);
    for (const name of this.#values.keys()) if (given.has(name)) this.#values.set(name, given.get(name)!);
  }

  readonly lookup: Lookup = (name) => this.#values.get(name);

  set(name: string, value: string): void {
    this.#values.set(name, value);
  }
}

/** Of a config. */
export function configLookup(env: readonly string[]): Lookup {
  return environment(env);
}
