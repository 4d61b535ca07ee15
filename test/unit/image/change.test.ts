/** `commit --change` by the rules of moby's builder (builder/dockerfile/dispatchers.go) and its tests' cases. */
import { describe, expect, test } from 'vitest';
import { applyChanges } from '../../../src/image/change.js';
import { LaminaError } from '../../../src/errors.js';

const BASE = {
  Env: ['PATH=/bin', 'HOME=/root'],
  Cmd: ['/bin/sh'],
  WorkingDir: '/srv',
  Unknown: { kept: true },
};

function changed(...changes: string[]): Record<string, unknown> {
  return applyChanges(BASE, changes);
}

describe('a change', () => {
  test.each<[change: string, field: string, value: unknown]>([
    ['CMD ["a", "b c"]', 'Cmd', ['a', 'b c']],
    ['CMD echo $PATH "x"', 'Cmd', ['/bin/sh', '-c', 'echo $PATH "x"']],
    ['cmd a', 'Cmd', ['/bin/sh', '-c', 'a']],
    ['CMD', 'Cmd', null],
    ['ENTRYPOINT ["/x"]', 'Entrypoint', ['/x']],
    ['ENTRYPOINT []', 'Entrypoint', null],
    ['ENV A=1', 'Env', ['PATH=/bin', 'HOME=/root', 'A=1']],
    ['ENV A 1 2', 'Env', ['PATH=/bin', 'HOME=/root', 'A=1 2']],
    [
      'ENV PATH=$PATH:/x A="two words" B=\'$PATH\'',
      'Env',
      ['PATH=/bin:/x', 'HOME=/root', 'A=two words', 'B=$PATH'],
    ],
    ['ENV A=1 B=$A', 'Env', ['PATH=/bin', 'HOME=/root', 'A=1', 'B=']],
    ['ENV A=${NONE:-x} B=${HOME:+y} C=a\\ b', 'Env', ['PATH=/bin', 'HOME=/root', 'A=x', 'B=y', 'C=a b']],
    [
      'EXPOSE 80 53/udp 8000-8001',
      'ExposedPorts',
      { '80/tcp': {}, '53/udp': {}, '8000/tcp': {}, '8001/tcp': {} },
    ],
    ['HEALTHCHECK NONE', 'Healthcheck', { Test: ['NONE'] }],
    [
      'HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f x',
      'Healthcheck',
      { Test: ['CMD-SHELL', 'curl -f x'], Interval: 90e9, Retries: 3 },
    ],
    ['LABEL a=b "c d"="e f"', 'Labels', { a: 'b', 'c d': 'e f' }],
    ['ONBUILD RUN x', 'OnBuild', ['RUN x']],
    ['STOPSIGNAL SIGTERM', 'StopSignal', 'SIGTERM'],
    ['USER 1000:1000', 'User', '1000:1000'],
    ['VOLUME ["/a b"]', 'Volumes', { '/a b': {} }],
    ['VOLUME /a /b', 'Volumes', { '/a': {}, '/b': {} }],
    ['WORKDIR x/../y', 'WorkingDir', '/srv/y'],
    ['WORKDIR /z', 'WorkingDir', '/z'],
    ['# a comment\nUSER \\\n  me', 'User', 'me'],
  ])('%s', (change, field, value) => {
    const config = changed(change);
    expect(config[field]).toEqual(value);
    expect(config['Unknown']).toEqual({ kept: true });
  });

  test('ENTRYPOINT takes the command of the image away, not one that was set with it', () => {
    expect(changed('ENTRYPOINT ["/x"]')).not.toHaveProperty('Cmd');
    expect(changed('CMD ["a"]', 'ENTRYPOINT ["/x"]')['Cmd']).toEqual(['a']);
  });

  test('the config that was given stays as it is', () => {
    const given = structuredClone(BASE);
    applyChanges(given, ['ENV A=1', 'LABEL a=b', 'CMD x']);
    expect(given).toEqual(BASE);
  });

  test.each([
    ['RUN x', 'run is not a valid change command'],
    ['FROM x', 'from is not a valid change command'],
    ['ENV', 'ENV requires at least one argument'],
    ['ENV A', 'ENV must have two arguments'],
    ['ENV =x', 'ENV names can not be blank'],
    ['ENV A=1 B', 'can\'t find = in "B"'],
    ['EXPOSE x', 'invalid containerPort: x'],
    ['EXPOSE 70000', 'invalid containerPort: 70000'],
    ['ONBUILD ONBUILD x', "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"],
    ['ONBUILD FROM x', "FROM isn't allowed as an ONBUILD trigger"],
    ['USER a b', 'USER requires exactly one argument'],
    ['HEALTHCHECK x', 'Unknown type "x" in HEALTHCHECK (try CMD)'],
    ['HEALTHCHECK --retry=1 CMD x', 'unknown flag: --retry'],
  ])('%s is refused', (change, message) => {
    const apply = (): unknown => changed(change);
    expect(apply).toThrow(LaminaError);
    expect(apply).toThrow(
      expect.objectContaining({ code: 'EUSAGE', message: expect.stringContaining(message) }),
    );
  });
});
