import { describe, expect, test } from 'vitest';
import { documentKind, layerCompression, requireConfigType } from '../../../src/oci/media-types.js';

describe('media types', () => {
  test.each([
    // image-spec media-types.md
    ['application/vnd.oci.image.layer.v1.tar', 'none'],
    ['application/vnd.oci.image.layer.v1.tar+gzip', 'gzip'],
    ['application/vnd.oci.image.layer.v1.tar+zstd', 'zstd'],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar', 'none'],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', 'gzip'],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar+zstd', 'zstd'],
    // distribution, image manifest version 2, schema 2
    ['application/vnd.docker.image.rootfs.diff.tar', 'none'],
    ['application/vnd.docker.image.rootfs.diff.tar.gzip', 'gzip'],
    ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', 'gzip'],
    // what containerd and containers/image write as well
    ['application/vnd.docker.image.rootfs.diff.tar.zstd', 'zstd'],
    ['application/vnd.docker.image.rootfs.diff.tar+gzip', 'gzip'],
  ])('%s is %s', (mediaType, compression) => {
    expect(layerCompression(mediaType, 'layer')).toBe(compression);
  });

  test.each([
    'application/vnd.oci.image.layer.v1.tar+encrypted',
    'application/vnd.oci.image.layer.v1.tar+gzip+encrypted',
    'application/vnd.oci.image.layer.v1.tar+bzip2',
    'application/vnd.cncf.helm.chart.content.v1.tar+gzip',
    'application/octet-stream',
    '',
  ])('%j is no layer', (mediaType) => {
    expect(() => layerCompression(mediaType, 'layer')).toThrow(
      expect.objectContaining({ code: 'EMEDIATYPE' }),
    );
  });

  test('documents', () => {
    expect(documentKind('application/vnd.oci.image.index.v1+json')).toBe('index');
    expect(documentKind('application/vnd.docker.distribution.manifest.list.v2+json')).toBe('index');
    expect(documentKind('application/vnd.oci.image.manifest.v1+json')).toBe('manifest');
    expect(documentKind('application/vnd.docker.distribution.manifest.v2+json')).toBe('manifest');
    expect(documentKind('application/vnd.docker.distribution.manifest.v1+prettyjws')).toBeUndefined();
    requireConfigType('application/vnd.docker.container.image.v1+json', 'x');
    expect(() => requireConfigType('application/vnd.oci.empty.v1+json', 'x')).toThrow(
      expect.objectContaining({ code: 'EMEDIATYPE' }),
    );
  });
});
