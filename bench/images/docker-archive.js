/**
 * Writes what `docker save` (25 and later) writes: an OCI layout in a tar, layers uncompressed under blobs/sha256, with
 * manifest.json beside index.json. Same input, same bytes. tar-stream does the tar: all names here are plain text.
 */
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, openSync, writeSync } from 'node:fs';
import { pack as tarPack } from 'tar-stream';

/** A tar that is written to a file and hashed on the way. */
export class TarFile {
  #pack = tarPack();
  #hash = createHash('sha256');
  #written;
  sizeBytes = 0;

  constructor(path) {
    this.path = path;
    const fd = openSync(path, 'w');
    this.#written = (async () => {
      try {
        for await (const chunk of this.#pack) {
          this.#hash.update(chunk);
          for (let done = 0; done < chunk.length;) done += writeSync(fd, chunk, done);
          this.sizeBytes += chunk.length;
        }
      } finally {
        closeSync(fd);
      }
    })();
  }

  /** Adds one entry. `header` as tar-stream's, `mtimeSec` in its place; `chunks`: the content, `header.size` bytes. */
  async entry({ mtimeSec = 0, ...header }, chunks = []) {
    await new Promise((resolve, reject) => {
      const whole = { uid: 0, gid: 0, ...header, mtime: new Date(mtimeSec * 1000) };
      const sink = this.#pack.entry(whole, (error) => (error ? reject(error) : resolve()));
      feed(sink, chunks).catch(reject);
    });
  }

  /** Ends the tar; -> { path, digest, sizeBytes }. */
  async finish() {
    this.#pack.finalize();
    await this.#written;
    return { path: this.path, digest: `sha256:${this.#hash.digest('hex')}`, sizeBytes: this.sizeBytes };
  }
}

async function feed(sink, chunks) {
  for await (const chunk of chunks) {
    if (!sink.write(chunk)) await new Promise((resolve) => sink.once('drain', resolve));
  }
  sink.end();
}

function digestOf(bytes) {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

const blobPath = (digest) => `blobs/sha256/${digest.slice('sha256:'.length)}`;

/**
 * layers: what TarFile.finish() gave, bottom to top. -> { archive, sources: [{ diffId, offset, sizeBytes }] }, where
 * `offset` is where each layer's tar starts in the archive.
 */
export async function writeDockerArchive(archive, layers, { repository, tag = 'latest', config = {} }) {
  const created = '2024-01-01T00:00:00Z';
  const configBytes = Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      created,
      config,
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) },
      history: layers.map((_, index) => ({ created, created_by: `layer ${index}` })),
    }),
  );
  const descriptor = (mediaType, bytes) => ({ mediaType, digest: digestOf(bytes), size: bytes.length });
  const manifestBytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: descriptor('application/vnd.oci.image.config.v1+json', configBytes),
      layers: layers.map((layer) => ({
        mediaType: 'application/vnd.oci.image.layer.v1.tar',
        digest: layer.digest,
        size: layer.sizeBytes,
      })),
    }),
  );
  const index = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [
      {
        ...descriptor('application/vnd.oci.image.manifest.v1+json', manifestBytes),
        annotations: {
          'io.containerd.image.name': `docker.io/${repository}:${tag}`,
          'org.opencontainers.image.ref.name': tag,
        },
      },
    ],
  };
  const legacy = [
    {
      Config: blobPath(digestOf(configBytes)),
      RepoTags: [`${repository}:${tag}`],
      Layers: layers.map((layer) => blobPath(layer.digest)),
    },
  ];
  const repositories = { [repository]: { [tag]: layers.at(-1).digest.slice('sha256:'.length) } };

  const tar = new TarFile(archive);
  const file = (name, bytes) => tar.entry({ name, size: bytes.length, mode: 0o644 }, [bytes]);
  await tar.entry({ name: 'blobs/', type: 'directory', mode: 0o755 });
  await tar.entry({ name: 'blobs/sha256/', type: 'directory', mode: 0o755 });
  await file(blobPath(digestOf(configBytes)), configBytes);
  await file(blobPath(digestOf(manifestBytes)), manifestBytes);
  const sources = [];
  let offset = 512 * 4 + roundUp(configBytes.length) + roundUp(manifestBytes.length);
  const written = new Set();
  for (const layer of layers) {
    const known = sources.find((source) => source.diffId === layer.digest);
    if (written.has(layer.digest)) {
      sources.push(known);
      continue;
    }
    written.add(layer.digest);
    sources.push({ diffId: layer.digest, offset: offset + 512, sizeBytes: layer.sizeBytes });
    offset += 512 + roundUp(layer.sizeBytes);
    await tar.entry(
      { name: blobPath(layer.digest), size: layer.sizeBytes, mode: 0o644 },
      createReadStream(layer.path, { highWaterMark: 1 << 20 }),
    );
  }
  await file('index.json', Buffer.from(JSON.stringify(index)));
  await file('manifest.json', Buffer.from(JSON.stringify(legacy)));
  await file('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
  await file('repositories', Buffer.from(JSON.stringify(repositories)));
  await tar.finish();
  return { archive, sources };
}

function roundUp(sizeBytes) {
  return Math.ceil(sizeBytes / 512) * 512;
}
