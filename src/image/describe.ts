/**
 * `image inspect`: what is known of an image, in docker's names and order (moby api/types/image/image_inspect.go). Every field is
 * there, with Go's zero value where the image says nothing, so that a template can ask for it; OMITTED_WHEN_EMPTY says which JSON leaves out.
 */
import { familiarReference } from '../oci/reference.js';
import type { StoredImage } from '../store/stored-image.js';

export type Description = Record<string, unknown>;

/** Fields that docker's JSON leaves out where they are empty. */
export const OMITTED_WHEN_EMPTY = {
  image: ['Parent', 'Comment', 'Created', 'Author', 'Variant', 'OsVersion'],
  config: [
    'User',
    'ExposedPorts',
    'Env',
    'Entrypoint',
    'Cmd',
    'Volumes',
    'WorkingDir',
    'Labels',
    'StopSignal',
    'Healthcheck',
    'OnBuild',
    'Shell',
  ],
} as const;

const ZERO_TIME = '0001-01-01T00:00:00Z';

/** Raises EBLOB, EDIGEST, EBADIMAGE. @param root directory of the store */
export function describeStoredImage(image: StoredImage, root: string): Description {
  const json = JSON.parse(image.configBytes.toString('utf8')) as Description;
  const { descriptor, config } = image;
  return {
    Id: image.imageId,
    RepoTags: image.tags,
    RepoDigests: repoDigests(image),
    Parent: image.parent ?? '',
    Comment: commentOf(image),
    Created: config.created ?? '',
    Author: config.author ?? '',
    Config: runConfig((json['config'] ?? {}) as Description),
    Architecture: config.platform.architecture,
    Variant: config.platform.variant ?? '',
    Os: config.platform.os,
    OsVersion: config.platform.osVersion ?? '',
    Size: image.sizeBytes,
    GraphDriver: { Data: { Root: root }, Name: 'lamina' },
    RootFS: { Type: 'layers', Layers: [...config.rootfs.diffIds] },
    Metadata: { LastTagTime: image.taggedAt ?? ZERO_TIME },
    Descriptor: {
      mediaType: descriptor.mediaType,
      digest: descriptor.digest,
      size: descriptor.sizeBytes,
    },
  };
}

/** `name@sha256:...`: under which content a registry gave it. */
function repoDigests({ entries }: StoredImage): string[] {
  return entries.flatMap(({ name }) => (name?.digest === undefined ? [] : [familiarReference(name)]));
}

/** docker keeps it beside the config; what commit and import write there stands in the last step of the history as well. */
function commentOf(image: StoredImage): string {
  const { comment } = JSON.parse(image.configBytes.toString('utf8')) as { comment?: unknown };
  return typeof comment === 'string' ? comment : (image.config.history.at(-1)?.comment ?? '');
}

function runConfig(config: Description): Description {
  const empty: Description = {
    ...{ User: '', ExposedPorts: null, Env: null, Entrypoint: null, Cmd: null, Volumes: null },
    ...{ WorkingDir: '', Labels: null, StopSignal: '', Healthcheck: null, OnBuild: null, Shell: null },
  };
  return Object.fromEntries(Object.entries(empty).map(([key, value]) => [key, config[key] ?? value]));
}
