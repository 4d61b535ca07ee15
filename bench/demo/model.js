/**
 * Writes the layers of an image and keeps, beside them, what the image must show in the end: a map from path to type, mode,
 * time, size and digest, the digests taken from the original files. It applies the rules of OCI layers (image-spec, layer.md)
 * to that map in the plainest way, so that what Lamina shows can be held against something that Lamina did not make.
 */
import { createHash } from 'node:crypto';
import { createReadStream, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join, posix } from 'node:path';
import { TarFile } from '../images/docker-archive.js';

export class ModelImage {
  /** path -> { type, mode, mtimeSec, sizeBytes?, digest?, target? }; names of one hard-linked file share a record. */
  visible = new Map();
  /** What TarFile.finish() gave, bottom to top. */
  layers = [];
  /** Tar entries written, whiteouts among them. */
  entries = 0;
  #tar;

  async layer(path, write) {
    this.#tar = new TarFile(path);
    await write();
    this.layers.push(await this.#tar.finish());
  }

  /** A directory; where there is one already only its attributes change. */
  async dir(path, { mode = 0o755, mtimeSec = 0 } = {}) {
    await this.#entry({ name: `${path}/`, type: 'directory', mode, mtimeSec });
    if (this.visible.get(path)?.type !== 'dir') this.#forget(path);
    this.visible.set(path, { type: 'dir', mode, mtimeSec });
  }

  async file(path, bytes, { mode = 0o644, mtimeSec = 0, pax } = {}) {
    const header = { name: path, size: bytes.length, mode, mtimeSec, ...(pax === undefined ? {} : { pax }) };
    await this.#entry(header, [bytes]);
    this.#forget(path);
    const digest = createHash('sha256').update(bytes).digest('hex');
    this.visible.set(path, { type: 'file', mode, mtimeSec, sizeBytes: bytes.length, digest });
  }

  async symlink(path, target, { mtimeSec = 0 } = {}) {
    await this.#entry({ name: path, type: 'symlink', linkname: target, mode: 0o777, mtimeSec });
    this.#forget(path);
    this.visible.set(path, { type: 'symlink', mode: 0o777, mtimeSec, target });
  }

  /** A further name for a file of the layer being written. */
  async hardLink(path, existing) {
    const record = this.visible.get(existing);
    await this.#entry({
      name: path,
      type: 'link',
      linkname: existing,
      mode: record.mode,
      mtimeSec: record.mtimeSec,
    });
    this.#forget(path);
    this.visible.set(path, record);
  }

  /** Hides what lower layers hold under this path. */
  async whiteout(path) {
    await this.#entry({ name: posix.join(posix.dirname(path), `.wh.${posix.basename(path)}`), size: 0 });
    this.#forget(path);
  }

  /** Hides everything that lower layers hold in this directory. */
  async opaque(path) {
    await this.#entry({ name: posix.join(path, '.wh..wh..opq'), size: 0 });
    const directory = this.visible.get(path);
    this.#forget(path);
    this.visible.set(path, directory);
  }

  /** A copy of a directory of this machine: files, directories and symlinks, with their modes and times. */
  async copyTree(from, to) {
    const stat = lstatSync(from);
    const attributes = { mode: stat.mode & 0o7777, mtimeSec: Math.floor(stat.mtimeMs / 1000) };
    if (stat.isDirectory()) {
      await this.dir(to, attributes);
      for (const name of readdirSync(from).sort())
        await this.copyTree(join(from, name), posix.join(to, name));
    } else if (stat.isSymbolicLink()) await this.symlink(to, readlinkSync(from), attributes);
    else if (stat.size < 1 << 20) await this.file(to, readFileSync(from), attributes);
    else if (stat.isFile()) await this.#largeFile(from, to, { ...attributes, sizeBytes: stat.size });
  }

  async #largeFile(from, to, { mode, mtimeSec, sizeBytes }) {
    const hash = createHash('sha256');
    async function* hashed() {
      for await (const chunk of createReadStream(from, { highWaterMark: 1 << 20 })) {
        hash.update(chunk);
        yield chunk;
      }
    }
    await this.#entry({ name: to, size: sizeBytes, mode, mtimeSec }, hashed());
    this.#forget(to);
    this.visible.set(to, { type: 'file', mode, mtimeSec, sizeBytes, digest: hash.digest('hex') });
  }

  async #entry(header, chunks) {
    this.entries++;
    await this.#tar.entry(header, chunks);
  }

  #forget(path) {
    if (this.visible.get(path)?.type === 'dir') {
      for (const name of this.visible.keys()) if (name.startsWith(`${path}/`)) this.visible.delete(name);
    }
    this.visible.delete(path);
  }
}
