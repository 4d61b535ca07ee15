/** `history`: how an image came about, as its config tells it (moby daemon/images/image_history.go). */
import { LaminaError } from '../errors.js';
import type { Snapshot } from '../store/snapshot.js';
import type { StoredImage } from '../store/stored-image.js';

export interface HistoryRow {
  /** Config digest where the store has the image of that step; undefined otherwise. */
  imageId: string | undefined;
  /** Milliseconds since the epoch; undefined when the step does not say. */
  createdMs: number | undefined;
  createdBy: string;
  /** Content of the layer that it made, 0 when it made none. */
  sizeBytes: number;
  comment: string;
  /** Names of that image, as people type them. */
  tags: string[];
}

/** Newest first. Raises EBADIMAGE when more steps made layers than there are. */
export function imageHistory(snapshot: Snapshot, image: StoredImage): HistoryRow[] {
  const { history, rootfs } = image.config;
  const sizes = image.layerSizes();
  const made = history.filter(({ emptyLayer }) => !emptyLayer).length;
  if (made > rootfs.diffIds.length)
    throw new LaminaError('EBADIMAGE', 'too many non-empty layers in History section', {
      digest: image.imageId,
    });
  const images = ancestors(snapshot, image);
  let layer = 0;
  const rows = history.map((step, index): HistoryRow => {
    const known = images.get(index + 1);
    const createdMs = step.created === undefined ? NaN : Date.parse(step.created);
    return {
      imageId: known?.imageId,
      createdMs: Number.isNaN(createdMs) ? undefined : createdMs,
      createdBy: step.createdBy ?? '',
      sizeBytes: step.emptyLayer ? 0 : (sizes[layer++] ?? 0),
      comment: step.comment ?? '',
      tags: known?.tags ?? [],
    };
  });
  return rows.reverse();
}

/** The image and those it was made from here, by how many steps they have. */
function ancestors(snapshot: Snapshot, image: StoredImage): Map<number, StoredImage> {
  const found = new Map<number, StoredImage>();
  for (
    let current: StoredImage | undefined = image;
    current !== undefined && !found.has(current.config.history.length);
    current = current.parent === undefined ? undefined : snapshot.byId(current.parent)
  )
    found.set(current.config.history.length, current);
  return found;
}
