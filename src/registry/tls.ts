/**
 * Certificates: whom to trust, and what to show of ourselves. For a host, directories `certs.d/HOST[:PORT]` hold `*.crt` (authorities to
 * trust), and pairs of `*.cert` and `*.key` (docker, docs/security/certificates; containers-certs.d(5)).
 */
import { readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { rootCertificates } from 'node:tls';
import { fromSystemError, LaminaError } from '../errors.js';

export interface HostCertificates {
  /** PEM, without the system's own. */
  authorities: string[];
  /** PEM, the first pair. */
  client: { cert: string; key: string } | undefined;
}

function directories(): string[] {
  const home = homedir();
  return [
    path.join(process.env.XDG_CONFIG_HOME || path.join(home, '.config'), 'containers', 'certs.d'),
    path.join(process.env.DOCKER_CONFIG || path.join(home, '.docker'), 'certs.d'),
    '/etc/containers/certs.d',
    '/etc/docker/certs.d',
  ];
}

/** Of all directories; the user's come first. Raises EACCES for what cannot be read, ENOENT for a certificate without key. */
export function hostCertificates(host: string, searched = directories()): HostCertificates {
  return directoryCertificates(searched.map((parent) => path.join(parent, host)));
}

/** Of a directory that somebody named. Raises ENOENT where it is not there, as well. */
export function namedCertificates(directory: string): HostCertificates {
  try {
    readdirSync(directory);
  } catch (error) {
    throw fromSystemError(error, 'cannot read', directory);
  }
  return directoryCertificates([directory]);
}

/** As `hostCertificates`, of directories that hold the files themselves. */
function directoryCertificates(searched: readonly string[]): HostCertificates {
  const found: HostCertificates = { authorities: [], client: undefined };
  for (const directory of searched) {
    for (const name of namesIn(directory)) {
      const file = path.join(directory, name);
      if (name.endsWith('.crt')) found.authorities.push(read(file));
      if (!name.endsWith('.cert') || found.client !== undefined) continue;
      const keyFile = file.replace(/\.cert$/, '.key');
      if (!namesIn(directory).includes(path.basename(keyFile)))
        throw new LaminaError('ENOENT', `missing key ${keyFile} for client certificate ${file}`, {
          path: keyFile,
          hint: 'Certificates of authorities are called *.crt, those of clients *.cert.',
        });
      found.client = { cert: read(file), key: read(keyFile) };
    }
  }
  return found;
}

/** As Go looks for them (crypto/x509, root_linux.go), so that what docker trusts is trusted here. */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** PEM of the authorities that everybody here trusts: the system's, or Node's own where the system has none. */
export function systemAuthorities(): string[] {
  const own = process.env.SSL_CERT_FILE;
  for (const file of own ? [own] : SYSTEM_BUNDLES) {
    try {
      return [readFileSync(file, 'utf8')];
    } catch {
      continue;
    }
  }
  return [...rootCertificates];
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') return [];
    throw fromSystemError(error, 'cannot read', directory);
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw fromSystemError(error, 'cannot read', file);
  }
}
