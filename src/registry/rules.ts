/**
 * What containers' registries.conf says of registries (containers-registries.conf(5)): names that are forbidden, that lie elsewhere than they say, or
 * that are read from mirrors. Forwarding is for reading alone; a push goes where its name says.
 */
import { LaminaError } from '../errors.js';
import { formatReference } from '../oci/reference.js';
import type { Reference } from '../oci/reference.js';

export interface RegistryRule {
  /** `host[:port][/path][:tag|@digest]`, or `*.host`. */
  prefix: string;
  /** What takes the place of the prefix; undefined: nothing does. */
  location: string | undefined;
  /** Plain http and any certificate will do. */
  isInsecure: boolean;
  isBlocked: boolean;
  mirrors: readonly RuleMirror[];
  /** Which says so. */
  file: string;
}

export interface RuleMirror {
  location: string;
  isInsecure: boolean;
  /** What may be read there: by tag, by digest. */
  takes: 'all' | 'digest-only' | 'tag-only';
}

/** A repository, or with a tag or digest less or more. */
export type RuleName = Pick<Reference, 'domain' | 'path'> & Partial<Pick<Reference, 'tag' | 'digest'>>;

/** The one with the longest prefix that the name has. */
export function ruleFor(name: RuleName, rules: readonly RegistryRule[]): RegistryRule | undefined {
  const text = textOf(name);
  return rules
    .map((rule) => ({ rule, length: matchLength(text, rule.prefix) }))
    .filter(({ length }) => length > 0)
    .sort((a, b) => b.length - a.length)[0]?.rule;
}

/** Of the whole registry: what holds where no repository is meant. */
export function domainRule(domain: string, rules: readonly RegistryRule[]): RegistryRule | undefined {
  return rules
    .filter(({ prefix }) => matchLength(domain, prefix) > 0)
    .sort((a, b) => b.prefix.length - a.prefix.length)[0];
}

/** Raises EREGISTRY for a name that may not be asked for. */
export function checkAllowed(rule: RegistryRule | undefined, name: RuleName): void {
  if (rule?.isBlocked !== true) return;
  throw new LaminaError('EREGISTRY', `${textOf(name)}: the registry is blocked in ${rule.file}`, {
    hint: `Whoever looks after this machine does not want it: prefix = "${rule.prefix}", blocked = true.`,
  });
}

/** The name with `location` in the place of the rule's prefix. Raises EBADIMAGE for what is no name then. */
export function relocated(name: RuleName, rule: RegistryRule, location: string): RuleName {
  const text = textOf(name);
  const moved = location + text.slice(matchLength(text, rule.prefix));
  const slash = moved.indexOf('/');
  const bare = moved
    .slice(slash + 1)
    .replace(/@.*$/, '')
    .replace(/:[^:/]*$/, '');
  const domain = moved.slice(0, Math.max(slash, 0));
  if (!/^[\w.-]+(:\d+)?$|^\[[0-9a-fA-F:]+\](:\d+)?$/.test(domain) || !/^[a-z0-9][a-z0-9._/-]*$/.test(bare))
    throw new LaminaError(
      'EBADIMAGE',
      `${rule.file}: ${JSON.stringify(location)} is no place of a registry`,
      {
        path: rule.file,
        hint: 'A location is HOST[:PORT][/PATH].',
      },
    );
  return { domain, path: bare, tag: name.tag, digest: name.digest };
}

function textOf(name: RuleName): string {
  return formatReference({ tag: undefined, digest: undefined, ...name });
}

/** How much of the name is the prefix; 0 when it does not begin so. */
function matchLength(text: string, prefix: string): number {
  if (prefix.startsWith('*.')) {
    const domain = text.split('/')[0]!;
    return domain.endsWith(prefix.slice(1)) ? domain.length : 0;
  }
  // What follows a host by itself is a port, and so another host: containers/image, which takes it for the same, calls that unintended.
  const isPart =
    text.startsWith(prefix) &&
    (prefix.includes('/') ? /^([/:@]|$)/ : /^(\/|$)/).test(text.slice(prefix.length));
  return isPart ? prefix.length : 0;
}
