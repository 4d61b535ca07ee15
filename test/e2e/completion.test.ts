/** The completion scripts in the shells that they are for, and the command `lamina` as these find it in PATH. */
import { execFileSync } from 'node:child_process';
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isLaminaBuilt, LAMINA_MAIN, lamina, laminaOk } from '../helpers/lamina.js';
import { Scratch } from '../helpers/overlay.js';
import { needs, requirement } from '../helpers/require.js';
import { dir, dockerArchive, file } from '../helpers/stack.js';

const built = requirement('the built command (npm run build)', isLaminaBuilt('native'));

describe.skipIf(!built)('completion', () => {
  let scratch: Scratch;
  let env: NodeJS.ProcessEnv;
  let files: string;

  beforeAll(async () => {
    scratch = new Scratch('completion');
    const root = scratch.directory('root');
    const bin = scratch.directory('bin');
    files = scratch.directory('files');
    symlinkSync(LAMINA_MAIN, join(bin, 'lamina'));
    env = {
      ...process.env,
      PATH: `${bin}:${process.env['PATH'] ?? ''}`,
      LAMINA_ROOT: root,
      LAMINA_RUN: scratch.directory('run'),
      HOME: files,
    };
    const archive = join(files, 'archive.tar');
    dockerArchive([[dir('etc'), file('etc/name', 'x')]], archive);
    await laminaOk(['load', '-q', '-i', archive], root);
    const loaded = (await laminaOk(['__complete', 'image'], root)).split('\n')[0]!;
    await laminaOk(['tag', loaded, 'ubuntu:24.04'], root);
    await laminaOk(['tag', loaded, 'ubuntu:22.04'], root);
    await laminaOk(['create', '--name', 'web', archive], root);
  });
  afterAll(() => scratch.close());

  /** The candidates for the last word of a command line. */
  type Complete = (line: string) => string[];

  function run(command: string, args: readonly string[]): string[] {
    const out = execFileSync(command, args, { env, cwd: files, encoding: 'utf8' });
    return out.split('\n').filter(Boolean).sort();
  }

  /** As readline calls it: words broken at spaces and at the characters of COMP_WORDBREAKS. */
  const bash: Complete = (line) => {
    const words = line
      .split(' ')
      .flatMap((word) => (word === '' ? [''] : word.split(/([:=])/).filter(Boolean)));
    const script = `source <(lamina completion bash); complete -p lamina >/dev/null || exit 1
      COMP_LINE=$1; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _lamina; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return run('bash', ['--norc', '-c', script, 'bash', line, ...words]);
  };

  /** zsh's widgets run in its line editor only; what they would add is printed. */
  const zsh: Complete = (line) => {
    const script = `compdef() { [[ $1 == _lamina ]] }
      _files() { print -l -- \${words[CURRENT]}*(N) }
      compadd() { print -l -- \${(M)\${(P)2}:#\${words[CURRENT]}*} }
      _describe() { print -l -- \${(M)\${(@P)@[-1]}:#\${words[CURRENT]}*} }
      source <(lamina completion zsh); words=("$@"); CURRENT=$#; _lamina`;
    return run('zsh', ['-f', '-c', script, 'zsh', ...line.split(' ')]).map((entry) =>
      line.split(' ').at(-1)!.includes(':') ? entry : entry.replace(/:[A-Z].*$/s, ''),
    );
  };

  const fish: Complete = (line) =>
    run('fish', ['--no-config', '-c', `lamina completion fish | source; complete -C '${line}'`]).map(
      (entry) => entry.split('\t')[0]!,
    );

  for (const [shell, complete] of Object.entries({ bash, zsh, fish })) {
    describe.skipIf(!needs(`command ${shell}`))(shell, () => {
      test.each([
        ['lamina vers', ['version']],
        ['lamina imp', ['import']],
        ['lamina container re', ['remove', 'rename', 'restart']],
        ['lamina fs wh', ['which']],
        ['lamina ps --f', ['--filter', '--format']],
        ['lamina container list --no', ['--no-trunc']],
        ['lamina --root / --debug save --o', ['--output']],
        ['lamina save -o arch', ['archive.tar']],
        ['lamina save -o x --platf', ['--platform']],
        ['lamina rm w', ['web']],
        ['lamina container rename w', ['web']],
        ['lamina container rename web w', []],
        ['lamina cp web', ['web']],
        ['lamina fs ls arch', ['archive.tar']],
        ['lamina create ub', ['ubuntu:22.04', 'ubuntu:24.04']],
        ['lamina rmi arch', []],
        ['lamina nope ', []],
      ])('%s', (line, expected) => {
        expect(complete(line)).toEqual(expected);
      });

      test('a tag, after the colon at which a shell may break words', () => {
        const names = ['ubuntu:22.04', 'ubuntu:24.04'];
        const shown = shell === 'bash' ? ['22.04', '24.04'] : names;
        expect(complete('lamina rmi ubuntu:2')).toEqual(shown);
        expect(complete('lamina rmi x ubuntu:24')).toEqual(shown.slice(1));
      });

      test('every command of the help is there', async () => {
        const { stdout } = await lamina(['--help'], env['LAMINA_ROOT']!);
        const listed = [...stdout.matchAll(/^ {2}(\w+) {2,}/gm)].map(([, name]) => name!);
        expect(listed.length).toBeGreaterThan(10);
        expect(complete('lamina ')).toEqual(expect.arrayContaining(listed));
        expect(complete('lamina ')).not.toContain('__complete');
      });
    });
  }

  test('a shell that is none', async () => {
    expect(await lamina(['completion', 'tcsh'], '/nonexistent')).toMatchObject({
      exitCode: 125,
      stderr: expect.stringContaining('Allowed choices are bash, zsh, fish'),
    });
  });

  test('names that cannot be read are no names', async () => {
    expect(await lamina(['__complete', 'image'], '/proc/nonexistent')).toMatchObject({
      exitCode: 0,
      stdout: '',
      stderr: '',
    });
  });
});
