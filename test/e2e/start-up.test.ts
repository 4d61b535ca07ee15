/** How the command starts: with V8's code of its last build, and with as few commands as the line names. */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { arch, release } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isLaminaBuilt, LAMINA_MAIN, lamina, laminaOk } from '../helpers/lamina.js';
import { Scratch } from '../helpers/overlay.js';
import { requirement } from '../helpers/require.js';

const built = requirement('the built command (npm run build)', isLaminaBuilt('native'));

describe.skipIf(!built)('start-up', () => {
  let scratch: Scratch;
  let root: string;
  let cli: string;
  beforeAll(() => {
    scratch = new Scratch('start-up');
    root = scratch.directory('root');
    // A package of its own, whose code can be taken away.
    const packageDirectory = scratch.directory('package');
    cli = join(packageDirectory, 'dist/cli');
    cpSync(dirname(LAMINA_MAIN), cli, { recursive: true });
    writeFileSync(join(packageDirectory, 'package.json'), '{ "version": "1.2.3" }');
  });
  afterAll(() => scratch.close());

  const caches = (): string[] => readdirSync(cli).filter((name) => name.includes('.cache'));
  const version = (): string =>
    execFileSync(process.execPath, [join(cli, 'main.js'), '--version'], { encoding: 'utf8' });

  test('the build leaves code that this Node takes', () => {
    const [name] = caches();
    expect(name).toContain(process.versions.v8);
    const script = `const { load } = require(${JSON.stringify(join(cli, 'main.js'))});
      console.log(load().script.cachedDataRejected);`;
    expect(execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' })).toBe('false\n');
  });

  test('without it, the first run makes it, and the next takes it', () => {
    for (const name of caches()) rmSync(join(cli, name));
    expect(version()).toBe('lamina version 1.2.3\n');
    expect(caches()).toHaveLength(1);
    const made = readFileSync(join(cli, caches()[0]!));
    expect(version()).toBe('lamina version 1.2.3\n');
    expect(readFileSync(join(cli, caches()[0]!)).equals(made)).toBe(true);
  });

  test('code that is none is not taken', () => {
    writeFileSync(join(cli, caches()[0]!), 'nonsense');
    expect(version()).toBe('lamina version 1.2.3\n');
  });

  test('every command is found by each of its names, with its options', async () => {
    const script = `const { program } = require(${JSON.stringify(LAMINA_MAIN)}).load();
      const lines = [];
      const walk = (command, path) => {
        for (const child of command.commands)
          for (const name of [child.name(), ...child.aliases()]) {
            if (!name.startsWith('__')) lines.push([...path, name]);
            walk(child, [...path, name]);
          }
      };
      walk(program.createProgram(), []);
      console.log(JSON.stringify(lines));`;
    const lines = JSON.parse(
      execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' }),
    ) as string[][];
    expect(lines.length).toBeGreaterThan(40);
    const direct = `const { program } = require(${JSON.stringify(LAMINA_MAIN)}).load();
      const write = process.stdout.write.bind(process.stdout);
      const results = [];
      void (async () => {
        for (const line of JSON.parse(process.argv[1]))
          for (const args of [[...line, '--help'], ['--debug', ...line, '--help']]) {
            let out = '';
            process.stdout.write = (text) => ((out += text), true);
            await program.main(args);
            results.push(out);
          }
        process.stdout.write = write;
        console.log(JSON.stringify(results));
      })();`;
    const out = execFileSync(process.execPath, ['-e', direct, JSON.stringify(lines)], { encoding: 'utf8' });
    const results = JSON.parse(out) as string[];
    for (const [index, line] of lines.entries()) {
      // With an option before them the words are not looked at: all commands are made.
      expect(results[2 * index], line.join(' ')).toBe(results[2 * index + 1]);
      expect(results[2 * index]).toMatch(/^Usage: {2}lamina /);
    }
  });

  test('an unknown command and a surplus argument are told', async () => {
    for (const [args, message] of [
      [['nope'], 'unknown command: lamina nope'],
      [['container', 'nope'], 'unknown command: lamina container nope'],
      [['ps', 'x'], "'lamina ps' requires 0 arguments"],
      [['images', 'a', 'b'], "'lamina images' requires at most 1 argument"],
      [['tag', 'a'], "'lamina tag' requires 2 arguments"],
      [['rmi'], "'lamina rmi' requires at least 1 argument"],
    ] as const) {
      expect(await lamina(args, root)).toMatchObject({
        exitCode: 125,
        stderr: expect.stringContaining(message),
      });
    }
  });

  test('a reader that goes away is no error, a full disk behind standard output is one', () => {
    const shell = (line: string): [number, string] => {
      const child = spawnSync('bash', ['-c', line, process.execPath, LAMINA_MAIN], {
        env: { ...process.env, LAMINA_ROOT: root },
        encoding: 'utf8',
      });
      return [child.status!, child.stderr];
    };
    expect(shell('"$0" "$1" --help | head -1 >/dev/null; exit ${PIPESTATUS[0]}')).toEqual([0, '']);
    const [status, said] = shell('"$0" "$1" images > /dev/full');
    expect([status, said.split('\n').length]).toEqual([1, 3]);
    expect(said).toMatch(/^lamina: cannot write: ENOSPC: .* \[ENOSPC\]\n/);
  });

  test('version has docker\u2019s layout', async () => {
    const own = JSON.parse(readFileSync(join(dirname(LAMINA_MAIN), '../../package.json'), 'utf8')) as {
      version: string;
    };
    const machine = arch() === 'x64' ? 'amd64' : arch();
    // docker version: the values begin in column 21.
    expect(await laminaOk(['version'], root)).toBe(
      `Client:\n Version:           ${own.version}\n Node version:      ${process.version}\n OS/Arch:           linux/${machine}\n Kernel version:    ${release()}\n`,
    );
    expect(JSON.parse(await laminaOk(['version', '--format', 'json'], root))).toEqual({
      Client: {
        Version: own.version,
        NodeVersion: process.version,
        Os: 'linux',
        Arch: machine,
        KernelVersion: release(),
      },
      Server: null,
    });
    expect(await laminaOk(['version', '-f', '{{.Client.Version}} {{.Client.Os}}'], root)).toBe(
      `${own.version} linux\n`,
    );
    expect(await lamina(['version', '-f', '{{.Client'], root)).toMatchObject({
      exitCode: 64,
      stderr: expect.stringContaining('template parsing error: template: :1: unclosed action [ETEMPLATE]'),
    });
    expect(await lamina(['version', '-f', '{{.Client.Nope}}'], root)).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining("can't evaluate field Nope in type *system.clientVersion [EFIELD]"),
    });
  });
});
