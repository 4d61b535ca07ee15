/** An image as it grows: its config's JSON and its layers. Values never change; each step makes the next. */
import { OF_ITS_OWN_MAKING } from '../oci/config.js';
import type { LayerBlob } from '../archive/image.js';
import type { RunConfigJson } from '../image/change.js';
import type { OpenedImage } from '../image/open.js';
import { hashBytes } from '../oci/digest.js';
import { formatPlatform } from '../oci/platform.js';
import type { Platform } from '../oci/platform.js';

export type Json = Record<string, unknown>;

export interface BuildState {
  /** The config file: what is unknown here stays as the base image has it. */
  json: Json;
  layers: readonly LayerBlob[];
  /** Of the image of the store that it was made from. */
  parent: string | undefined;
  /** The state is just that image. */
  isStored: boolean;
}

const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** The form of `created_by` is BuildKit's, and so is what says that it is. */
const COMMENT = 'buildkit.dockerfile.v0';

export function scratchState(platform: Platform): BuildState {
  const [os, architecture, variant] = formatPlatform(platform).split('/');
  const json = {
    architecture,
    ...(variant === undefined ? {} : { variant }),
    os,
    config: { Env: [DEFAULT_PATH], WorkingDir: '/' },
    rootfs: { type: 'layers', diff_ids: [] },
    history: [],
  };
  return { json, layers: [], parent: undefined, isStored: false };
}

/** @param isStored it lies in the store, so that it can be named as the parent of another */
export function imageState({ archived }: OpenedImage, isStored: boolean): BuildState {
  const json = JSON.parse(archived.configBytes.toString('utf8')) as Json;
  for (const key of OF_ITS_OWN_MAKING) delete json[key];
  json['config'] ??= {};
  json['history'] ??= [];
  return { json, layers: archived.layers, parent: isStored ? archived.imageId : undefined, isStored };
}

export function configOf({ json }: BuildState): RunConfigJson {
  return json['config'] as RunConfigJson;
}

export function diffIdsOf({ layers }: BuildState): string[] {
  return layers.map(({ diffId }) => diffId);
}

export interface StepResult {
  /** What history says made it. */
  createdBy: string;
  config?: RunConfigJson;
  author?: string;
  layer?: LayerBlob | undefined;
  /** ISO 8601. */
  created: string;
}

export function nextState(state: BuildState, step: StepResult): BuildState {
  const { json } = state;
  const layers = step.layer === undefined ? state.layers : [...state.layers, step.layer];
  const entry = {
    created: step.created,
    created_by: step.createdBy,
    ...(step.author === undefined ? {} : { author: step.author }),
    comment: COMMENT,
    ...(step.layer === undefined ? { empty_layer: true } : {}),
  };
  return {
    ...state,
    isStored: false,
    layers,
    json: {
      ...json,
      ...(step.author === undefined ? {} : { author: step.author }),
      created: step.created,
      config: step.config ?? json['config'],
      rootfs: { ...(json['rootfs'] as Json), diff_ids: layers.map(({ diffId }) => diffId) },
      history: [...(json['history'] as Json[]), entry],
    },
  };
}

/** What an image says, but for when it was made. */
export function timelessJson(json: Json): string {
  const history = (json['history'] as Json[]).map((entry) => ({ ...entry, created: undefined }));
  return JSON.stringify({ ...json, created: undefined, history });
}

/** A digest of what decides about something. */
export function keyOf(...facts: readonly unknown[]): string {
  return hashBytes('sha256', Buffer.from(JSON.stringify(facts)));
}
