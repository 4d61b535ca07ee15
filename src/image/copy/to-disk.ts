/** `copy` into a layout, an archive, or a directory of skopeo's kind. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { blobPath } from '../../archive/files.js';
import type { ImageTarget } from '../../archive/write.js';
import { checkTarget, createArchiveFile } from '../../archive/write.js';
import { LayoutWriter } from '../../archive/layout-writer.js';
import { OCI_LAYOUT } from '../../archive/members.js';
import type { ArchiveMembers, WrittenDescriptor } from '../../archive/members.js';
import { createFile, syncDirectory, temporaryName } from '../../archive/whole-files.js';
import { LaminaError } from '../../errors.js';
import { IMAGE_NAME, REF_NAME } from '../../oci/annotations.js';
import { OCI_INDEX } from '../../oci/media-types.js';
import { familiarReference, formatReference, parseReference, withDefaultTag } from '../../oci/reference.js';
import { lockDirectory } from '../../store/flock.js';
import { blobsOf } from './document.js';
import type { CopyDocument } from './document.js';
import type { BlobProgress, CopyBlob, CopyDestination } from './target.js';

/** As docker pulls. */
const CONCURRENCY = 3;

export async function layoutDestination({
  path: directory,
  reference,
}: ImageTarget): Promise<CopyDestination> {
  const writer = await LayoutWriter.open(directory);
  const putDocument = async ({ digest, bytes }: CopyDocument): Promise<void> =>
    void (await writer.write(digest, bytes.length, () => [bytes]));
  return {
    ...{ takesIndex: true, compresses: false, takesForeign: true, concurrency: CONCURRENCY },
    format: 'oci',
    async putBlob({ descriptor: { digest, sizeBytes }, verified }) {
      return (await writer.write(digest, sizeBytes, verified)) ? 'Copied' : 'Already exists';
    },
    putDocument,
    async finish(top) {
      await putDocument(top);
      const lock = await lockDirectory(path.dirname(path.resolve(directory)));
      try {
        await writer.finish(describe(top, reference === undefined ? undefined : { [REF_NAME]: reference }));
      } finally {
        lock.release();
      }
    },
    abandon: () => writer.abandon(),
  };
}

function describe(
  { mediaType, digest, bytes }: CopyDocument,
  annotations: Record<string, string> | undefined,
): WrittenDescriptor {
  return { mediaType, digest, size: bytes.length, ...(annotations === undefined ? {} : { annotations }) };
}

/** The tar is written when everything that it holds is known: sizes come before bytes there. Raises EEXIST, EUSAGE. */
export async function archiveDestination(
  target: ImageTarget & { form: 'docker-archive' | 'oci-archive' },
): Promise<CopyDestination> {
  await checkTarget(target);
  const isDocker = target.form === 'docker-archive';
  const name =
    isDocker && target.reference !== undefined ? withDefaultTag(parseReference(target.reference)) : undefined;
  if (name?.digest !== undefined)
    throw new LaminaError('EUSAGE', `${target.reference}: an archive gives its images tags, not digests`, {
      hint: 'Give it as docker-archive:FILE:NAME[:TAG].',
    });
  const members: ArchiveMembers = new Map();
  const document = (file: string, bytes: Buffer): void =>
    void members.set(file, { sizeBytes: bytes.length, content: () => [bytes] });
  const json = (file: string, value: object): void => document(file, Buffer.from(JSON.stringify(value)));
  const putDocument = async ({ digest, bytes }: CopyDocument): Promise<void> =>
    document(blobPath(digest), bytes);
  return {
    ...{ takesIndex: !isDocker, compresses: false, takesForeign: !isDocker, concurrency: 1 },
    // skopeo and umoci pass over all else in a layout.
    ...(isDocker ? {} : { format: 'oci' as const }),
    async putBlob({ descriptor: { digest, sizeBytes }, verified }) {
      members.set(blobPath(digest), { sizeBytes, content: verified });
      return '';
    },
    putDocument,
    async finish(top) {
      await putDocument(top);
      document('oci-layout', Buffer.from(OCI_LAYOUT));
      const own =
        name === undefined
          ? target.reference === undefined
            ? undefined
            : { [REF_NAME]: target.reference }
          : { [IMAGE_NAME]: formatReference(name), [REF_NAME]: name.tag! };
      json('index.json', { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [describe(top, own)] });
      if (isDocker) {
        const files = blobsOf(top).map(({ digest }) => blobPath(digest));
        const layers = files.slice(0, -1);
        const RepoTags = name === undefined ? null : [familiarReference(name)];
        json('manifest.json', [{ Config: files.at(-1), RepoTags, Layers: layers }]);
        const last = layers.at(-1)?.split('/').at(-1);
        if (name !== undefined && last !== undefined)
          json('repositories', { [familiarReference({ ...name, tag: undefined })]: { [name.tag!]: last } });
      }
      await createArchiveFile(target.path, members);
    },
    abandon: async () => {},
  };
}

/** `version`, manifest.json, and blobs by their hex. Raises EEXIST where something is. */
export async function directoryDestination(directory: string): Promise<CopyDestination> {
  const names = existsSync(directory) ? await readdir(directory).catch(() => ['']) : [];
  if (names.length > 0)
    throw new LaminaError('EEXIST', `${directory} exists already`, {
      path: directory,
      hint: 'Name another directory, or an OCI layout (oci:DIR), which can be added to.',
    });
  const stage = temporaryName(directory);
  await mkdir(stage, { recursive: true });
  const at = (digest: string): string => path.join(stage, digest.slice(digest.indexOf(':') + 1));
  return {
    ...{ takesIndex: true, compresses: false, takesForeign: true, concurrency: CONCURRENCY },
    async putBlob({ descriptor: { digest }, verified }: CopyBlob, _: BlobProgress) {
      await createFile(at(digest), verified());
      return 'Copied';
    },
    putDocument: ({ digest, bytes }) => createFile(`${at(digest)}.manifest.json`, [bytes]),
    async finish({ bytes }) {
      await createFile(path.join(stage, 'version'), [Buffer.from('Directory Transport Version: 1.1\n')]);
      await createFile(path.join(stage, 'manifest.json'), [bytes]);
      await syncDirectory(stage);
      await rename(stage, directory);
      await syncDirectory(path.dirname(path.resolve(directory)));
    },
    abandon: () => rm(stage, { recursive: true, force: true }),
  };
}
