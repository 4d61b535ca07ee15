/** What `lamina build` does that buildah does not, or does otherwise: expected values are those of BuildKit's documents and sources. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { busyboxRoot, hasBusybox } from '../helpers/busybox-root.js';
import { Scratch } from '../helpers/archive-builder.js';
import { isLaminaBuilt, LAMINA_MAIN, lamina, laminaOk } from '../helpers/lamina.js';
import type { CommandResult } from '../helpers/lamina.js';
import { needs, requirement } from '../helpers/require.js';

const present = [
  needs('root', '/dev/fuse', 'command crun', 'command git'),
  requirement('busybox-static', hasBusybox()),
  requirement('the built command', isLaminaBuilt('native')),
].every(Boolean);

describe.skipIf(!present)('lamina build', () => {
  const scratch = new Scratch();
  const root = join(scratch.path, 'store');
  const context = join(scratch.path, 'context');

  beforeAll(async () => {
    const base = busyboxRoot(join(scratch.path, 'base'));
    const tar = join(scratch.path, 'base.tar');
    execFileSync('tar', ['-C', base, '-cf', tar, '.']);
    await laminaOk(['import', '-c', 'ENV PATH=/bin', tar, 'base'], root);
  });
  afterEach(() => rmSync(context, { recursive: true, force: true }));
  afterAll(() => scratch.remove());

  function write(dockerfile: string, files: Record<string, string> = {}): void {
    mkdirSync(context, { recursive: true });
    writeFileSync(join(context, 'Dockerfile'), dockerfile);
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(join(context, name, '..'), { recursive: true });
      writeFileSync(join(context, name), content);
    }
  }
  async function built(
    dockerfile: string,
    files: Record<string, string> = {},
    args: readonly string[] = [],
  ): Promise<CommandResult> {
    write(dockerfile, files);
    return lamina(['build', '-t', 'out', ...args, context], root);
  }
  async function ok(...args: Parameters<typeof built>): Promise<CommandResult> {
    const result = await built(...args);
    if (result.exitCode !== 0) throw new Error(result.stderr);
    return result;
  }
  const cat = (...paths: string[]): Promise<string> => laminaOk(['fs', 'cat', 'out', ...paths], root);
  const inspect = async (template: string, image = 'out'): Promise<string> =>
    (await laminaOk(['inspect', '-f', template, image], root)).trim();
  const stat = async (path: string): Promise<string> =>
    (await laminaOk(['fs', 'dump', 'out', path], root)).split(' ').slice(1, 5).join(' ');

  describe('here-documents', () => {
    test('are run by the shell', async () => {
      await ok(
        'FROM base\nENV A=env\nRUN <<EOF\necho one $A > /one\n# a comment of the shell\necho "two \\\nlines" >> /one\nEOF\nRUN echo three >> /one',
      );
      expect(await cat('/one')).toBe('one env\ntwo lines\nthree\n');
    });

    test('are run by what their first line names', async () => {
      await ok('FROM base\nRUN <<EOF\n#!/bin/awk -f\nBEGIN { print 6 * 7 > "/answer" }\nEOF');
      expect(await cat('/answer')).toBe('42\n');
    });

    test('are given to a command, several of them, with numbers and without tabs', async () => {
      await ok(
        'FROM base\nRUN { cat -; cat <&3; } <<ONE 3<<"TWO" > /out\n1 $HOME\nONE\n2 $HOME\nTWO\nRUN <<-EOF\n\t\techo tabs > /tabs\n\tEOF',
      );
      expect(await cat('/out', '/tabs')).toBe('1 /root\n2 $HOME\ntabs\n');
    });

    test('are files of COPY, expanded unless their names are quoted', async () => {
      await ok(
        'FROM base\nARG A=arg\nCOPY --chmod=640 --chown=worker <<one <<"two" /d/\n$A "${A}" \\$A\none\n$A\ntwo\nCOPY <<EOF /single\nx\nEOF',
      );
      expect(await cat('/d/one', '/d/two', '/single')).toBe('arg "arg" $A\n$A\nx\n');
      expect(await stat('/d/one')).toBe('f 0640 1 1234:2345');
      expect(await stat('/single')).toBe('f 0644 1 0:0');
    });

    test('that do not end are refused', async () => {
      const { exitCode, stderr } = await built('FROM base\nRUN <<EOF\necho');
      expect([exitCode, stderr]).toEqual([1, expect.stringContaining('unterminated heredoc [EDOCKERFILE]')]);
    });
  });

  test('variables: prefixes, suffixes, replacements', async () => {
    await ok(
      'FROM base\nENV F=a/b.tar.gz\nENV A=${F#*/} B=${F##*.} C=${F%.*} D=${F%%.*} E=${F/a/x} G=${F//a/x} H=${N-none} I=${F+set}',
    );
    const env = JSON.parse(await inspect('{{json .Config.Env}}')) as string[];
    expect(env.slice(2)).toEqual([
      'A=b.tar.gz',
      'B=gz',
      'C=a/b.tar',
      'D=a/b',
      'E=x/b.tar.gz',
      'G=x/b.txr.gz',
      'H=none',
      'I=set',
    ]);
  });

  test('a variable that must be set', async () => {
    const { exitCode, stderr } = await built('FROM base\nENV A="${NONE:?has to be given}"');
    expect(exitCode).toBe(1);
    expect(stderr).toContain('NONE: has to be given [EDOCKERFILE]');
  });

  test('an ARG after an ENV of its name counts, and stages hand their arguments on', async () => {
    await ok('FROM base AS one\nENV A=env\nARG A=arg\nRUN echo $A > /a\nFROM one\nRUN echo $A >> /a');
    expect(await cat('/a')).toBe('arg\narg\n');
    expect(await inspect('{{json .Config.Env}}')).toBe('["PATH=/bin","A=env"]');
  });

  test('proxies reach commands, and neither image nor cache', async () => {
    const dockerfile = 'FROM base\nRUN echo $HTTP_PROXY > /p';
    await ok(dockerfile, {}, ['--build-arg', 'HTTP_PROXY=http://one']);
    expect(await cat('/p')).toBe('http://one\n');
    expect(await laminaOk(['history', '--no-trunc', 'out'], root)).not.toContain('http://one');
    expect((await ok(dockerfile, {}, ['--build-arg', 'HTTP_PROXY=http://two'])).stderr).toContain('CACHED');
  });

  test('--exclude, --parents and --link', async () => {
    await ok(
      'FROM base\nRUN ln -s /etc /l\nCOPY --exclude=*.md --exclude=sub/x src/ /e/\nCOPY --parents src/./sub/y src/a.md /p/\nCOPY --link src/a.md /l/',
      { 'src/a.md': 'a', 'src/b': 'b', 'src/sub/x': 'x', 'src/sub/y': 'y' },
    );
    const list = (
      await laminaOk(['fs', 'find', 'out', '/e', '/p', '-type', 'f'], root).catch(async () =>
        [
          await laminaOk(['fs', 'find', 'out', '/e', '-type', 'f'], root),
          await laminaOk(['fs', 'find', 'out', '/p', '-type', 'f'], root),
        ].join(''),
      )
    )
      .trim()
      .split('\n')
      .sort();
    expect(list).toEqual(['/e/b', '/e/sub/y', '/p/src/a.md', '/p/sub/y']);
    // Linked layers know nothing of what is below: the link gives way to a directory.
    expect(await stat('/l')).toBe('d 0755 - 0:0');
  });

  test('--chmod by letters', async () => {
    write('FROM base\nCOPY --chmod=u=rwX,go=rX d /d/', { 'd/f': 'f', 'd/x': 'x' });
    chmodSync(join(context, 'd/f'), 0o606);
    chmodSync(join(context, 'd/x'), 0o711);
    await laminaOk(['build', '-t', 'out', context], root);
    expect([await stat('/d/f'), await stat('/d/x')]).toEqual(['f 0644 1 0:0', 'f 0755 1 0:0']);
  });

  test('--network=none has no network', async () => {
    await ok('FROM base\nRUN --network=none cat /proc/net/dev | grep -c : > /n');
    expect(await cat('/n')).toBe('1\n');
  });

  test('what is written to a bind mount goes nowhere', async () => {
    await ok('FROM base\nRUN --mount=type=bind,target=/m,rw echo changed > /m/a && cp /m/a /copy', {
      a: 'a',
    });
    expect(await cat('/copy')).toBe('changed\n');
    expect(readFileSync(join(context, 'a'), 'utf8')).toBe('a');
  });

  test('a secret in the environment, and one that is required', async () => {
    const args = ['--secret', `id=s,src=${join(context, 'secret')}`];
    await ok(
      'FROM base\nRUN --mount=type=secret,id=s,env=S echo $S | wc -c > /n; ls /run/secrets 2>/dev/null | wc -l >> /n',
      { secret: 'hidden' },
      args,
    );
    expect(await cat('/n')).toBe('7\n0\n');
    const { exitCode, stderr } = await built('FROM base\nRUN --mount=type=secret,id=none,required true');
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('secret none: not found [EBUILD]')]);
  });

  test('a cache stays from build to build, until it is pruned', async () => {
    const dockerfile = (n: number): string =>
      `FROM base\nRUN --mount=type=cache,id=kept,target=/c echo ${n} >> /c/n && cp /c/n /n`;
    await ok(dockerfile(1));
    await ok(dockerfile(2));
    expect(await cat('/n')).toBe('1\n2\n');
    await laminaOk(['builder', 'prune', '-f'], root);
    await ok(dockerfile(3));
    expect(await cat('/n')).toBe('3\n');
  });

  describe('the cache', () => {
    const dockerfile = 'FROM base\nCOPY a /a\nRUN cat /a > /b\nENV X=1\nCMD ["x"]';
    const cached = ({ stderr }: CommandResult): number => stderr.match(/CACHED/g)?.length ?? 0;

    test('gives the same image, whatever the times of files', async () => {
      await ok(dockerfile, { a: 'a' });
      const id = await inspect('{{.Id}}');
      execFileSync('touch', ['-d', '2001-01-01', join(context, 'a')]);
      expect(cached(await ok(dockerfile))).toBe(2);
      expect(await inspect('{{.Id}}')).toBe(id);
    });

    test('does not hold what has changed: content, mode, instruction, argument', async () => {
      await ok(dockerfile, { a: 'other' });
      expect(cached(await ok(dockerfile))).toBe(2);
      chmodSync(join(context, 'a'), 0o600);
      expect(cached(await lamina(['build', '-t', 'out', context], root))).toBe(0);
      expect(cached(await ok(dockerfile.replace('> /b', '> /c')))).toBe(1);
      expect(
        cached(await ok(`FROM base\nARG A\nCOPY a /a\nRUN cat /a > /b`, {}, ['--build-arg', 'A=1'])),
      ).toBe(1);
      expect(
        cached(await ok(`FROM base\nARG A\nCOPY a /a\nRUN cat /a > /b`, {}, ['--build-arg', 'A=2'])),
      ).toBe(1);
    });

    test('a config that changed above a cached layer is the new one', async () => {
      await ok('FROM base\nLABEL a=1\nRUN echo 1 > /x', {});
      expect(cached(await ok('FROM base\nLABEL a=2\nRUN echo 1 > /x'))).toBe(1);
      expect(await inspect('{{json .Config.Labels}}')).toBe('{"a":"2"}');
    });

    test('is not used with --no-cache', async () => {
      await ok(dockerfile, { a: 'a' });
      expect(cached(await ok(dockerfile, {}, ['--no-cache']))).toBe(0);
    });

    test('shows its images with -a', async () => {
      await ok('FROM base\nRUN echo unique > /u\nRUN echo more > /v');
      const parent = await inspect('{{.Id}}');
      const all = await laminaOk(['images', '-aq', '--no-trunc'], root);
      expect(all).toContain(parent);
      expect(all.trim().split('\n').length).toBeGreaterThan(
        (await laminaOk(['images', '-q'], root)).trim().split('\n').length,
      );
    });
  });

  test('SOURCE_DATE_EPOCH gives the same image each time', async () => {
    const dockerfile = 'FROM base\nWORKDIR /w\nCOPY a d/\nRUN echo x > x && mkdir y\nLABEL a=b';
    const args = ['--no-cache', '--build-arg', 'SOURCE_DATE_EPOCH=1000000000'];
    await ok(dockerfile, { a: 'a' }, args);
    const id = await inspect('{{.Id}}');
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await ok(dockerfile, { a: 'a' }, args);
    expect(await inspect('{{.Id}}')).toBe(id);
    expect(await inspect('{{.Created}}')).toBe('2001-09-09T01:46:40.000Z');
  });

  test('--squash leaves one layer over the base, which holds nothing that came and went', async () => {
    await ok(
      'FROM base\nRUN echo 1 > /one && echo gone > /gone\nRUN rm /gone /etc/group && mkdir -p /d/e && echo 2 >> /one',
      {},
      ['--squash'],
    );
    expect(JSON.parse(await inspect('{{json .RootFS.Layers}}'))).toHaveLength(2);
    expect(await cat('/one')).toBe('1\n2\n');
    for (const path of ['/gone', '/etc/group'])
      expect((await lamina(['fs', 'stat', 'out', path], root)).exitCode).toBe(1);
    const layers = await laminaOk(['analyze', '--json', 'out'], root);
    expect(layers).not.toContain('/gone');
  });

  test('history is as BuildKit writes it', async () => {
    await ok(
      'FROM base\nARG A=1\nENV B="x y"\nLABEL l=1\nRUN echo $A > /x\nCOPY --chown=1 a /a\nWORKDIR /w\nEXPOSE 80\nVOLUME /v\nUSER 5\nSTOPSIGNAL INT\nENTRYPOINT ["e"]\nCMD c d',
      { a: 'a' },
    );
    const lines = (
      await laminaOk(['history', '--no-trunc', '--format', '{{.CreatedBy}}|{{.Comment}}', 'out'], root)
    )
      .trim()
      .split('\n');
    expect(lines.slice(0, -1).reverse()).toEqual(
      [
        'ARG A=1',
        'ENV B=x y',
        'LABEL l=1',
        'RUN |1 A=1 /bin/sh -c echo $A > /x # buildkit',
        'COPY --chown=1 a /a # buildkit',
        'WORKDIR /w',
        'EXPOSE [80/tcp]',
        'VOLUME [/v]',
        'USER 5',
        'STOPSIGNAL INT',
        'ENTRYPOINT ["e"]',
        'CMD ["/bin/sh" "-c" "c d"]',
      ].map((text) => `${text}|buildkit.dockerfile.v0`),
    );
  });

  describe('contexts', () => {
    const run = (input: Buffer | string, ...args: string[]): string =>
      execFileSync(process.execPath, [LAMINA_MAIN, 'build', ...args], {
        env: { ...process.env, LAMINA_ROOT: root, LAMINA_PULL: 'never' },
        input,
        encoding: 'utf8',
        stdio: ['pipe', 'pipe', 'pipe'],
      });

    test('a Dockerfile on standard input', async () => {
      const id = run('FROM base\nRUN echo alone > /x\n', '-').trim();
      expect(id).toMatch(/^sha256:[0-9a-f]{64}$/);
      expect(await laminaOk(['fs', 'cat', id, '/x'], root)).toBe('alone\n');
    });

    test('a tar on standard input, compressed, with an ignore file', async () => {
      write('FROM base\nCOPY . /all/\nADD t.tar /t/', { a: 'a', b: 'b', '.dockerignore': 'b\n' });
      execFileSync('tar', ['-C', context, '-cf', join(context, 't.tar'), 'a']);
      run(execFileSync('tar', ['-C', context, '-cz', '.']), '-t', 'out', '-');
      expect(await cat('/all/a', '/t/a')).toBe('aa');
      expect((await lamina(['fs', 'cat', 'out', '/all/b'], root)).exitCode).toBe(1);
    });

    test('the Dockerfile alone on standard input', async () => {
      write('FROM nothing', { a: 'from the directory' });
      run('FROM base\nCOPY a /a\n', '-t', 'out', '-f', '-', context);
      expect(await cat('/a')).toBe('from the directory');
    });

    test('an ignore file of the Dockerfile itself comes before the common one', async () => {
      write('', {
        'other.Dockerfile': 'FROM base\nCOPY . /all/',
        'other.Dockerfile.dockerignore': 'a',
        '.dockerignore': 'b',
        a: 'a',
        b: 'b',
      });
      await laminaOk(['build', '-t', 'out', '-f', join(context, 'other.Dockerfile'), context], root);
      expect(await cat('/all/b')).toBe('b');
      expect((await lamina(['fs', 'cat', 'out', '/all/a'], root)).exitCode).toBe(1);
    });

    test('a git repository, with a branch and a directory', async () => {
      const repository = join(scratch.path, 'repository.git');
      const git = (...args: string[]): void =>
        void execFileSync('git', ['-C', repository, '-c', 'user.name=n', '-c', 'user.email=e@x', ...args], {
          stdio: 'ignore',
        });
      mkdirSync(join(repository, 'sub'), { recursive: true });
      git('init', '-b', 'main');
      writeFileSync(join(repository, 'sub/Dockerfile'), 'FROM base\nCOPY a /a\n');
      writeFileSync(join(repository, 'sub/a'), 'of main');
      git('add', '.');
      git('commit', '-m', 'one');
      git('checkout', '-b', 'other');
      writeFileSync(join(repository, 'sub/a'), 'of other');
      git('commit', '-am', 'two');
      await laminaOk(['build', '-t', 'out', `file://${repository}#main:sub`], root);
      expect(await cat('/a')).toBe('of main');
      await laminaOk(['build', '-t', 'out', `file://${repository}#other:sub`], root);
      expect(await cat('/a')).toBe('of other');
    });
  });

  describe('what goes wrong', () => {
    test('a command that fails, with what it printed and where it stands', async () => {
      const { exitCode, stderr, stdout } = await built(
        'FROM base\n# about it\nRUN echo before && exit 7\nRUN true',
      );
      expect([exitCode, stdout]).toEqual([1, '']);
      expect(stderr).toContain(' > [2/3] RUN echo before && exit 7:\nbefore\n------\nDockerfile:3\n');
      expect(stderr).toContain(
        '   2 |     # about it\n   3 | >>> RUN echo before && exit 7\n   4 |     RUN true\n',
      );
      expect(stderr).toContain(
        'process "/bin/sh -c echo before && exit 7" did not complete successfully: exit code: 7 [EBUILD]',
      );
    });

    test.each([
      ['', 'file with no instructions [EDOCKERFILE]'],
      ['RUN x', 'no build stage in current context [EDOCKERFILE]'],
      [
        'FROM base\nFROBNICATE x',
        'dockerfile parse error on line 2: unknown instruction: FROBNICATE [EDOCKERFILE]',
      ],
      ['FROM base\nCOPY a', 'COPY requires at least two arguments'],
      ['FROM base\nCOPY a b /c', 'the destination must be a directory and end with a /'],
      ['FROM base\nCOPY none /c', '"/none": not found [EBUILD]'],
      ['FROM base\nCOPY --frob a /c', 'unknown flag: --frob'],
      ['FROM base\nCOPY a /etc/passwd/x', '/etc/passwd is not a directory [EBUILD]'],
      ['FROM base\nCOPY --chown=nobody-here a /c', 'unable to convert user nobody-here'],
      ['FROM base\nRUN --mount=type=ssh true', 'mounts of type ssh are not supported'],
      [
        'FROM base\nRUN --mount=type=bind,target=/x,frob=1 true',
        "unexpected key 'frob' for mount type 'bind'",
      ],
      ['FROM base\nONBUILD ONBUILD RUN x', "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"],
      ['FROM base\nEXPOSE x', 'invalid containerPort: x'],
      ['FROM base\nCMD ["a", 1]', 'arrays must be comprised of strings only'],
      ['FROM base\nRUN ["nope"]', 'executable file not found in $PATH [EBUILD]'],
      ['FROM base\nUSER nobody-here\nRUN true', 'unable to find user nobody-here'],
      ['FROM base\nCOPY [a /c', 'syntax error in pattern'],
      ['FROM nowhere', 'No such image: nowhere:latest [ENOIMAGE]'],
      ['FROM base AS 1x', "can't start with a number"],
      ['FROM base\nCOPY --from=$X a /', 'variable expansion is not supported for --from'],
    ])('%j', async (dockerfile, message) => {
      const { exitCode, stderr } = await built(dockerfile, { a: 'a', b: 'b' });
      expect([exitCode, stderr]).toEqual([1, expect.stringContaining(message)]);
    });

    test('a stage that is not there, and a context that is not', async () => {
      expect(await built('FROM base', {}, ['--target', 'x'])).toMatchObject({
        exitCode: 1,
        stderr: expect.stringContaining('target stage "x" could not be found'),
      });
      expect(await lamina(['build', join(scratch.path, 'none')], root)).toMatchObject({
        exitCode: 1,
        stderr: expect.stringContaining('not found [ENOENT]'),
      });
    });

    test('links in the context lead nowhere outside of it', async () => {
      write('FROM base\nCOPY out /c/');
      symlinkSync('/etc/passwd', join(context, 'out'));
      expect((await lamina(['build', context], root)).stderr).toContain('"/out": not found');
    });

    test('nothing is left', async () => {
      await built('FROM base\nRUN false');
      expect(readdirSync(join(root, 'tmp'))).toEqual([]);
      expect(readdirSync(root)).not.toContain('containers');
    });
  });

  test('--iidfile, -q and several names', async () => {
    write('FROM base\nRUN echo q > /q');
    const file = join(scratch.path, 'iid');
    const said = await lamina(['build', '-q', '--iidfile', file, '-t', 'one:1', '-t', 'two', context], root);
    expect(said).toMatchObject({ exitCode: 0, stderr: '' });
    expect(said.stdout).toBe(`${readFileSync(file, 'utf8')}\n`);
    for (const name of ['one:1', 'two']) expect(await inspect('{{.Id}}', name)).toBe(said.stdout.trim());
  });

  test('on a writable mount of Lamina instead of overlayfs', async () => {
    process.env['LAMINA_BUILD_OVERLAY'] = '0';
    try {
      await ok(
        'FROM base\nRUN findmnt -no FSTYPE / > /type || grep " / " /proc/mounts > /type; rm /etc/group; ln /etc/passwd /p2',
      );
    } finally {
      delete process.env['LAMINA_BUILD_OVERLAY'];
    }
    expect(await cat('/type')).toContain('fuse.lamina');
    expect(await stat('/p2')).toMatch(/^f 0644 2|h/);
  });

  test('stages that do not need each other are built side by side', async () => {
    const wait = 'FROM base AS';
    const begun = Date.now();
    const one = (name: string): string => `${wait} ${name}\nRUN sleep 2 && echo ${name} > /${name}`;
    await ok(
      `${one('a')}\n${one('b')}\nFROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n${one('unused').replace('sleep 2', 'sleep 30')}\nFROM scratch\nCOPY --from=2 / /`,
      {},
      ['--target', '2'],
    );
    expect(await cat('/a', '/b')).toBe('a\nb\n');
    expect(Date.now() - begun).toBeLessThan(4_000 + 2_000);
    expect(existsSync(context)).toBe(true);
  });
});
