/** Which proxy a request goes through: HTTP_PROXY, HTTPS_PROXY and NO_PROXY as Go reads them (golang.org/x/net/http/httpproxy). */
import { BlockList, isIP } from 'node:net';
import { LaminaError } from '../errors.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** undefined: straight. Raises EUSAGE for a proxy that is no URL. */
export function proxyFor(url: URL, env: Environment = process.env): URL | undefined {
  const text =
    url.protocol === 'https:'
      ? env['HTTPS_PROXY'] || env['https_proxy']
      : env['HTTP_PROXY'] || env['http_proxy'];
  if (!text) return undefined;
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  // What the proxy would call localhost is another machine.
  if (host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.')))
    return undefined;
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  if (isExcepted(host, port, env['NO_PROXY'] || env['no_proxy'] || '')) return undefined;
  try {
    return new URL(text.includes('://') ? text : `http://${text}`);
  } catch {
    // It may hold a password: it is not shown.
    throw new LaminaError('EUSAGE', 'the proxy that the environment names is not a URL', {
      hint: 'Correct HTTP_PROXY or HTTPS_PROXY.',
    });
  }
}

function isExcepted(host: string, port: string, list: string): boolean {
  return list
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true;
      const [, name = '', wantedPort] = /^(.*?)(?::(\d+))?$/.exec(entry) ?? [];
      const isAddress = isIP(entry) !== 0;
      if (!isAddress && wantedPort !== undefined && wantedPort !== port) return false;
      const pattern = isAddress || wantedPort === undefined ? entry : name;
      if (pattern.includes('/')) return isInNetwork(host, pattern);
      if (pattern.startsWith('*.')) return host.endsWith(pattern.slice(1));
      if (pattern.startsWith('.')) return host.endsWith(pattern);
      return host === pattern || host.endsWith(`.${pattern}`);
    });
}

function isInNetwork(host: string, network: string): boolean {
  const [address = '', bits] = network.split('/');
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  if (isIP(host) === 0 || isIP(host) !== isIP(address)) return false;
  const list = new BlockList();
  try {
    list.addSubnet(address, Number(bits), family);
    return list.check(host, family);
  } catch {
    return false;
  }
}
