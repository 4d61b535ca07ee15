/** /etc/hosts, /etc/hostname and /etc/resolv.conf of a container, kept in its bundle and mounted over its own. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Bundle } from './bundle.js';
import { bindMount } from './mounts.js';
import type { SpecMount } from './mounts.js';

const OWN_HOSTS = `127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
`;

/** With the host's network the host's names and servers hold too, as in docker. `extra`: `HOST:IP`. */
export function writeEtcFiles(
  { directory }: Bundle,
  network: 'host' | 'none',
  hostname: string,
  extra: readonly string[] = [],
): SpecMount[] {
  const hosts = network === 'host' ? readOr('/etc/hosts', OWN_HOSTS) : OWN_HOSTS;
  const added = extra.map((text) => {
    const at = text.indexOf(':');
    return `${text.slice(at + 1)}\t${text.slice(0, at)}\n`;
  });
  const files = {
    'resolv.conf': readOr('/etc/resolv.conf', ''),
    hostname: `${hostname}\n`,
    hosts: hosts + added.join(''),
  };
  return Object.entries(files).map(([name, content]) => {
    const file = path.join(directory, name);
    writeFileSync(file, content, { mode: 0o644 });
    return bindMount(file, `/etc/${name}`);
  });
}

function readOr(file: string, otherwise: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return otherwise;
  }
}
