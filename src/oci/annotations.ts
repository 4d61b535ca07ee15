/** Keys by which an index says what its images are called. */

/** Name or tag (image-spec annotations.md). */
export const REF_NAME = 'org.opencontainers.image.ref.name';
/** containerd's and docker's full name. */
export const IMAGE_NAME = 'io.containerd.image.name';
