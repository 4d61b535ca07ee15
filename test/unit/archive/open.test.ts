import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { parseImageName } from '../../../src/archive/name.js';
import { detectFile, openArchive } from '../../../src/archive/open.js';
import { dockerSave25, image, layer, LayoutBuilder, Scratch, tarOf } from '../../helpers/archive-builder.js';
import { needs } from '../../helpers/require.js';

const scratch = new Scratch();
afterAll(() => scratch.remove());
const failing = (code: string, text = ''): unknown =>
  expect.objectContaining({ code, message: expect.stringContaining(text) as string });

const docker25 = dockerSave25([{ image: image([layer('a')]), tags: ['a:1'] }]);
const layout = new LayoutBuilder();
layout.manifests.push(layout.addImage(image([layer('a')])));
const oci = layout.members();

describe('detection', () => {
  test('kinds of files', () => {
    expect(detectFile(scratch.path)).toEqual({ kind: 'directory' });
    expect(detectFile(scratch.tar(docker25))).toEqual({ kind: 'tar' });
    expect(detectFile(scratch.file(Buffer.alloc(1024)))).toEqual({ kind: 'tar' });
    expect(detectFile(scratch.file(gzipSync(tarOf(docker25))))).toEqual({
      kind: 'compressed',
      compression: 'gzip',
    });
    expect(detectFile(scratch.file(Buffer.from('hello')))).toEqual({ kind: 'unknown' });
    expect(detectFile(scratch.file(Buffer.from('x'.repeat(2000))))).toEqual({ kind: 'unknown' });
    expect(detectFile(scratch.file(Buffer.alloc(0)))).toEqual({ kind: 'unknown' });
    expect(detectFile('/dev/null')).toEqual({ kind: 'unknown' });
    expect(() => detectFile(join(scratch.path, 'nothing'))).toThrow(failing('ENOENT'));
  });

  test.for(['gzip', 'bzip2', 'xz', 'zstd'])('what %s has compressed', (program, { skip }) => {
    if (!needs(`command ${program}`)) skip();
    const bytes = execFileSync(program, ['-c'], { input: tarOf(docker25), maxBuffer: 1 << 24 });
    const path = scratch.file(bytes);
    expect(detectFile(path)).toEqual({ kind: 'compressed', compression: program });
    expect(() => openArchive(path)).toThrow(failing('ENOTARCHIVE', program));
  });

  test('a tar of GNU tar, whatever its format', () => {
    const directory = scratch.directory(docker25);
    for (const format of ['v7', 'oldgnu', 'gnu', 'ustar', 'posix']) {
      const path = join(scratch.path, `${format}.tar`);
      execFileSync('tar', [`--format=${format}`, '-C', directory, '-cf', path, '.']);
      expect(detectFile(path)).toEqual({ kind: 'tar' });
      const archive = openArchive(path);
      expect(archive.select().references).toEqual(['a:1']);
      archive.close();
    }
  });

  test.each([
    ['docker-archive', docker25, undefined],
    ['docker-archive', docker25, 'docker-archive'],
    ['oci-archive', docker25, 'oci-archive'],
    ['oci-archive', oci, undefined],
  ] as const)('%s', (form, members, transport) => {
    const archive = openArchive(scratch.tar(members), transport === undefined ? {} : { transport });
    expect(archive.form).toBe(form);
    expect(archive.select().layers).toHaveLength(1);
    archive.close();
  });

  test('what is no archive, and why', () => {
    const file = scratch.tar(oci);
    const directory = scratch.directory(oci);
    expect(() => openArchive('/dev/null')).toThrow(failing('ENOTARCHIVE', 'neither a file nor a directory'));
    expect(() => openArchive(scratch.file(Buffer.from('text')))).toThrow(
      failing('ENOTARCHIVE', 'header of a tar'),
    );
    expect(() => openArchive(scratch.tar([]))).toThrow(
      failing('ENOTARCHIVE', 'neither manifest.json nor repositories, and no oci-layout and no index.json'),
    );
    expect(() => openArchive(scratch.tar(oci.slice(1)))).toThrow(failing('ENOTARCHIVE', 'no oci-layout'));
    expect(() => openArchive(scratch.directory(oci.slice(0, 1)))).toThrow(
      failing('ENOTARCHIVE', 'it holds no index.json'),
    );
    expect(() => openArchive(file, { transport: 'docker-archive' })).toThrow(
      failing('ENOTARCHIVE', 'manifest.json'),
    );
    expect(() => openArchive(file, { transport: 'oci' })).toThrow(failing('ENOTARCHIVE', 'is a directory'));
    expect(() => openArchive(directory, { transport: 'oci-archive' })).toThrow(
      failing('ENOTARCHIVE', 'is a file'),
    );
    expect(() => openArchive(join(scratch.path, 'none'))).toThrow(failing('ENOENT'));
  });

  test('the marker may be missing when the user says what it is', () => {
    const archive = openArchive(scratch.tar(oci.slice(1)), { transport: 'oci-archive' });
    expect(archive.select().layers).toHaveLength(1);
    archive.close();
  });

  test('the version of the layout', () => {
    const marked = (bytes: string): string => scratch.tar([...oci, { path: 'oci-layout', bytes }]);
    openArchive(marked('{"imageLayoutVersion":"1.1.0"}')).close();
    expect(() => openArchive(marked('{"imageLayoutVersion":"2.0.0"}'))).toThrow(
      failing('EBADIMAGE', '"2.0.0"'),
    );
    expect(() => openArchive(marked('{}'))).toThrow(failing('EBADIMAGE', 'imageLayoutVersion'));
    expect(() => openArchive(marked(''))).toThrow(failing('EBADIMAGE', 'oci-layout'));
  });
});

describe('names', () => {
  const root = join(scratch.path, 'names');
  mkdirSync(root);
  for (const name of ['a.tar', 'b:c.tar', 'with:colon']) writeFileSync(join(root, name), '');
  const at = (text: string): string => text.replaceAll('ROOT', root);

  test.each([
    ['ROOT/a.tar', undefined, 'ROOT/a.tar', undefined],
    ['ROOT/a.tar:x', undefined, 'ROOT/a.tar', 'x'],
    ['ROOT/a.tar:localhost:5000/x:1', undefined, 'ROOT/a.tar', 'localhost:5000/x:1'],
    ['ROOT/b:c.tar', undefined, 'ROOT/b:c.tar', undefined],
    ['ROOT/b:c.tar:x:1', undefined, 'ROOT/b:c.tar', 'x:1'],
    ['ROOT/none.tar:x', undefined, 'ROOT/none.tar:x', undefined],
    ['ROOT/a.tar:', undefined, 'ROOT/a.tar', undefined],
    ['docker-archive:ROOT/a.tar', 'docker-archive', 'ROOT/a.tar', undefined],
    ['docker-archive:ROOT/a.tar:x:1', 'docker-archive', 'ROOT/a.tar', 'x:1'],
    ['docker-archive:ROOT/a.tar:@0', 'docker-archive', 'ROOT/a.tar', '@0'],
    ['docker-archive:ROOT/none.tar:x:1', 'docker-archive', 'ROOT/none.tar', 'x:1'],
    ['oci:ROOT:tag', 'oci', 'ROOT', 'tag'],
    ['oci:ROOT/with:colon', 'oci', 'ROOT/with:colon', undefined],
    ['oci-archive:relative:x', 'oci-archive', 'relative', 'x'],
    ['oci-archive:relative', 'oci-archive', 'relative', undefined],
  ])('%s', (text, transport, path, reference) => {
    expect(parseImageName(at(text))).toEqual({ transport, path: at(path), reference });
  });

  test.each(['', 'oci:', 'docker-archive::x', 'docker://debian', 'containers-storage:x', 'dir:/x'])(
    '%j cannot be used',
    (text) => {
      expect(() => parseImageName(text)).toThrow(failing('EUSAGE'));
    },
  );
});
