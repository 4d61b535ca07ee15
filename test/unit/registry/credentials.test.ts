import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { eraseCredentials, findCredentials, saveCredentials } from '../../../src/registry/credentials.js';
import { parseServer } from '../../../src/registry/login.js';

let base: string;
let config: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'lamina-credentials-'));
  config = join(base, 'docker', 'config.json');
  mkdirSync(join(base, 'docker'));
  vi.stubEnv('DOCKER_CONFIG', join(base, 'docker'));
  vi.stubEnv('REGISTRY_AUTH_FILE', '');
  vi.stubEnv('XDG_RUNTIME_DIR', join(base, 'run'));
  vi.stubEnv('XDG_CONFIG_HOME', join(base, 'config'));
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(base, { recursive: true, force: true });
});

const auth = (text: string): { auth: string } => ({ auth: Buffer.from(text).toString('base64') });
const write = (file: string, json: object): void => {
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, JSON.stringify(json));
};

/** `docker-credential-tests`, which keeps what it is told in a file, and what it was called with in another. */
function installHelper(): { kept: string; calls: string } {
  const [kept, calls] = [join(base, 'kept'), join(base, 'calls')];
  const script = join(base, 'docker-credential-tests');
  writeFileSync(
    script,
    `#!/bin/sh
echo "$@" >> ${calls}
case $1 in
  store) cat > ${kept};;
  get) cat > /dev/null; if [ -s ${kept} ]; then cat ${kept}; else echo "credentials not found in native keychain"; exit 1; fi;;
  erase) cat > /dev/null; : > ${kept};;
esac
`,
  );
  chmodSync(script, 0o755);
  vi.stubEnv('PATH', `${base}${delimiter}${process.env['PATH']}`);
  return { kept, calls };
}

describe('credentials', () => {
  test('of docker first, then of containers; the longest name of a repository counts', async () => {
    write(config, {
      auths: { 'one:5000': auth('docker:a:b'), 'https://index.docker.io/v1/': auth('hub:secret') },
    });
    write(join(base, 'run', 'containers', 'auth.json'), {
      auths: {
        'one:5000': auth('containers:x'),
        two: auth('two:x'),
        'two/team': auth('team:x'),
        'two/team/app': auth('app:x'),
      },
    });
    expect(await findCredentials('one:5000')).toEqual({ username: 'docker', password: 'a:b' });
    expect(await findCredentials('docker.io', 'library/x')).toEqual({ username: 'hub', password: 'secret' });
    expect(await findCredentials('two', 'team/app')).toMatchObject({ username: 'app' });
    expect(await findCredentials('two', 'team/other')).toMatchObject({ username: 'team' });
    expect(await findCredentials('two', 'teams/x')).toMatchObject({ username: 'two' });
    expect(await findCredentials('three')).toBeUndefined();
  });

  test('REGISTRY_AUTH_FILE comes before docker’s', async () => {
    write(config, { auths: { one: auth('docker:x') } });
    write(join(base, 'named.json'), { auths: { one: auth('named:x') } });
    vi.stubEnv('REGISTRY_AUTH_FILE', join(base, 'named.json'));
    expect(await findCredentials('one')).toMatchObject({ username: 'named' });
  });

  test('tokens, and keys that are URLs', async () => {
    write(config, {
      auths: {
        'https://old.example/v1/': auth('old:x'),
        id: { ...auth('me:'), identitytoken: 'IDENTITY' },
        bearer: { registrytoken: 'BEARER' },
        empty: {},
      },
    });
    expect(await findCredentials('old.example')).toMatchObject({ username: 'old' });
    expect(await findCredentials('id')).toMatchObject({ identityToken: 'IDENTITY' });
    expect(await findCredentials('bearer')).toEqual({ registryToken: 'BEARER' });
    expect(await findCredentials('empty')).toBeUndefined();
  });

  test('are written for their user alone, beside all else that is there, and taken away again', async () => {
    const real = join(base, 'real.json');
    write(real, { psFormat: 'x', auths: { other: auth('o:o') } });
    chmodSync(real, 0o644);
    symlinkSync(real, config);
    expect(await saveCredentials('one:5000', { username: 'me', password: 'pass' })).toBe(config);
    expect(JSON.parse(readFileSync(real, 'utf8'))).toEqual({
      psFormat: 'x',
      auths: { other: auth('o:o'), 'one:5000': auth('me:pass') },
    });
    expect(statSync(real).mode & 0o777).toBe(0o600);
    expect(await findCredentials('one:5000')).toEqual({ username: 'me', password: 'pass' });
    expect(await eraseCredentials('one:5000')).toBe(true);
    expect(await eraseCredentials('one:5000')).toBe(false);
    expect(JSON.parse(readFileSync(real, 'utf8'))).toEqual({ psFormat: 'x', auths: { other: auth('o:o') } });
  });

  test('a directory that is made for them is its user’s alone', async () => {
    vi.stubEnv('DOCKER_CONFIG', join(base, 'new', 'dir'));
    await saveCredentials('docker.io', { username: 'me', password: 'pass' });
    expect(statSync(join(base, 'new', 'dir')).mode & 0o777).toBe(0o700);
    expect(readFileSync(join(base, 'new', 'dir', 'config.json'), 'utf8')).toContain(
      'https://index.docker.io/v1/',
    );
  });

  test('of a helper, which is told by its standard input alone', async () => {
    const { kept, calls } = installHelper();
    write(config, { credHelpers: { 'one:5000': 'tests' } });
    expect(await findCredentials('one:5000')).toBeUndefined();
    await saveCredentials('one:5000', { username: 'me', password: 'open sesame' });
    expect(JSON.parse(readFileSync(kept, 'utf8'))).toEqual({
      ServerURL: 'one:5000',
      Username: 'me',
      Secret: 'open sesame',
    });
    expect(readFileSync(config, 'utf8')).not.toContain('sesame');
    expect(await findCredentials('one:5000')).toEqual({ username: 'me', password: 'open sesame' });
    await saveCredentials('one:5000', { username: 'me', identityToken: 'IDENTITY' });
    expect(await findCredentials('one:5000')).toEqual({ identityToken: 'IDENTITY' });
    expect(await eraseCredentials('one:5000')).toBe(true);
    expect(await findCredentials('one:5000')).toBeUndefined();
    expect(readFileSync(calls, 'utf8')).not.toMatch(/sesame|IDENTITY/);
  });

  test('a helper that is not there is an error that says so', async () => {
    write(config, { credsStore: 'not-installed' });
    await expect(findCredentials('one')).rejects.toMatchObject({
      code: 'EAUTH',
      message: 'error getting credentials: docker-credential-not-installed is not installed',
    });
    expect(existsSync(join(base, 'kept'))).toBe(false);
  });
});

test.each([
  [undefined, 'docker.io'],
  ['https://index.docker.io/v1/', 'docker.io'],
  ['registry-1.docker.io', 'docker.io'],
  ['localhost:5000', 'localhost:5000'],
  ['https://example.com/v2/', 'example.com'],
  ['[::1]:5000', '[::1]:5000'],
])('login to %s is to %s', (text, domain) => {
  expect(parseServer(text)).toBe(domain);
});
