/** Images of the store that builds make, and how they are found again. */
import { openSync, rmSync } from 'node:fs';
import type { ArchivedImage, LayerBlob } from '../archive/image.js';
import { stageImage } from '../image/load.js';
import { parseConfig } from '../oci/config.js';
import { hashBytes } from '../oci/digest.js';
import type { Reference } from '../oci/reference.js';
import type { ImageStore } from '../store/image-store.js';
import { syncLayerFile } from './layer-file.js';
import type { LayerFile } from './layer-file.js';
import type { BuildState } from './state.js';

/** The image in which a state can be read, whether the store has it or not. */
export function archivedState({ json, layers }: BuildState): ArchivedImage {
  const configBytes = Buffer.from(JSON.stringify(json));
  const config = parseConfig(configBytes, 'config');
  return {
    ...{ references: [], manifestDigest: undefined, manifest: undefined },
    imageId: hashBytes('sha256', configBytes),
    ...{ config, configBytes, layers, platform: config.platform },
  };
}

/** A layer that was just written, open. */
export function layerBlob({ file, diffId, sizeBytes }: LayerFile): LayerBlob {
  const blob = { fd: openSync(file, 'r'), offset: 0, sizeBytes, name: 'the new layer' };
  return { diffId, digest: diffId, mediaType: undefined, compression: 'none', blob, isVerified: true };
}

export interface CommitOptions {
  key: string;
  /** The state's uppermost layer, which the store has not got yet. */
  layerFile?: LayerFile | undefined;
  names?: readonly Reference[];
}

/** Brings a state into the store. Returns it as the image that it now is. Raises ENOSPC and what the store raises. */
export async function commitState(
  store: ImageStore,
  state: BuildState,
  { key, layerFile, names = [] }: CommitOptions,
): Promise<BuildState & { parent: string }> {
  const staging = await store.stage();
  try {
    if (layerFile !== undefined) {
      await syncLayerFile(layerFile);
      staging.adopt(layerFile.diffId, layerFile.file);
    }
    const archived = archivedState(state);
    const entry = await stageImage(store, staging, archived);
    await store.update((draft) => {
      const { parent } = state;
      const made = {
        ...entry,
        buildKey: key,
        ...(parent !== undefined && draft.before.byId(parent) !== undefined ? { parent } : {}),
      };
      const taggedAt = new Date().toISOString();
      if (names.length === 0) draft.add(made);
      for (const name of names) draft.add({ ...made, name, taggedAt });
    }, staging);
    return { ...state, parent: archived.imageId, isStored: true };
  } finally {
    staging.dispose();
    // Where the store had the same layer already it was not taken.
    if (layerFile !== undefined) rmSync(layerFile.file, { force: true });
  }
}
