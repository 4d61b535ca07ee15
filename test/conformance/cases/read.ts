/** Content: read(2), pread(2), mmap(2), lseek(2), sendfile(2), execve(2). */
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { fails, syscall, syscalls } from '../../helpers/syscalls.js';
import type { Case } from '../case.js';
import { CONTENTS, SPARSE } from '../image.js';

const LARGE = CONTENTS['data/large']!;
const SPARSE_BYTES = ((): Buffer => {
  const bytes = Buffer.alloc(SPARSE.sizeBytes);
  for (const { offset, data } of SPARSE.runs) bytes.write(data, offset, 'latin1');
  return bytes;
})();
const [RUN_ONE, RUN_TWO] = SPARSE.runs as [(typeof SPARSE.runs)[0], (typeof SPARSE.runs)[0]];

export const readCases: Case[] = [
  {
    name: 'files have their content, whole',
    async run({ dir }) {
      for (const [path, content] of Object.entries(CONTENTS)) {
        expect(readFileSync(join(dir, path)).equals(Buffer.from(content, 'latin1')), path).toBe(true);
      }
      expect(readFileSync(join(dir, 'data/sparse')).equals(SPARSE_BYTES)).toBe(true);
    },
  },
  {
    name: 'pread gives the bytes at its offset, fewer at the end and none behind it',
    async run({ dir }) {
      const offsets = [0, 1, 4095, 4096, 131_071, 1_048_575, 2_999_990, 3_000_000];
      const reads = await syscalls(
        dir,
        offsets.map((offset) => ['pread', 'data/large', 5000, offset]),
      );
      offsets.forEach((offset, index) =>
        expect(reads[index], `at ${offset}`).toBe(LARGE.slice(offset, offset + 5000)),
      );
      expect(
        await syscalls(dir, [
          ['pread', 'data/large', 10, LARGE.length],
          ['pread', 'data/large', 10, 2 ** 40],
          ['pread', 'data/empty', 10, 0],
          ['pread', 'data/one', 0, 0],
          ['pread', 'data/one', 10, -1],
          ['pread', 'data', 10, 0],
        ]),
      ).toEqual(['', '', '', '', fails('EINVAL'), fails('EISDIR')]);
    },
  },
  {
    name: 'a mapped file shows its content, and zeros up to the end of its last page',
    async run({ dir }) {
      for (const path of ['data/page-and-one', 'data/large']) {
        const content = CONTENTS[path]!;
        for (const shared of [true, false]) {
          const mapped = await syscall<string>(dir, 'mmap', path, shared);
          expect(mapped.slice(0, content.length) === content, path).toBe(true);
          expect(mapped.slice(content.length)).toBe('\0'.repeat(mapped.length - content.length));
        }
      }
    },
  },
  {
    name: 'a shared writable map is refused with EACCES',
    async run({ dir }) {
      expect(await syscall(dir, 'mmap_write', 'data/page')).toEqual(fails('EACCES'));
    },
  },
  {
    name: 'O_DIRECT reads the same bytes',
    async run({ dir }) {
      expect((await syscall<string>(dir, 'read_direct', 'data/large')) === LARGE).toBe(true);
    },
  },
  {
    name: 'sendfile, advice and locks work',
    async run({ dir }) {
      const [sent, advice, lock] = await syscalls(dir, [
        ['sendfile', 'data/large'],
        ['fadvise', 'data/large'],
        ['lock', 'data/one'],
      ]);
      expect(sent === LARGE).toBe(true);
      expect([advice, lock]).toEqual([0, 0]);
    },
  },
  {
    name: 'SEEK_DATA and SEEK_HOLE find the data and the holes of a sparse file',
    async run({ dir }) {
      const seek = (offset: number, whence: string) => ['lseek', 'data/sparse', offset, whence] as const;
      const endOf = (run: typeof RUN_ONE): number => run.offset + run.data.length;
      expect(
        await syscalls(dir, [
          seek(0, 'SEEK_DATA'),
          seek(0, 'SEEK_HOLE'),
          seek(RUN_ONE.offset, 'SEEK_DATA'),
          seek(RUN_ONE.offset + 5, 'SEEK_DATA'),
          seek(RUN_ONE.offset, 'SEEK_HOLE'),
          seek(endOf(RUN_ONE), 'SEEK_DATA'),
          seek(RUN_TWO.offset + 1, 'SEEK_HOLE'),
          seek(endOf(RUN_TWO), 'SEEK_DATA'),
        ]),
      ).toEqual([
        RUN_ONE.offset,
        0,
        RUN_ONE.offset,
        RUN_ONE.offset + 5,
        endOf(RUN_ONE),
        RUN_TWO.offset,
        endOf(RUN_TWO),
        fails('ENXIO'),
      ]);
    },
  },
  {
    name: 'seeking a dense file finds data everywhere and a hole at its end',
    async run({ dir }) {
      const seek = (offset: number, whence: string) => ['lseek', 'data/large', offset, whence] as const;
      expect(
        await syscalls(dir, [
          seek(0, 'SEEK_DATA'),
          seek(1_000_000, 'SEEK_DATA'),
          seek(0, 'SEEK_HOLE'),
          seek(0, 'SEEK_END'),
          seek(LARGE.length, 'SEEK_DATA'),
          seek(LARGE.length, 'SEEK_HOLE'),
          seek(LARGE.length + 10, 'SEEK_SET'),
          seek(-1, 'SEEK_SET'),
        ]),
      ).toEqual([
        0,
        1_000_000,
        LARGE.length,
        LARGE.length,
        fails('ENXIO'),
        fails('ENXIO'),
        LARGE.length + 10,
        fails('EINVAL'),
      ]);
    },
  },
  {
    name: 'programs and scripts can be run',
    async run({ dir }) {
      expect(
        await syscalls(dir, [
          ['exec', 'bin/echo', 'hello'],
          ['exec', 'bin/script', 'one'],
          ['exec', 'bin/plain'],
        ]),
      ).toEqual(['hello\n', 'script one\n', fails('EACCES')]);
    },
  },
  {
    name: 'many processes can read one file at once',
    async run({ dir }) {
      const reads = await Promise.all(
        Array.from({ length: 6 }, () => syscall<string>(dir, 'pread', 'data/large', LARGE.length, 0)),
      );
      expect(reads.every((read) => read === LARGE)).toBe(true);
    },
  },
  {
    name: 'streams of one process read many files at once',
    async run({ dir }) {
      const digests = await Promise.all(
        Array.from({ length: 20 }, (_, index) => {
          const start = index * 100_000;
          return new Promise<string>((resolve, reject) => {
            const hash = createHash('sha256');
            createReadStream(join(dir, 'data/large'), { start, highWaterMark: 10_000 + index })
              .on('data', (chunk) => hash.update(chunk))
              .on('end', () => resolve(hash.digest('hex')))
              .on('error', reject);
          });
        }),
      );
      expect(digests).toEqual(
        digests.map((_, index) =>
          createHash('sha256')
            .update(LARGE.slice(index * 100_000), 'latin1')
            .digest('hex'),
        ),
      );
    },
  },
  {
    name: 'a FIFO carries bytes; nothing listens on the socket; devices are not opened',
    async run({ dir }) {
      expect(
        await syscalls(dir, [
          ['fifo', 'special/fifo'],
          ['connect', 'special/socket'],
          ['open', 'special/socket', 'O_RDONLY'],
          ['open', 'special/null', 'O_RDONLY'],
        ]),
      ).toEqual(['x', fails('ECONNREFUSED'), fails('ENXIO'), fails('EACCES')]);
    },
  },
  {
    name: 'O_PATH opens everything',
    async run({ dir }) {
      const paths = [
        'data/one',
        'special/null',
        'special/socket',
        'symlinks/dangling',
        'modes/none',
        'merged',
      ];
      expect(
        await syscalls(
          dir,
          paths.map((path) => ['open', path, 'O_PATH|O_NOFOLLOW']),
        ),
      ).toEqual(paths.map(() => 0));
    },
  },
];
