/**
 * The library. `openImage` gives an image whose merged root filesystem can be read with the shapes of Node's `fs`; `mount`
 * shows it as a directory.
 */
export { ERROR_CODES, LaminaError } from './errors.js';
export type { ErrorCode, ErrorFacts } from './errors.js';
export { Image, openImage } from './image/image.js';
export { mount } from './image/mount.js';
export type { LibraryMountOptions, Mount } from './image/mount.js';
export type { OpenImageOptions } from './image/open.js';
export { umount } from './mount/umount.js';
export { analyze, diffImages } from './image/insight.js';
export type {
  Aspect,
  ChangeKind,
  DiffImagesOptions,
  HiddenWhy,
  ImageAnalysis,
  ImageDifferences,
  LayerSummary,
  PackageComparison,
} from './image/insight.js';
