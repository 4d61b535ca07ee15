/**
 * Writes a stack (stack.js) in the three forms that the subjects need: layer tars, overlayfs lower directories (whiteouts
 * as 0:0 character devices, opaque directories by trusted.overlay.opaque: kernel, filesystems/overlayfs.rst), and the
 * merged tree as a plain directory.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, symlinkSync, utimesSync, lutimesSync, writeSync } from 'node:fs';
import { join, posix } from 'node:path';
import { TarFile } from './docker-archive.js';
import { contentChunks } from './random.js';

/** One layer as a tar at `path`; -> { path, digest, sizeBytes }. */
export async function writeLayerTar(path, operations) {
  const tar = new TarFile(path);
  for (const operation of operations) {
    const { mode, mtimeSec } = operation;
    const common = { name: operation.path, mode, mtimeSec };
    if (operation.kind === 'dir')
      await tar.entry({ ...common, name: `${operation.path}/`, type: 'directory' });
    else if (operation.kind === 'symlink')
      await tar.entry({ ...common, type: 'symlink', linkname: operation.target });
    else if (operation.kind === 'file') {
      const chunks = contentChunks(operation.seed, operation.sizeBytes);
      await tar.entry({ ...common, size: operation.sizeBytes }, chunks);
    } else {
      const marker =
        operation.kind === 'opaque'
          ? posix.join(operation.path, '.wh..wh..opq')
          : posix.join(posix.dirname(operation.path), `.wh.${posix.basename(operation.path)}`);
      await tar.entry({ ...common, name: marker, size: 0 });
    }
  }
  return tar.finish();
}

/** Operations as a directory tree at `root`, which is made. `overlayTool`: the compiled bench/load/overlay-tool.cc. */
export function writeDirectory(root, operations, overlayTool) {
  mkdirSync(root, { recursive: true });
  const marks = [];
  const directories = [];
  for (const operation of operations) {
    const path = join(root, operation.path);
    if (operation.kind === 'dir') {
      mkdirSync(path, { recursive: true });
      directories.push(operation);
    } else if (operation.kind === 'symlink') {
      symlinkSync(operation.target, path);
      lutimesSync(path, operation.mtimeSec, operation.mtimeSec);
    } else if (operation.kind === 'file') writeFile(path, operation);
    else marks.push(`${operation.kind === 'opaque' ? 'o' : 'w'}${path}\0`);
  }
  if (marks.length > 0) {
    const run = spawnSync(overlayTool, ['mark'], { input: marks.join(''), encoding: 'utf8' });
    if (run.status !== 0) throw new Error(`cannot make whiteouts (root is needed): ${run.stderr}`);
  }
  for (const operation of directories.reverse())
    utimesSync(join(root, operation.path), operation.mtimeSec, operation.mtimeSec);
}

function writeFile(path, operation) {
  const fd = openSync(path, 'w', operation.mode);
  try {
    for (const chunk of contentChunks(operation.seed, operation.sizeBytes)) {
      for (let done = 0; done < chunk.length;) done += writeSync(fd, chunk, done);
    }
  } finally {
    closeSync(fd);
  }
  utimesSync(path, operation.mtimeSec, operation.mtimeSec);
}
