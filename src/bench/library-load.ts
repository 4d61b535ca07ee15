/**
 * The load of `lamina-fuse load` through the library: the same passes by the calls that its users make. Times are taken as there,
 * without reading the list and opening the image.
 */
import { readFileSync } from 'node:fs';
import { bufferToBytes, bytesToBuffer } from '../bytes.js';
import type { ByteString } from '../bytes.js';
import type { Image } from '../image/image.js';
import type { Pass, Timed, Work } from './subject.js';

/** Larger files are streamed, as nobody would hold them whole. */
const WHOLE_FILE_BYTES = 16 << 20;

export async function runPass(image: Image, pass: Omit<Pass, 'expected'>): Promise<Timed> {
  const paths = pass.list === undefined ? [] : readList(pass.list);
  const done: Work = { operations: 0, bytes: 0 };
  const perform = PASSES[pass.command];
  const start = process.hrtime.bigint();
  await perform(image, paths, pass.times ?? 1, done);
  return { seconds: Number(process.hrtime.bigint() - start) / 1e9, ...done };
}

/** Names are bytes: each path stays a Buffer. */
function readList(file: string): Buffer[] {
  const lines = bufferToBytes(readFileSync(file)).split('\n');
  lines.pop();
  return lines.map(bytesToBuffer);
}

type Perform = (image: Image, paths: readonly Buffer[], times: number, done: Work) => Promise<void>;

const PASSES: Record<Pass['command'], Perform> = {
  async stat(image, paths, times, done) {
    for (let i = 0; i < times; i++) {
      for (const path of paths) {
        const stats = await image.lstat(path);
        if (stats.isFile()) done.bytes += stats.size;
        done.operations++;
      }
    }
  },
  async negative(image, paths, times, done) {
    for (let i = 0; i < times; i++) {
      for (const path of paths) {
        if (await image.exists(path)) throw new Error(`expected to be missing: ${path.toString()}`);
        done.operations++;
      }
    }
  },
  walk: (image, skipped, _, done) => walk(image, skipped, done, false),
  list: (image, skipped, _, done) => walk(image, skipped, done, true),
  async 'read-all'(image, paths, _, done) {
    for (const path of paths) {
      done.bytes += await readWhole(image, path);
      done.operations++;
    }
  },
  async 'open-read-close'(image, paths, times, done) {
    for (let i = 0; i < times; i++) {
      done.bytes += (await image.readFile(paths[i % paths.length]!)).length;
      done.operations++;
    }
  },
};

async function walk(
  image: Image,
  skipped: readonly Buffer[],
  done: Work,
  asksAttributes: boolean,
): Promise<void> {
  const closed = new Set(skipped.map(bufferToBytes));
  const ahead: ByteString[] = [''];
  for (let directory = ahead.pop(); directory !== undefined; directory = ahead.pop()) {
    for (const entry of await image.readdir(bytesToBuffer(`/${directory}`), { withFileTypes: true })) {
      done.operations++;
      const name = bufferToBytes(entry.nameBytes);
      const path = directory === '' ? name : `${directory}/${name}`;
      if (entry.isDirectory() && !closed.has(path)) ahead.push(path);
      if (!asksAttributes) continue;
      const stats = await image.lstat(bytesToBuffer(path));
      if (stats.isFile()) done.bytes += stats.size;
      else if (stats.isSymbolicLink()) await image.readlink(bytesToBuffer(path), 'buffer');
    }
  }
}

async function readWhole(image: Image, path: Buffer): Promise<number> {
  if ((await image.lstat(path)).size <= WHOLE_FILE_BYTES) return (await image.readFile(path)).length;
  let bytes = 0;
  for await (const chunk of image.createReadStream(path)) bytes += (chunk as Buffer).length;
  return bytes;
}
