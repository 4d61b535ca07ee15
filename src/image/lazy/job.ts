/** What the process that mounts tells the fetcher: one JSON file, in the directory of the mount table. */
import type { Platform } from '../../oci/platform.js';

/** How a layer's table is to be read; its bytes lie in the file `table` of the layer's directory. */
export type TableFacts =
  | { kind: 'estargz'; tableDigest: string; tableOffset: number }
  | { kind: 'zstd:chunked'; offset: number; length: number; plainBytes: number; digest: string }
  | { kind: 'index'; windowsDigest: string | undefined; windowsBytes: number };

export interface LazyLayerFacts {
  digest: string;
  diffId: string;
  /** Of the blob. */
  sizeBytes: number;
  urls: readonly string[];
  table: TableFacts;
  /** Where its parts lie. */
  directory: string;
}

export interface FetchLayer extends LazyLayerFacts {
  /** Its place in the image, bottom is 0. */
  source: number;
  /** Where else the same layer stands. */
  alsoAt: number[];
  /** Of this mount alone: the lazy source, and the map of what is there. */
  dataFile: string;
  mapFile: string;
}

export interface FetchJob {
  root: string;
  domain: string;
  path: string;
  tag: string | undefined;
  /** What the name led to. */
  digest: string;
  platform: Platform | undefined;
  tlsVerify: boolean | undefined;
  maxInflatedBytes: number;
  layers: FetchLayer[];
  /** Which mount it is for. */
  mountpoint: string;
  token: string;
  socket: string;
  /** Where it writes how far it is. */
  progressFile: string;
}

/** How far a lazy mount is. */
export interface LazyProgress {
  /** Bytes of layers that came by the network since it was mounted. */
  fetchedBytes: number;
  /** Bytes of its lazy layers that are here, and of all of them. */
  haveBytes: number;
  totalBytes: number;
  /** Everything is in the store. */
  isComplete: boolean;
}
