import { describe, expect, it } from 'vitest';
import { entryMeaning } from '../../../src/layer/whiteout.js';

// image-spec layer.md, Whiteouts; the names beginning `.wh..wh.` are AUFS's own.
describe('the meaning of an entry', () => {
  it.each([
    ['etc/passwd', { kind: 'plain' }],
    ['etc/.whfoo', { kind: 'plain' }],
    ['etc/x.wh.y', { kind: 'plain' }],
    ['etc/.wh.passwd', { kind: 'whiteout', name: 'passwd' }],
    ['.wh.etc', { kind: 'whiteout', name: 'etc' }],
    ['etc/.wh..hidden', { kind: 'whiteout', name: '.hidden' }],
    ['etc/.wh..wh..opq', { kind: 'opaque' }],
    ['.wh..wh.plnk/22.33', { kind: 'ignored' }],
    ['.wh..wh.aufs', { kind: 'ignored' }],
    ['a/.wh..wh.orph', { kind: 'ignored' }],
  ])('%s', (path, meaning) => {
    expect(entryMeaning(path.split('/'))).toEqual(meaning);
  });

  it.each(['a/.wh.', '.wh.', 'a/.wh..', 'a/.wh...', 'a/.wh.b/c'])('%s is refused', (path) => {
    expect(() => entryMeaning(path.split('/'))).toThrow(expect.objectContaining({ code: 'EWHITEOUT' }));
  });
});
