/**
 * `system df` and `info`: headings and layout from docker/cli (cli/command/formatter/disk_usage.go, cli/command/system/info.go and
 * docs/reference/commandline/system_df.md); sizes are held against the files of the store.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { arch, hostname, release } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { dockerSave25, hexOf, image, layer, Scratch } from '../helpers/archive-builder.js';
import type { BuiltImage } from '../helpers/archive-builder.js';
import { isLaminaBuilt, lamina, laminaOk } from '../helpers/lamina.js';
import { needs, requirement } from '../helpers/require.js';

const able = requirement('the built command (npm run build)', isLaminaBuilt('native'));
const canMount = able && needs('root', '/dev/fuse');

describe.skipIf(!able)('system df', () => {
  let scratch: Scratch;
  let root: string;
  beforeEach(() => {
    scratch = new Scratch();
    root = join(scratch.path, 'store');
  });
  afterEach(() => scratch.remove());

  const run = (...args: string[]): Promise<string> => laminaOk(args, root);
  const load = async (texts: string[], tags: string[] | null): Promise<BuiltImage> => {
    const built = image(texts.map(layer));
    await run('load', '-q', '-i', scratch.tar(dockerSave25([{ image: built, tags }])));
    return built;
  };
  const blobBytes = (): number =>
    readdirSync(join(root, 'blobs/sha256')).reduce(
      (sum, name) => sum + statSync(join(root, 'blobs/sha256', name)).size,
      0,
    );
  /** Words of each line of a table; columns are three spaces apart. */
  const cells = (text: string): string[][] =>
    text
      .split('\n')
      .filter(Boolean)
      .map((line) => line.trimEnd().split(/ {2,}/));
  interface Line {
    Type: string;
    TotalCount: string;
    Active: string;
    Size: string;
    Reclaimable: string;
  }
  const summary = async (): Promise<Line[]> =>
    (await run('system', 'df', '--format', 'json'))
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Line);
  /** `1.234kB` in bytes. */
  const bytes = (text: string): number => {
    const [, number, unit = 'B'] = /^([\d.]+)(B|kB|MB)/.exec(text) ?? [];
    return Number(number) * { B: 1, kB: 1e3, MB: 1e6 }[unit as 'B' | 'kB' | 'MB'];
  };

  test('an empty store, as docker prints an empty one', async () => {
    expect(cells(await run('system', 'df'))).toEqual([
      ['TYPE', 'TOTAL', 'ACTIVE', 'SIZE', 'RECLAIMABLE'],
      ['Images', '0', '0', '0B', '0B'],
      ['Containers', '0', '0', '0B', '0B'],
      ['Derived Data', '0', '0', '0B', '0B'],
    ]);
    // disk-usage-context-write-custom.golden, disk-usage-raw-format.golden
    expect(await run('system', 'df', '--format', 'table {{.Type}}\\t{{.Active}}')).toMatch(
      /^TYPE {11}ACTIVE\nImages {9}0\nContainers {5}0\n/,
    );
    expect(await run('system', 'df', '--format', 'raw')).toMatch(
      /^type: Images\ntotal: 0\nactive: 0\nsize: 0B\nreclaimable: 0B\n\ntype: Containers\n/,
    );
  });

  test('layers that images share are counted once, and what is reclaimable is what prune then frees', async () => {
    await load(['shared', 'one'], ['one:1', 'one:2']);
    await load(['shared', 'two'], ['two:1']);
    await load(['three'], null);
    await run('create', '--name', 'holder', 'one:1');
    const [images, containers] = await summary();
    // docs/reference/commandline/system_df.md: the keys, in this order.
    expect(Object.keys(images!)).toEqual(['Active', 'Reclaimable', 'Size', 'TotalCount', 'Type']);
    expect(images).toMatchObject({ Type: 'Images', TotalCount: '3', Active: '1' });
    const before = blobBytes();
    expect(Math.abs(bytes(images!.Size) - before)).toBeLessThan(before / 1000);
    expect(containers).toMatchObject({ Type: 'Containers', TotalCount: '1', Active: '0' });
    await run('image', 'prune', '-a', '-f');
    const freed = before - blobBytes();
    expect(Math.abs(bytes(images!.Reclaimable) - freed)).toBeLessThan(before / 1000);
    expect(images!.Reclaimable).toContain(`(${Math.floor((freed * 100) / before)}%)`);
    expect((await summary())[0]).toMatchObject({ TotalCount: '1', Active: '1', Reclaimable: '0B (0%)' });
  });

  test('verbose tables: shared and unique sizes of each image, and what containers wrote', async () => {
    const one = await load(['shared', 'one'], ['one:1']);
    await load(['shared', 'two'], null);
    const id = (await run('create', '--name', 'holder', 'one:1')).trim();
    writeFileSync(join(root, 'containers', id, 'upper', 'written'), Buffer.alloc(212));
    await run('fs', 'cat', 'one:1', '/one');
    const text = await run('system', 'df', '-v');
    const sections = text.split(
      /^(?:\n)?(?:Images space usage:|Containers space usage:|Derived data usage: .*)\n\n/m,
    );
    const [, images, containers, derived] = sections.map(cells);
    expect(images![0]).toEqual(
      'REPOSITORY,TAG,IMAGE ID,CREATED,SIZE,SHARED SIZE,UNIQUE SIZE,CONTAINERS'.split(','),
    );
    const sizeOf = (digest: string): number => statSync(join(root, 'blobs/sha256', hexOf(digest))).size;
    const sharedBytes = sizeOf(layer('shared').diffId);
    const rows = new Map(images!.slice(1).map((row) => [row[0], row]));
    expect([...rows.keys()].sort()).toEqual(['<none>', 'one']);
    const [, tag, imageId, , size, shared, unique, count] = rows.get('one')!;
    expect([tag, imageId, count]).toEqual(['1', hexOf(one.imageId).slice(0, 12), '1']);
    expect(bytes(shared!)).toBe(sharedBytes);
    expect(bytes(unique!)).toBeGreaterThan(sizeOf(layer('one').diffId));
    expect(Math.abs(bytes(size!) - bytes(shared!) - bytes(unique!))).toBeLessThan(bytes(size!) / 100);
    expect(rows.get('<none>')!.at(-1)).toBe('0');
    expect(containers![0]).toEqual(
      'CONTAINER ID,IMAGE,COMMAND,LOCAL VOLUMES,SIZE,CREATED,STATUS,NAMES'.split(','),
    );
    const container = containers![1]!;
    expect([container[0], container[1], container.at(-1)]).toEqual([id.slice(0, 12), 'one:1', 'holder']);
    expect(container).toContain('212B');
    expect(derived![0]).toEqual(['NAME', 'SIZE', 'NEEDED']);
    expect(derived!.slice(1).map(([name]) => name!.split('/')[0])).toContain('chains');
    // All of it at once for a template.
    expect(
      await run(
        'system',
        'df',
        '-v',
        '--format',
        '{{range .Images}}{{.Repository}} {{end}}{{len .Containers}}',
      ),
    ).toMatch(/^(one <none>|<none> one) 1\n$/);
    const json = JSON.parse(await run('system', 'df', '-v', '--format', 'json')) as Record<string, unknown[]>;
    expect(Object.entries(json).map(([key, list]) => [key, list.length > 0])).toEqual([
      ['Images', true],
      ['Containers', true],
      ['DerivedData', true],
    ]);
  });

  test('what is damaged is counted; while nobody knows what it needs, nothing is called reclaimable', async () => {
    const one = await load(['one'], ['one:1']);
    await load(['two'], ['two:1']);
    rmSync(join(root, 'summaries.json'));
    const [{ digest }] = (
      JSON.parse(readFileSync(join(root, 'index.json'), 'utf8')) as { manifests: [{ digest: string }] }
    ).manifests;
    const blob = (name: string): string => join(root, 'blobs/sha256', hexOf(name));
    expect(readFileSync(blob(digest), 'utf8')).toContain(one.imageId);
    writeFileSync(blob(digest), '{');
    const [images] = await summary();
    expect(images).toMatchObject({ TotalCount: '1', Active: '0', Reclaimable: '0B (0%)' });
    expect(Math.abs(bytes(images!.Size) - blobBytes())).toBeLessThan(blobBytes() / 1000);
    const before = blobBytes();
    await run('image', 'prune', '-a', '-f');
    expect(blobBytes()).toBe(before);
  });

  test.skipIf(!canMount)('a mounted container is active, and an image that is mounted is too', async () => {
    await load(['one'], ['one:1']);
    await load(['two'], ['two:1']);
    await run('create', '--name', 'holder', 'one:1');
    const [first, second] = ['first', 'second'].map((name) => join(scratch.path, name));
    for (const dir of [first!, second!]) mkdirSync(dir);
    await run('mount', 'holder', first!);
    try {
      await run('mount', 'two:1', second!);
      try {
        const [images, containers] = await summary();
        expect([images!.Active, images!.Reclaimable]).toEqual(['2', '0B (0%)']);
        expect(containers!.Active).toBe('1');
        expect(await run('info', '-f', '{{.ContainersRunning}} {{.ContainersStopped}}')).toBe('1 0\n');
      } finally {
        await run('umount', second!);
      }
    } finally {
      await run('umount', first!);
    }
  });

  test('info', async () => {
    await load(['one'], ['one:1', 'one:2']);
    await run('create', 'one:1');
    const text = await run('info');
    expect(text).toMatch(
      /^Client:\n Version: {4}\d+\.\d+\.\d+\S*\n Debug Mode: false\n\nStore:\n Containers: 1\n/,
    );
    for (const line of [
      ' Images: 1',
      ' Storage Driver: lamina',
      ` Kernel Version: ${release()}`,
      ' OSType: linux',
      ` Name: ${hostname()}`,
      ` Lamina Root Dir: ${root}`,
    ])
      expect(text.split('\n')).toContain(line);
    expect(text).toMatch(
      /^ {2}Backing Filesystem: \S+\n {2}Store: writable\n {2}Native Server: \/.*lamina-fuse\n {2}FUSE: /m,
    );
    expect(await run('system', 'info')).toBe(text);
    expect(await run('info', '--format', '{{.Driver}} {{.Images}} {{.Containers}}')).toBe('lamina 1 1\n');
    const json = JSON.parse(await run('info', '-f', 'json')) as Record<string, unknown>;
    expect(json).toMatchObject({ DockerRootDir: root, Images: 1, ContainersStopped: 1, OSType: 'linux' });
    if (arch() === 'x64') expect(json['Architecture']).toBe('x86_64');
    // docker: 64 for a template that is none, 1 for a field that there is not.
    for (const [template, status] of [
      ['{{.Driver', 64],
      ['{{.Nothing}}', 1],
    ] as const) {
      const { exitCode, stderr } = await lamina(['info', '-f', template], root);
      expect([exitCode, stderr]).toEqual([status, expect.stringContaining('template parsing error')]);
    }
  });

  test('both change nothing, also where there is no store yet', async () => {
    await run('system', 'df', '-v');
    await run('info');
    expect(readdirSync(scratch.path)).toEqual([]);
  });
});
