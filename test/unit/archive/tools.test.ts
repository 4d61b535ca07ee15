/**
 * Archives that other tools wrote, and what those tools say is in them: one image made by umoci, copied by skopeo into every form and
 * compression that it knows. skopeo and umoci are the references here; sha256 is computed by neither of us but by node:crypto.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ArchivedImage } from '../../../src/archive/image.js';
import { parseImageName } from '../../../src/archive/name.js';
import { openArchive } from '../../../src/archive/open.js';
import { readWhole } from '../../../src/tar/source.js';
import { digestOf, Scratch } from '../../helpers/archive-builder.js';
import { needs } from '../../helpers/require.js';

const scratch = new Scratch();
afterAll(() => scratch.remove());
const at = (name: string): string => join(scratch.path, name);
const run = (program: string, ...args: string[]): Buffer =>
  execFileSync(program, args, { maxBuffer: 1 << 26, stdio: ['ignore', 'pipe', 'pipe'] });
const inspect = (name: string, ...args: string[]): Buffer => run('skopeo', 'inspect', ...args, name);

/** By the name that skopeo would take. */
function select(name: string): ArchivedImage {
  const { path, transport, reference } = parseImageName(name);
  const archive = openArchive(path, transport === undefined ? {} : { transport });
  try {
    const found = archive.select(reference === undefined ? {} : { reference });
    for (const { blob, digest, diffId, compression } of found.layers) {
      const bytes = readWhole(blob);
      if (digest !== undefined) expect(digestOf(bytes)).toBe(digest);
      if (compression === 'none') expect(digestOf(bytes)).toBe(diffId);
      if (compression === 'gzip') expect(digestOf(gunzipSync(bytes))).toBe(diffId);
    }
    return found;
  } finally {
    archive.close();
  }
}

describe.runIf(needs('command skopeo', 'command umoci'))('archives by skopeo and umoci', () => {
  const source = `oci:${at('source')}:app:1.0`;
  let imageId = '';
  let diffIds: string[] = [];

  beforeAll(() => {
    const tree = at('tree');
    mkdirSync(join(tree, 'sub'), { recursive: true });
    writeFileSync(join(tree, 'file'), 'text\n');
    writeFileSync(join(tree, 'sub', 'numbers'), Array.from({ length: 5000 }, (_, n) => `${n}\n`).join(''));
    symlinkSync('../file', join(tree, 'sub', 'link'));
    run('umoci', 'init', '--layout', at('source'));
    run('umoci', 'new', '--image', `${at('source')}:app:1.0`);
    for (const target of ['/etc', '/opt', '/etc'])
      run('umoci', 'insert', '--rootless', '--image', `${at('source')}:app:1.0`, tree, target);
    run('umoci', 'config', '--image', `${at('source')}:app:1.0`, '--config.env', 'A=b', '--config.cmd', '/x');
    const config = inspect(source, '--config', '--raw');
    imageId = `sha256:${createHash('sha256').update(config).digest('hex')}`;
    diffIds = (JSON.parse(config.toString()) as { rootfs: { diff_ids: string[] } }).rootfs.diff_ids;
    const copies: [string, ...string[]][] = [
      [`docker-archive:${at('docker.tar')}:example.com/app:1.0`],
      [`oci-archive:${at('oci.tar')}:app:1.0`],
      [`oci:${at('zstd')}:z`, '--dest-compress', '--dest-compress-format', 'zstd'],
      [`oci:${at('plain')}`, '--dest-decompress'],
    ];
    for (const [target, ...args] of copies) run('skopeo', 'copy', '-q', ...args, source, target);
  });

  test.each([
    ['umoci layout', 'oci:DIR/source:app:1.0', 'gzip'],
    ['umoci layout, by its path', 'DIR/source', 'gzip'],
    ['docker archive', 'docker-archive:DIR/docker.tar', 'none'],
    ['docker archive, by name', 'docker-archive:DIR/docker.tar:example.com/app:1.0', 'none'],
    ['docker archive, by number', 'docker-archive:DIR/docker.tar:@0', 'none'],
    ['docker archive, by its path', 'DIR/docker.tar:example.com/app:1.0', 'none'],
    ['OCI archive', 'oci-archive:DIR/oci.tar:app:1.0', 'gzip'],
    ['OCI archive, by its path', 'DIR/oci.tar', 'gzip'],
    ['zstd', 'oci:DIR/zstd', 'zstd'],
  ])('%s', (_what, name, compression) => {
    const found = select(name.replace('DIR', scratch.path));
    expect(found.imageId).toBe(imageId);
    expect(found.layers.map(({ diffId }) => diffId)).toEqual(diffIds);
    expect(new Set(found.layers.map((layer) => layer.compression))).toEqual(new Set([compression]));
    expect(found.config.config.env).toContain('A=b');
    expect(found.config.config.cmd).toEqual(['/x']);
  });

  test.each(['source:app:1.0', 'zstd:z', 'plain'])(
    'digests of oci:%s are those of skopeo inspect',
    (name) => {
      const full = `oci:${scratch.path}/${name}`;
      const found = select(full);
      const said = JSON.parse(inspect(full).toString()) as {
        Digest: string;
        Layers: string[];
        Architecture: string;
      };
      expect(found.manifestDigest).toBe(said.Digest);
      expect(found.layers.map(({ digest }) => digest)).toEqual(said.Layers);
      expect(found.platform.architecture).toBe(said.Architecture);
      expect(found.configBytes).toEqual(inspect(full, '--config', '--raw'));
    },
  );

  test('names as the tools wrote them', () => {
    expect(select(`DIR/docker.tar`.replace('DIR', scratch.path)).references).toEqual(['example.com/app:1.0']);
    expect(select(at('oci.tar')).references).toEqual(['app:1.0']);
  });
});
