/**
 * docker's commands on local images, as its tutorials use them. The expected text is that of docker's documentation
 * (docs/reference/commandline/image_*.md) and golden files (cli/command/image/testdata), with ids, ages and sizes of the images made here.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isLaminaBuilt, lamina, laminaOk } from '../helpers/lamina.js';
import { requirement } from '../helpers/require.js';

const able = requirement('the built command (npm run build)', isLaminaBuilt('native'));

describe.skipIf(!able)('commands on images', { timeout: 60_000 }, () => {
  let base: string;
  let root: string;
  const ids = new Map<string, string>();
  const run = (...args: string[]): Promise<string> => laminaOk(args, root);

  /** An image of one file of `bytes` bytes. */
  async function importImage(name: string, bytes: number, ...flags: string[]): Promise<string> {
    const tree = join(base, 'tree');
    rmSync(tree, { recursive: true, force: true });
    mkdirSync(tree);
    writeFileSync(join(tree, 'file'), 'x'.repeat(bytes));
    const tar = join(base, 'tree.tar');
    execFileSync('tar', ['-C', tree, '-cf', tar, '.']);
    const id = (await run('import', ...flags, tar, name)).trim();
    expect(id).toMatch(/^sha256:[0-9a-f]{64}$/);
    ids.set(name, id);
    return id;
  }

  beforeAll(async () => {
    base = mkdtempSync(join(tmpdir(), 'lamina-images-'));
    root = join(base, 'store');
    await importImage('java:8', 308_500, '-c', 'LABEL com.example.version=1.0', '-m', 'the first');
    await importImage('busybox:uclibc', 1_113_000, '-c', 'CMD ["sh"]', '-c', 'ENV A=b C=d');
    await importImage('example.com:5000/team/app:v1', 5_000);
  });
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  const short = (name: string): string => ids.get(name)!.slice('sha256:'.length, 'sha256:'.length + 12);

  it('lists them newest first, with docker’s columns', async () => {
    const out = (await run('images')).replaceAll(/(?:Less than a second|\d+ seconds?) ago/g, 'AGE');
    expect(out.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      ['REPOSITORY', 'TAG', 'IMAGE ID', 'CREATED', 'SIZE'],
      ['example.com:5000/team/app', 'v1', short('example.com:5000/team/app:v1'), 'AGE', '5kB'],
      ['busybox', 'uclibc', short('busybox:uclibc'), 'AGE', '1.11MB'],
      ['java', '8', short('java:8'), 'AGE', '308kB'],
      [''],
    ]);
  });

  it('prints a heading alone where nothing fits', async () => {
    expect(await run('images', 'jav')).toBe('REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n');
    expect(await run('images', '--digests', 'jav')).toBe(
      'REPOSITORY   TAG       DIGEST    IMAGE ID   CREATED   SIZE\n',
    );
  });

  it.each([
    [['java'], ['java:8']],
    [['java:8'], ['java:8']],
    [['java:9'], []],
    [['example.com:5000/*/*'], ['example.com:5000/team/app:v1']],
    [['b*:uc*'], ['busybox:uclibc']],
    [['-f', 'reference=busy*:*libc'], ['busybox:uclibc']],
    [['-f', 'label=com.example.version'], ['java:8']],
    [['-f', 'label=com.example.version=1.0'], ['java:8']],
    [['-f', 'label=com.example.version=2'], []],
    [['-f', 'before=busybox:uclibc'], ['java:8']],
    [
      ['-f', 'since=java:8'],
      ['example.com:5000/team/app:v1', 'busybox:uclibc'],
    ],
    [['-f', 'dangling=true'], []],
    [['-f', 'until=1h'], []],
  ])('images %j', async (args, names) => {
    const out = await run('images', '--format', '{{.Repository}}:{{.Tag}}', ...args);
    expect(out.split('\n').filter(Boolean)).toEqual(names);
  });

  it('formats as docker’s documentation does', async () => {
    expect(await run('images', '--format', '{{.ID}}: {{.Repository}}', 'java')).toBe(
      `${short('java:8')}: java\n`,
    );
    expect(await run('images', '--format', 'table {{.ID}}\\t{{.Repository}}\\t{{.Tag}}', 'java')).toBe(
      `IMAGE ID       REPOSITORY   TAG\n${short('java:8')}   java         8\n`,
    );
    expect(await run('images', '-q', '--no-trunc', 'java')).toBe(`${ids.get('java:8')}\n`);
    const json = JSON.parse(await run('images', '--format', 'json', 'java')) as Record<string, string>;
    expect(Object.keys(json)).toEqual([
      ...['Containers', 'CreatedAt', 'CreatedSince', 'Digest', 'ID', 'Repository', 'SharedSize', 'Size'],
      ...['Tag', 'UniqueSize'],
    ]);
    expect(json).toMatchObject({
      Containers: 'N/A',
      Digest: '<none>',
      Repository: 'java',
      Size: '308kB',
      Tag: '8',
    });
  });

  it('refuses filters and templates in docker’s words', async () => {
    const filter = await lamina(['images', '-f', 'nope=1'], root);
    expect([filter.exitCode, filter.stderr]).toEqual([1, expect.stringContaining("invalid filter 'nope'")]);
    const template = await lamina(['images', '--format', '{{.Nope}}'], root);
    expect(template.stderr).toContain("can't evaluate field Nope");
    const hint = await lamina(['images', 'ls'], root);
    expect(hint.stderr).toBe('No images found matching "ls": did you mean "lamina image ls"?\n');
  });

  it('tells an image’s history', async () => {
    const out = (await run('history', 'java:8')).replaceAll(
      /(?:Less than a second|\d+ seconds?) ago/g,
      'AGE',
    );
    expect(out.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      ['IMAGE', 'CREATED', 'CREATED BY', 'SIZE', 'COMMENT'],
      [short('java:8'), 'AGE', '308kB', 'the first'],
      [''],
    ]);
    expect(await run('history', '-q', '--no-trunc', 'java:8')).toBe(`${ids.get('java:8')}\n`);
    expect(await run('history', '--human=false', '--format', '{{.Size}}', 'java:8')).toBe('308500\n');
  });

  it('inspects by every name, and by templates', async () => {
    const [image] = JSON.parse(await run('inspect', 'busybox:uclibc')) as Record<string, unknown>[];
    expect(Object.keys(image!)).toEqual([
      ...['Id', 'RepoTags', 'RepoDigests', 'Comment', 'Created', 'Config', 'Architecture', 'Os', 'Size'],
      ...['GraphDriver', 'RootFS', 'Metadata', 'Descriptor'],
    ]);
    expect(image).toMatchObject({
      Id: ids.get('busybox:uclibc'),
      RepoTags: ['busybox:uclibc'],
      Comment: 'Imported from -',
      Config: { Env: ['A=b', 'C=d'], Cmd: ['sh'] },
      Size: 1_113_000,
    });
    for (const name of [
      short('busybox:uclibc'),
      ids.get('busybox:uclibc')!,
      'docker.io/library/busybox:uclibc',
    ])
      expect(await run('inspect', '--type', 'image', '-f', '{{.Id}}', name)).toBe(
        `${ids.get('busybox:uclibc')}\n`,
      );
    expect(
      await run('image', 'inspect', '-f', '{{json .Config.Cmd}} {{index .Config.Env 1}}', 'busybox:uclibc'),
    ).toBe('["sh"] C=d\n');
    const missing = await lamina(['inspect', 'nope'], root);
    expect([missing.exitCode, missing.stdout]).toEqual([1, '[]\n']);
    expect(missing.stderr).toContain('No such object: nope');
    const noImage = await lamina(['image', 'inspect', 'nope'], root);
    expect(noImage.stderr).toContain('No such image: nope:latest');
  });

  it('tags, untags, and removes with the last name', async () => {
    await importImage('doomed:1', 700);
    await run('tag', 'doomed:1', 'doomed:2');
    await run('tag', short('doomed:1'), 'other/name');
    const conflict = await lamina(['rmi', short('doomed:1')], root);
    expect([conflict.exitCode, conflict.stderr]).toEqual([
      1,
      expect.stringContaining(
        `conflict: unable to delete ${short('doomed:1')} (must be forced) - image is referenced in multiple repositories`,
      ),
    ]);
    expect(await run('rmi', 'doomed:2')).toBe('Untagged: doomed:2\n');
    expect(await run('rmi', 'other/name')).toBe('Untagged: other/name:latest\n');
    expect(await run('rmi', 'doomed:1')).toMatch(
      new RegExp(`^Untagged: doomed:1\nDeleted: ${ids.get('doomed:1')}\nDeleted: sha256:[0-9a-f]{64}\n$`),
    );
    const gone = await lamina(['rmi', 'doomed:1'], root);
    expect(gone.stderr).toContain('No such image: doomed:1');
    expect((await lamina(['rmi', '-f', 'doomed:1'], root)).exitCode).toBe(0);
  });

  it('refuses to remove what a container stands on', async () => {
    await importImage('held:1', 900);
    const container = (await run('create', '--name', 'holder', 'held:1')).trim();
    const byName = await lamina(['rmi', 'held:1'], root);
    expect(byName.stderr).toContain(
      `conflict: unable to remove repository reference "held:1" (must force) - container ${container.slice(0, 12)} is using its referenced image ${short('held:1')}`,
    );
    const byId = await lamina(['rmi', short('held:1')], root);
    expect(byId.stderr).toContain(
      `conflict: unable to delete ${short('held:1')} (must be forced) - image is being used by stopped container ${container.slice(0, 12)}`,
    );
    expect(await run('rmi', '-f', 'held:1')).toMatch(/^Untagged: held:1\nDeleted: sha256:[0-9a-f]{64}\n$/);
    // As in docker, the container keeps what it stands on.
    await run('cp', 'holder:/file', join(base, 'kept'));
    expect(execFileSync('wc', ['-c', join(base, 'kept')], { encoding: 'utf8' })).toMatch(/^900 /);
    await run('rm', 'holder');
  });

  it('moves a tag that a loaded image brings, in docker’s words', async () => {
    const old = await importImage('moving:1', 1234);
    const archive = join(base, 'moving.tar');
    await run('save', '-o', archive, 'moving:1');
    const now = await importImage('moving:1', 4321);
    expect(await run('load', '-q', '-i', archive)).toBe(
      `The image moving:1 already exists, renaming the old one with ID ${now} to empty string\nLoaded image: moving:1\n`,
    );
    expect(await run('images', '-q', '--no-trunc', '-f', 'dangling=true')).toBe(`${now}\n`);
    expect(await run('images', '-q', '--no-trunc', 'moving')).toBe(`${old}\n`);
  });
});
