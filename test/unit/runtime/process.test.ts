/** What a process is to be: its user, environment, capabilities and filter. Expected values are docker's documentation's. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { capabilitySet } from '../../../src/runtime/capabilities.js';
import { processEnvironment } from '../../../src/runtime/environment.js';
import { runtimeError } from '../../../src/runtime/execute.js';
import { findRuntime, runtimeAt } from '../../../src/runtime/find.js';
import { findInRoot, makeDirectoryInRoot, resolveInRoot } from '../../../src/runtime/in-root.js';
import { convert, seccompFilter } from '../../../src/runtime/seccomp.js';
import { ownProfile } from '../../../src/runtime/seccomp-own.js';
import { resolveUser } from '../../../src/runtime/user.js';
import { GROUP, PASSWD } from '../../helpers/busybox-root.js';

const root = mkdtempSync(join(tmpdir(), 'lamina-root-'));
mkdirSync(join(root, 'etc'));
writeFileSync(join(root, 'etc/passwd'), PASSWD);
writeFileSync(join(root, 'etc/group'), GROUP);
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe('resolveUser', () => {
  it.each([
    ['', { uid: 0, gid: 0, home: '/root', additionalGids: [] }],
    ['worker', { uid: 1234, gid: 2345, home: '/home/worker', additionalGids: [29, 44] }],
    ['1234', { uid: 1234, gid: 2345, home: '/home/worker', additionalGids: [29, 44] }],
    ['worker:video', { uid: 1234, gid: 44, home: '/home/worker', additionalGids: [] }],
    ['77:88', { uid: 77, gid: 88, home: '/', additionalGids: [] }],
    ['77', { uid: 77, gid: 0, home: '/', additionalGids: [] }],
    [':video', { uid: 0, gid: 44, home: '/root', additionalGids: [] }],
  ])('%j', (text, expected) => expect(resolveUser(root, text)).toMatchObject(expected));

  it('adds groups, and names what is not there', () => {
    expect(resolveUser(root, 'daemon', ['video', '99']).additionalGids).toEqual([29, 44, 99]);
    expect(() => resolveUser(root, 'nobody')).toThrowError(
      /unable to find user nobody: no matching entries in passwd file/,
    );
    expect(() => resolveUser(root, '0:nogroup')).toThrowError(/no matching entries in group file/);
    expect(() => resolveUser(root, '4294967296')).toThrowError(
      expect.objectContaining({ code: 'EUSER' }) as Error,
    );
  });
});

describe('processEnvironment', () => {
  it('puts the image before what is asked for, and keeps each name once', () => {
    const user = { home: '/home/worker' };
    expect(
      processEnvironment({ image: ['A=1', 'B=2'], overrides: ['A=3=4', 'C=', 'B'], user, hostname: 'h' }),
    ).toEqual([
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'HOSTNAME=h',
      'A=3=4',
      'C=',
      'HOME=/home/worker',
    ]);
    expect(processEnvironment({ image: ['PATH=/x', 'HOME=/y'], user, terminal: true })).toEqual([
      'PATH=/x',
      'TERM=xterm',
      'HOME=/y',
    ]);
  });
});

describe('capabilitySet', () => {
  const ALL = (1n << 41n) - 1n;
  // What CapEff of a container of docker shows: 00000000a80425fb.
  const mask = (names: string[]): string => {
    const known = capabilitySet({ privileged: true }, ALL);
    return names.reduce((sum, name) => sum | (1n << BigInt(known.indexOf(name))), 0n).toString(16);
  };

  it('is what docker gives', () => {
    expect(mask(capabilitySet({}, ALL))).toBe('a80425fb');
    expect(mask(capabilitySet({ add: ['SYS_ADMIN'] }, ALL))).toBe('a82425fb');
    expect(mask(capabilitySet({ drop: ['cap_chown'] }, ALL))).toBe('a80425fa');
    expect(mask(capabilitySet({ drop: ['ALL'], add: ['chown'] }, ALL))).toBe('1');
    expect(mask(capabilitySet({ add: ['all'] }, ALL))).toBe('1ffffffffff');
  });

  it('leaves out what this process has not', () => {
    expect(capabilitySet({}, 1n)).toEqual(['CAP_CHOWN']);
    expect(() => capabilitySet({ add: ['SYS_ADMIN'] }, 1n)).toThrowError(/cannot be given/);
    expect(() => capabilitySet({ add: ['FLY'] }, ALL)).toThrowError(/unknown capability: "FLY"/);
  });
});

describe('seccomp', () => {
  const allows = (profile: ReturnType<typeof convert>, name: string): boolean =>
    profile.syscalls.some(
      ({ names, action, args }) => names.includes(name) && action === 'SCMP_ACT_ALLOW' && !args,
    );

  it('takes the rules that hold', () => {
    const profile = convert(
      {
        defaultAction: 'SCMP_ACT_ERRNO',
        syscalls: [
          { names: ['read'], action: 'SCMP_ACT_ALLOW' },
          { names: ['mount'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_SYS_ADMIN'] } },
          { names: ['chroot'], action: 'SCMP_ACT_ALLOW', excludes: { caps: ['CAP_SYS_ADMIN'] } },
          { names: ['ptrace'], action: 'SCMP_ACT_ALLOW', includes: { minKernel: '4.8' } },
          { names: ['future'], action: 'SCMP_ACT_ALLOW', includes: { minKernel: '99.0' } },
          { names: ['elsewhere'], action: 'SCMP_ACT_ALLOW', includes: { arches: ['none'] } },
        ],
      },
      ['CAP_CHOWN'],
    );
    const names = ['read', 'mount', 'chroot', 'ptrace', 'future', 'elsewhere'];
    expect(names.filter((name) => allows(profile, name))).toEqual(['read', 'chroot', 'ptrace']);
  });

  it('refuses of its own what needs a capability', () => {
    const refused = (caps: string[]): string[] =>
      convert(ownProfile(), caps)
        .syscalls.filter(({ args }) => !args)
        .flatMap(({ names }) => names);
    expect(refused([])).toEqual(
      expect.arrayContaining(['mount', 'reboot', 'keyctl', 'init_module', 'bpf', 'clone3']),
    );
    expect(refused(['CAP_SYS_ADMIN'])).not.toContain('mount');
    expect(refused([])).not.toContain('ptrace');
  });

  it('can be left out, and says what is wrong with a file', () => {
    expect(seccompFilter('unconfined', [])).toBeUndefined();
    expect(() => seccompFilter('/no/such.json', [])).toThrowError(
      expect.objectContaining({ code: 'ENOENT' }) as Error,
    );
    expect(() => seccompFilter(join(root, 'etc/passwd'), [])).toThrowError(/is not JSON/);
  });
});

describe('paths in a root', () => {
  it('never lead out of it', () => {
    symlinkSync('/../../../etc', join(root, 'up'));
    symlinkSync('/self', join(root, 'self'));
    expect(findInRoot(root, '/up/passwd')).toBe(join(root, 'etc/passwd'));
    expect(findInRoot(root, '../../etc/passwd')).toBe(join(root, 'etc/passwd'));
    expect(findInRoot(root, '/etc/hosts')).toBeUndefined();
    expect(() => resolveInRoot(root, '/self')).toThrowError(
      expect.objectContaining({ code: 'ELOOP' }) as Error,
    );
    symlinkSync('/new/place', join(root, 'dangling'));
    const { path, made } = makeDirectoryInRoot(root, '/dangling/a');
    expect(path).toBe(join(root, 'new/place/a'));
    expect(made).toEqual([join(root, 'new'), join(root, 'new/place'), join(root, 'new/place/a')]);
    expect(() => makeDirectoryInRoot(root, '/etc/passwd/x')).toThrowError(
      expect.objectContaining({ code: 'ENOTDIR' }) as Error,
    );
  });
});

describe('the runtime', () => {
  it('says which package has one', () => {
    const error = (wanted?: string): unknown => {
      try {
        return findRuntime(wanted);
      } catch (caught) {
        return caught;
      }
    };
    expect(error('/no/such/runtime')).toMatchObject({ code: 'ENORUNTIME', exitCode: 125 });
    expect(error('nosuch')).toMatchObject({ message: 'the OCI runtime nosuch is not installed' });
  });

  it('has its errors told apart', () => {
    const told = (message: string): string => runtimeError(message, runtimeAt('/usr/bin/runc'), 'x').code;
    // Words of runc 1.1 and crun 1.8.
    expect(
      told(
        'runc run failed: unable to start container process: exec: "x": executable file not found in $PATH',
      ),
    ).toBe('ENOCOMMAND');
    expect(told('executable file `x` not found in $PATH: No such file or directory')).toBe('ENOCOMMAND');
    expect(told('exec: "/x": stat /x: no such file or directory')).toBe('ENOCOMMAND');
    expect(told('exec: "/etc": permission denied')).toBe('ENOTEXECUTABLE');
    expect(told('mount `proc` to `proc`: Operation not permitted')).toBe('ERUNTIME');
  });
});
