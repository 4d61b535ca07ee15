import { expect, test } from 'vitest';
import { proxyFor } from '../../../src/registry/proxy.js';
import { isInsecure } from '../../../src/registry/settings.js';

const PROXY = { HTTPS_PROXY: 'http://proxy:3128', HTTP_PROXY: 'plain:80' };

// What is expected is golang.org/x/net/http/httpproxy's documentation of NO_PROXY.
test.each([
  ['https://example.com/', {}, 'http://proxy:3128/'],
  ['http://example.com/', {}, 'http://plain/'],
  ['https://localhost/', {}, undefined],
  ['https://127.0.0.5:5000/', {}, undefined],
  ['https://[::1]:5000/', {}, undefined],
  ['https://example.com/', { NO_PROXY: 'example.com' }, undefined],
  ['https://a.example.com/', { NO_PROXY: 'example.com' }, undefined],
  ['https://anexample.com/', { NO_PROXY: 'example.com' }, 'http://proxy:3128/'],
  ['https://example.com/', { NO_PROXY: '.example.com' }, 'http://proxy:3128/'],
  ['https://a.example.com/', { NO_PROXY: 'x, .example.com' }, undefined],
  ['https://a.example.com/', { no_proxy: '*.example.com' }, undefined],
  ['https://example.com:8443/', { NO_PROXY: 'example.com:443' }, 'http://proxy:3128/'],
  ['https://example.com/', { NO_PROXY: 'example.com:443' }, undefined],
  ['https://10.1.2.3/', { NO_PROXY: '10.0.0.0/8' }, undefined],
  ['https://11.1.2.3/', { NO_PROXY: '10.0.0.0/8' }, 'http://proxy:3128/'],
  ['https://example.com/', { NO_PROXY: '*' }, undefined],
])('%s with %o', (url, env, expected) => {
  expect(proxyFor(new URL(url), { ...PROXY, ...env })?.href).toBe(expected);
});

test('a proxy that is no URL is not shown: it may hold a password', () => {
  expect(() => proxyFor(new URL('https://a/'), { HTTPS_PROXY: 'http://me:secret@[' })).toThrow(
    expect.objectContaining({ code: 'EUSAGE', message: expect.not.stringContaining('secret') as string }),
  );
});

test.each([
  ['localhost:5000', [], undefined, true],
  ['127.3.4.5', [], undefined, true],
  ['[::1]:5000', [], undefined, true],
  ['example.com', [], undefined, false],
  ['example.com:5000', ['example.com:5000'], undefined, true],
  ['example.com:5001', ['example.com:5000'], undefined, false],
  ['10.0.0.7:5000', ['10.0.0.0/8'], undefined, true],
  ['11.0.0.7:5000', ['10.0.0.0/8'], undefined, false],
  ['[fd00::1]:5000', ['fd00::/8'], undefined, true],
  ['example.com', [], false, true],
  ['localhost:5000', [], true, false],
])('%s, insecure %o, --tls-verify=%s', (host, insecure, tlsVerify, expected) => {
  const settings = { insecure, mirrors: new Map(), ...(tlsVerify === undefined ? {} : { tlsVerify }) };
  expect(isInsecure(host, settings)).toBe(expected);
});
