/** Makes a container of an opened image: an empty upper directory that looks as the image's root does, and a record. */
import type { OpenedImage } from '../image/open.js';
import { ROOT_INO } from '../layer/tree.js';
import type { TreeInode } from '../layer/tree.js';
import { OVERRIDE_STAT } from '../layer/upper.js';
import { needsUserXattrs } from '../mount/user-xattrs.js';
import { Applier } from './apply.js';
import { imageRecord } from './base.js';
import type { ContainerRecord, ContainerSettings } from '../store/container-record.js';
import { ImageStore } from '../store/image-store.js';
import { noSuchImage } from '../store/snapshot.js';
import type { ContainerStore } from './store.js';

/**
 * @param settings how it is to be run; as the image says when undefined
 * @param labels over the image's
 * Raises ENAME, EUSAGE and what the system says; nothing is left then.
 */
export async function createContainer(
  store: ContainerStore,
  opened: OpenedImage,
  name?: string,
  settings?: ContainerSettings,
  labels: Readonly<Record<string, string>> = {},
): Promise<ContainerRecord> {
  const root = (await opened.toc()).inode(ROOT_INO);
  const { config } = opened.archived.config;
  const container = {
    image: imageRecord(opened),
    userXattrs: needsUserXattrs(),
    command:
      settings === undefined
        ? [...(config.entrypoint ?? []), ...(config.cmd ?? [])]
        : [...(settings.entrypoint ?? []), ...(settings.cmd ?? [])],
    labels: { ...Object.fromEntries(config.labels), ...labels },
    ...(settings === undefined ? {} : { settings }),
  };
  const prepare = (upper: string): Promise<void> => prepareUpper(upper, root);
  const create = (): Promise<ContainerRecord> => store.create(container, name, prepare);
  if (opened.located.transport !== 'store') return create();
  // Under the lock of the images, so that none is removed between being found and being held.
  const images = new ImageStore(opened.cache.root);
  return images.update(() => {
    const { manifestDigest, imageId } = opened.archived;
    if (manifestDigest === undefined || !images.blobs.has(manifestDigest)) throw noSuchImage(imageId);
    return create();
  });
}

/**
 * Makes an empty upper directory look as the image's root does: a union shows the attributes of the uppermost root. Whoever is not root
 * keeps the image's owners in an attribute.
 */
export async function prepareUpper(upper: string, root: TreeInode): Promise<void> {
  const isRoot = process.getuid?.() === 0;
  const applier = new Applier(upper, { chown: isRoot });
  const mode = root.mode.toString(8).padStart(4, '0');
  const override = {
    name: OVERRIDE_STAT,
    value: Buffer.from(`${root.uid}:${root.gid}:0${mode}:dir`),
  };
  const xattrs = isRoot ? root.xattrs : [...(root.xattrs ?? []), override];
  await applier.put('', { ...root, mode: isRoot ? root.mode : 0o700, xattrs });
  await applier.finish('cannot prepare');
}
