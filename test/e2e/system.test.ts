/** `system df`, `system check` and `info`, held to what lies on the disk (docker/cli cli/command/formatter/disk_usage.go). */
import { appendFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  annotated,
  digestOf,
  dockerSave25,
  hexOf,
  image,
  layer,
  LayoutBuilder,
  OCI,
  Scratch,
  tarOf,
} from '../helpers/archive-builder.js';
import type { BuiltLayer } from '../helpers/archive-builder.js';
import { isLaminaBuilt, lamina, laminaOk } from '../helpers/lamina.js';
import { needs, requirement } from '../helpers/require.js';

const able = needs('root') && requirement('the built command (npm run build)', isLaminaBuilt('native'));

describe.skipIf(!able)('looking after the store', () => {
  let scratch: Scratch;
  let root: string;
  let large: BuiltLayer;
  beforeEach(async () => {
    scratch = new Scratch();
    root = join(scratch.path, 'store');
    const tar = tarOf([{ path: 'large', bytes: Buffer.alloc(300_000, 'large') }]);
    large = { tar, diffId: digestOf(tar) };
    const images = [
      { image: image([large, layer('one')]), tags: ['one:1', 'uno:1'] },
      { image: image([large, layer('two')]), tags: ['two:1'] },
    ];
    await run('load', '-q', '-i', scratch.tar(dockerSave25(images)));
  });
  afterEach(() => scratch.remove());

  const run = (...args: string[]): Promise<string> => laminaOk(args, root);
  const sizes = (...path: string[]): number =>
    readdirSync(join(root, ...path)).reduce((sum, name) => sum + statSync(join(root, ...path, name)).size, 0);
  /** Thousands, with four digits: what go-units makes of sizes of this order. */
  const kilo = (bytes: number, digits = 4): string => `${Number((bytes / 1000).toPrecision(digits))}kB`;

  test('df counts shared layers once, and what can be reclaimed', async () => {
    const [images, containers, derived] = (await run('system', 'df', '--format', 'json'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, string>);
    const all = sizes('blobs/sha256');
    expect(images).toEqual({
      ...{ Type: 'Images', TotalCount: '2', Active: '0' },
      ...{ Size: kilo(all), Reclaimable: `${kilo(all)} (100%)` },
    });
    expect(containers).toEqual({
      ...{ Type: 'Containers', TotalCount: '0', Active: '0', Size: '0B', Reclaimable: '0B' },
    });
    expect(derived).toMatchObject({ Type: 'Derived Data', TotalCount: '3', Reclaimable: '0B (0%)' });
    const id = (await run('create', 'one:1')).trim();
    writeFileSync(join(root, 'containers', id, 'upper/new'), Buffer.alloc(5_000));
    // Only what the other image has for itself: its manifest, config and small layer.
    const digests = (await run('inspect', '-f', '{{.Id}} {{.Descriptor.Digest}}', 'two:1')).trim().split(' ');
    const own = [...digests, layer('two').diffId]
      .map((digest) => statSync(join(root, 'blobs/sha256', hexOf(digest))).size)
      .reduce((sum, size) => sum + size);
    const table = await run('system', 'df');
    const [heading, first, second] = table.split('\n');
    expect(heading).toMatch(/^TYPE {11}TOTAL {5}ACTIVE {4}SIZE {6,}RECLAIMABLE$/);
    expect(first).toMatch(
      new RegExp(`^Images +2 +1 +${kilo(all)} +${kilo(own)} \\(${Math.floor((own * 100) / all)}%\\)$`),
    );
    expect(second).toMatch(/^Containers +1 +0 +5kB +5kB \(100%\)$/);
    expect(await run('system', 'df', '--format', '{{.Type}}: {{.TotalCount}}')).toMatch(
      /^Images: 2\nContainers: 1\nDerived Data: \d+\n$/,
    );
  });

  test('df -v says of each image what it shares', async () => {
    await run('create', '--name', 'holder', 'one:1');
    const text = await run('system', 'df', '-v');
    expect(text).toMatch(
      /^Images space usage:\n\nREPOSITORY +TAG +IMAGE ID +CREATED +SIZE +SHARED SIZE +UNIQUE SIZE +CONTAINERS\n/,
    );
    const shared = kilo(large.tar.length);
    expect(text).toMatch(new RegExp(`^one +1 +[0-9a-f]{12} .* ${shared} +[\\d.]+kB +1$`, 'm'));
    expect(text).toMatch(new RegExp(`^two +1 +[0-9a-f]{12} .* ${shared} +[\\d.]+kB +0$`, 'm'));
    expect(text).toMatch(
      /\n\nContainers space usage:\n\nCONTAINER ID +IMAGE +COMMAND +LOCAL VOLUMES +SIZE +CREATED +STATUS +NAMES\n[0-9a-f]{12} +one:1 +"\/bin\/sh" +0 +0B .* Created +holder\n/,
    );
  });

  test('df counts the inflated tar of a compressed layer as derived data', async () => {
    rmSync(root, { recursive: true });
    const layout = new LayoutBuilder();
    const how = { pack: gzipSync, layerType: `${OCI}.layer.v1.tar+gzip`, extra: annotated('packed:1') };
    layout.manifests.push(layout.addImage(image([large]), how));
    await run('load', '-q', '-i', scratch.tar(layout.members()));
    const directory = `layers/${large.diffId.replace(':', '-')}`;
    expect(sizes(directory)).toBeGreaterThan(large.tar.length);
    expect(await run('system', 'df', '--format', '{{.Size}}')).toBe(
      `${kilo(sizes('blobs/sha256'))}\n0B\n${kilo(sizes(directory))}\n`,
    );
  });

  test('check tells by its exit status and as JSON', async () => {
    const json = async (...args: string[]): Promise<{ exitCode: number; found: Record<string, unknown> }> => {
      const { exitCode, stdout } = await lamina(['system', 'check', '--json', ...args], root);
      return { exitCode, found: JSON.parse(stdout) as Record<string, unknown> };
    };
    expect(await run('system', 'check')).toBe(
      `Checked 2 images, 7 blobs, 3 layers, 0 merged TOCs, 0 containers, ${kilo(sizes('blobs/sha256'), 3)}: all is well\n`,
    );
    expect(await json()).toMatchObject({ exitCode: 0, found: { isClean: true, findings: [] } });
    const orphan = Buffer.from('orphan');
    writeFileSync(join(root, 'blobs/sha256', hexOf(digestOf(orphan))), orphan);
    expect(await json()).toMatchObject({
      exitCode: 0,
      found: { isClean: true, findings: [{ kind: 'leftover', subject: `blob ${digestOf(orphan)}` }] },
    });
    appendFileSync(join(root, 'blobs/sha256', hexOf(layer('one').diffId)), 'x');
    const { exitCode, stdout } = await lamina(['system', 'check'], root);
    expect([exitCode, stdout]).toEqual([1, expect.stringContaining('damaged: image one:1: ')]);
    expect(stdout).toContain('damaged: image uno:1: ');
    const repaired = await lamina(['system', 'check', '--repair'], root);
    expect(repaired.stdout).toMatch(/^damaged: .*\n {2}repair: /);
    expect(repaired.stdout).toMatch(/: all is well\n$/);
    expect([repaired.exitCode, (await run('images', '-aq')).split('\n')]).toEqual([
      0,
      [expect.stringMatching(/^[0-9a-f]{12}$/), ''],
    ]);
  });

  test('info counts, and names the place', async () => {
    await run('create', 'one:1');
    const text = await run('info');
    for (const line of [
      ' Containers: 1',
      '  Mounted: 0',
      '  Stopped: 1',
      ' Images: 2',
      ` Name: ${hostname()}`,
      ` Lamina Root Dir: ${root}`,
    ])
      expect(text.split('\n')).toContain(line);
    expect(await run('system', 'info', '-f', '{{.Images}} {{.Containers}}')).toBe('2 1\n');
    expect(JSON.parse(await run('info', '-f', 'json'))).toMatchObject({ Images: 2, DockerRootDir: root });
  });
});
